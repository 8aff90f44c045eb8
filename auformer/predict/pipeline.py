"""From sources to aligned faces: read, detect and follow, each in a thread of its own, in order."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch

from auformer.data.transforms import resize
from auformer.faces import Face, align
from auformer.predict.sources import Source
from auformer.predict.tracking import PointSmoother, Tracker, follow, small_grey
from auformer.predict.types import Frame, Selection
from auformer.predict.video import NOMINAL_FPS, read_source

T = TypeVar("T")
R = TypeVar("R")
_WAIT = 0.1  # seconds between looks whether the reader has left [ours]


class _End:
    """Last item of a queue: nothing more comes, or an error did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], size: int) -> Iterator[T]:
    """The same items in the same order, made by a thread that is at most `size` items ahead.

    Args:
        items: what to go through; an error of theirs comes out after the items before it.
        size: how many items wait at most, so that memory stays constant.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=size)
    left = threading.Event()

    def put(item: T | _End) -> bool:
        """Hand one item over; False once the reader has left."""
        while not left.is_set():
            try:
                waiting.put(item, timeout=_WAIT)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        """Fill the queue."""
        iterator = iter(items)
        try:
            for item in iterator:
                if not put(item):
                    break
            put(_End())
        except BaseException as error:  # any: it is raised again where the items are used
            put(_End(error))
        finally:
            close = getattr(iterator, "close", None)  # a generator's files and threads
            if close is not None:
                close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        left.set()
        thread.join()


def spread(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map` over several threads, in order, at most twice as many items ahead as there are threads.

    Args:
        function: what to do with each item; safe to call from several threads.
        items: what to go through.
        workers: number of threads; 1 works in the caller's.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


SMALL = 10_000_000  # parameters [ours]: measured on the demo network (3 million: detecting takes longer) and ViT-B (86: the network does)


def share_cores(network: torch.nn.Module, *, cores: int | None = None) -> int:
    """Leave half of the cores to reading and detecting where the network is small: frames a second rise by a tenth on two cores.

    Args:
        network: what predicts, on the CPU.
        cores: how many this process may use; all by default.

    Returns:
        Number of threads that torch now computes with, in the whole process.
    """
    if sum(parameter.numel() for parameter in network.parameters()) < SMALL:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (cores or os.cpu_count() or 2) // 2)))
    return torch.get_num_threads()


@dataclass(frozen=True, eq=False)
class FoundFace:
    """One face before it is predicted.

    Args:
        face: box, score and (smoothed) points in the picture.
        identity: its number: over time in a recording, by size in a photo.
        crop: (H, W, 3) uint8 RGB, aligned, of the network's size.
    """

    face: Face
    identity: int
    crop: np.ndarray


def cut(image: np.ndarray, face: Face, recipe: str, shape: tuple[int, int]) -> np.ndarray:
    """The aligned crop (H, W, 3) of a face by a crop recipe, in the network's size `shape` (H, W)."""
    return resize(align(image, face.points, recipe, max(shape), box=face.box)[0], shape)


def choose(faces: Sequence[Face], how_many: int | None) -> list[Face]:
    """The largest faces, the largest first; all of them where `how_many` is None."""
    return sorted(faces, key=lambda face: -face.box[2])[:how_many]


class FaceFollower:
    """Turns detections of the frames of one recording into numbered crops.

    Args:
        recipe: crop recipe of the network.
        shape: (H, W) of its images.
        how_many: of the largest faces of each frame; None for all.
        detect_every: faces are detected in each such frame and followed in those between.
    """

    def __init__(
        self, recipe: str, shape: tuple[int, int], *, how_many: int | None = None, detect_every: int = 1
    ) -> None:
        self.recipe, self.shape = recipe, shape
        self.how_many, self.detect_every = how_many, detect_every
        self._tracker = Tracker()
        self._smoothers: dict[int, PointSmoother] = {}
        self._last: list[Face] = []
        self._grey: np.ndarray | None = None

    def update(self, frame: Frame, image: np.ndarray, detected: Sequence[Face] | None) -> list[FoundFace]:
        """The faces of the next frame that can be read.

        Args:
            frame: the frame.
            image: (H, W, 3) uint8 RGB, its picture.
            detected: its faces; None where they were not looked for.
        """
        faces, grey = self._followed(image) if detected is None else (list(detected), None)
        time = frame.time_s if frame.time_s is not None else frame.ordinal / NOMINAL_FPS
        self._remember(frame.ordinal, image, faces, grey)
        chosen = choose(faces, self.how_many)
        numbers = self._tracker.update(chosen, time)
        self._smoothers = {
            number: smoother for number, smoother in self._smoothers.items() if self._tracker.knows(number)
        }
        found = []
        for face, number in zip(chosen, numbers, strict=True):
            steady = _steady(face, self._smoothers.setdefault(number, PointSmoother()), time)
            found.append(FoundFace(steady, number, cut(image, steady, self.recipe, self.shape)))
        return sorted(found, key=lambda item: item.identity)

    def state(self) -> dict[str, Any]:
        """What is known after a frame whose next one is detected anew, as plain JSON values."""
        return {
            "tracker": self._tracker.state(),
            "smoothers": {str(number): smoother.state() for number, smoother in self._smoothers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._tracker.restore(state["tracker"])
        self._smoothers = {int(number): PointSmoother.from_state(value) for number, value in state["smoothers"].items()}

    def _remember(self, ordinal: int, image: np.ndarray, faces: list[Face], grey: np.ndarray | None) -> None:
        """Keep what the next frame needs to follow these faces."""
        self._last, self._grey = faces, None
        if faces and (ordinal + 1) % self.detect_every:
            self._grey = small_grey(image)[0] if grey is None else grey

    def _followed(self, image: np.ndarray) -> tuple[list[Face], np.ndarray | None]:
        """The faces of the last frame where they are now, and the grey copy in which they were followed."""
        if self._grey is None:
            return [], None
        now, scale = small_grey(image)
        if now.shape != self._grey.shape:  # the recording changes its size
            return [], None
        moved = (follow(self._grey, now, scale, face) for face in self._last)
        return [face for face in moved if face is not None], now


def _steady(face: Face, smoother: PointSmoother, time: float) -> Face:
    """A face whose points and box are smoothed over time together."""
    if not np.isfinite(face.points).all():  # a table of boxes alone
        return face
    x, y, w, h = face.box
    smooth = smoother.update(np.vstack([face.points, [[x, y], [x + w, y + h]]]), time)
    (left, top), (right, bottom) = smooth[-2:].tolist()
    return replace(face, points=smooth[:-2], box=(left, top, right - left, bottom - top))


Detect = Callable[..., list[Face]]

_AHEAD = 4  # frames that wait between two stages at most: a photo of 8000 x 6000 pixels has 144 MB [ours]
_DETECTORS = 2  # threads that detect [ours]: OpenCV's cascades use one core each
_CHECKPOINT = 250  # frames after which a killed run can go on [ours]


@dataclass(frozen=True, eq=False)
class Task:
    """One picture on its way through the stages, or the end of a source.

    Args:
        source: what it belongs to.
        frame: the picture; None at the end of the source.
        message: at the end: why the source ends too early, or empty.
        detected: its faces; None where they were not looked for.
        found: its numbered, aligned faces.
        state: from time to time, with what following goes on after this frame.
    """

    source: Source
    frame: Frame | None
    message: str = ""
    detected: list[Face] | None = None
    found: list[FoundFace] = field(default_factory=list)
    state: dict[str, Any] | None = None


class Clock:
    """How long each stage worked, in seconds, over all threads."""

    def __init__(self) -> None:
        self.seconds = {"read": 0.0, "detect": 0.0, "follow": 0.0, "network": 0.0}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start


class Pipeline:
    """The stages before the network.

    Args:
        detect: a detector, called as `detect(image, file=..., frame=...)` from several threads.
        recipe: crop recipe of the network.
        shape: (H, W) of its images.
        how_many: of the largest faces of each picture; None for all.
        detect_every: in recordings, faces are detected in each such frame and followed in those between.
        clock: where the stages note their time.
    """

    def __init__(
        self,
        detect: Detect,
        recipe: str,
        shape: tuple[int, int],
        *,
        how_many: int | None,
        detect_every: int,
        clock: Clock,
    ) -> None:
        self.detect, self.recipe, self.shape = detect, recipe, shape
        self.how_many, self.detect_every, self.clock = how_many, detect_every, clock

    def run(
        self, sources: Sequence[Source], selection: Selection, resume: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Task]:
        """All pictures of all sources in order, each source closed by a task without a frame.

        Args:
            sources: what to read.
            selection: which frames.
            resume: by name of a source, `after` (index of its last frame that is done) and `faces` (state of following).
        """
        read = ahead(self._read(sources, selection, resume), _AHEAD)
        return ahead(self._follow(spread(self._look, read, _DETECTORS), resume), _AHEAD)

    def _read(
        self, sources: Sequence[Source], selection: Selection, resume: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Task]:
        """Decode source after source; what is wrong with one ends it and not the others."""
        for source in sources:
            frames, message = read_source(source, selection, after=resume.get(source.name, {}).get("after", -1)), ""
            while True:
                try:
                    with self.clock.measure("read"):
                        frame = next(frames, None)
                except (ValueError, OSError) as error:
                    frame, message = None, str(error)
                yield Task(source, frame, message)
                if frame is None:
                    break

    def _look(self, task: Task) -> Task:
        """Detect the faces of a picture, where its turn has come."""
        if task.frame is None or task.frame.image is None:
            return task
        if task.source.kind != "photo" and task.frame.ordinal % self.detect_every:
            return task
        with self.clock.measure("detect"):
            return replace(task, detected=self.detect(task.frame.image, file=task.source.file, frame=task.frame.index))

    def _follow(self, tasks: Iterator[Task], resume: Mapping[str, Mapping[str, Any]]) -> Iterator[Task]:
        """Number, smooth and cut out the faces of picture after picture."""
        follower: FaceFollower | None = None
        for task in tasks:
            if task.frame is None or task.frame.image is None:
                follower = None if task.frame is None else follower
                yield task
                continue
            with self.clock.measure("follow"):
                if task.source.kind == "photo":
                    faces = choose(task.detected or [], self.how_many)
                    crops = (cut(task.frame.image, face, self.recipe, self.shape) for face in faces)
                    done = replace(
                        task,
                        found=[
                            FoundFace(face, n, crop) for n, (face, crop) in enumerate(zip(faces, crops, strict=True))
                        ],
                    )
                else:
                    follower = follower or self._follower(resume.get(task.source.name))
                    done = replace(task, found=follower.update(task.frame, task.frame.image, task.detected))
                    if (task.frame.ordinal + 1) % (self.detect_every * -(-_CHECKPOINT // self.detect_every)) == 0:
                        done = replace(done, state=follower.state())
            yield done

    def _follower(self, resume: Mapping[str, Any] | None) -> FaceFollower:
        """Who follows the faces of one recording."""
        follower = FaceFollower(self.recipe, self.shape, how_many=self.how_many, detect_every=self.detect_every)
        if resume is not None:
            follower.restore(resume["faces"])
        return follower

"""From sources to aligned faces: reading, detection and tracking, each in a thread of its own, in order."""

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
from auformer.predict.tracking import LandmarkSmoother, Tracker, follow, small_grey
from auformer.predict.types import Frame, Selection
from auformer.predict.video import read_source

T = TypeVar("T")
R = TypeVar("R")
_WAIT = 0.1  # seconds between looks whether the reader has left [ours]
_AHEAD = 4  # frames that wait between two stages at most: a photo of 8000 x 6000 pixels has 144 MB [ours]
_DETECTORS = 2  # threads that detect [ours]: OpenCV's cascades use one core each
RESUME_FRAMES = 250  # after so many a killed run can resume [ours]
# Parameters [ours]: measured on the demo network (3 million: detection takes longer) and ViT-B (86: the network does).
SMALL = 10_000_000


@dataclass(frozen=True)
class _End:
    """Last item of a queue: nothing more comes, or an error did."""

    error: BaseException | None = None


def ahead(items: Iterable[T], size: int) -> Iterator[T]:
    """The same items, made by a thread at most `size` items ahead; an error of theirs is raised in its place."""
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=size)
    left = threading.Event()

    def put(item: T | _End) -> bool:
        while not left.is_set():
            try:
                waiting.put(item, timeout=_WAIT)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
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
    """`map` over several threads, in order, at most twice as many items ahead as there are threads."""
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


def share_cores(network: torch.nn.Module, *, cores: int | None = None) -> int:
    """Leave half of the `cores` to reading and detection where the network is small: 10 % more frames/s on two cores.

    Returns:
        Number of threads that torch now computes with, in the whole process.
    """
    if sum(parameter.numel() for parameter in network.parameters()) < SMALL:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (cores or os.cpu_count() or 2) // 2)))
    return torch.get_num_threads()


@dataclass(frozen=True, eq=False)
class FoundFace:
    """One face before it is predicted: its place, the number of its track, its aligned crop (H, W, 3) uint8 RGB."""

    face: Face
    track: int
    crop: np.ndarray


@dataclass(frozen=True)
class Cropper:
    """Chooses and crops faces as a network wants them.

    Args:
        recipe: Its crop recipe.
        shape: (H, W) of its images.
        how_many: Of the largest faces of each image; None for all.
    """

    recipe: str
    shape: tuple[int, int]
    how_many: int | None

    def choose(self, faces: Sequence[Face]) -> list[Face]:
        """The largest faces, the largest first."""
        return sorted(faces, key=lambda face: -face.box[2])[: self.how_many]

    def cut(self, image: np.ndarray, face: Face) -> np.ndarray:
        """The aligned crop (H, W, 3) of a face in an image (H', W', 3)."""
        return resize(align(image, face.points, self.recipe, max(self.shape), box=face.box)[0], self.shape)

    def found(self, image: np.ndarray, faces: Sequence[Face]) -> list[FoundFace]:
        """The chosen faces of an image on its own, numbered by size."""
        return [FoundFace(face, number, self.cut(image, face)) for number, face in enumerate(self.choose(faces))]


class FaceTracker:
    """Turns the detections of the frames of one video into numbered crops.

    Args:
        cropper: Chooses and crops faces.
        detect_every: Faces are detected in each such frame and tracked in those between.
        state: What `state` returned of an interrupted run.
    """

    def __init__(self, cropper: Cropper, detect_every: int, state: Mapping[str, Any] | None = None) -> None:
        self.cropper, self.detect_every = cropper, detect_every
        self._tracker = Tracker()
        self._smoothers: dict[int, LandmarkSmoother] = {}
        self._last: list[Face] = []
        self._grey: np.ndarray | None = None
        if state is not None:
            self._tracker.restore(state["tracker"])
            smoothers = state["smoothers"].items()
            self._smoothers = {int(number): LandmarkSmoother.from_state(value) for number, value in smoothers}

    def update(self, frame: Frame, image: np.ndarray, detected: Sequence[Face] | None) -> list[FoundFace]:
        """The faces of the next readable frame, from its image (H, W, 3) and its detections, if it has any."""
        faces, grey = self._followed(image) if detected is None else (list(detected), None)
        self._last, self._grey = faces, None
        if faces and (frame.ordinal + 1) % self.detect_every:  # the next frame moves these faces
            self._grey = small_grey(image)[0] if grey is None else grey
        chosen = self.cropper.choose(faces)
        numbers = self._tracker.update(chosen, frame.time)
        self._smoothers = {n: smoother for n, smoother in self._smoothers.items() if self._tracker.knows(n)}
        found = []
        for face, number in zip(chosen, numbers, strict=True):
            steady = _steady(face, self._smoothers.setdefault(number, LandmarkSmoother()), frame.time)
            found.append(FoundFace(steady, number, self.cropper.cut(image, steady)))
        return sorted(found, key=lambda item: item.track)

    def state(self) -> dict[str, Any]:
        """Everything known after a frame that is followed by a detection, as plain JSON values."""
        smoothers = {str(number): smoother.state() for number, smoother in self._smoothers.items()}
        return {"tracker": self._tracker.state(), "smoothers": smoothers}

    def _followed(self, image: np.ndarray) -> tuple[list[Face], np.ndarray | None]:
        """The faces of the last frame where they are now, and the grey copy in which they were moved."""
        if self._grey is None:
            return [], None
        now, scale = small_grey(image)
        if now.shape != self._grey.shape:  # the video changes its size
            return [], None
        moved = (follow(self._grey, now, scale, face) for face in self._last)
        return [face for face in moved if face is not None], now


def _steady(face: Face, smoother: LandmarkSmoother, time: float) -> Face:
    """A face whose landmarks and box are smoothed over time together."""
    if not np.isfinite(face.points).all():  # a table of boxes alone
        return face
    x, y, w, h = face.box
    smooth = smoother.update(np.vstack([face.points, [[x, y], [x + w, y + h]]]), time)
    (left, top), (right, bottom) = smooth[-2:].tolist()
    return replace(face, points=smooth[:-2], box=(left, top, right - left, bottom - top))


@dataclass(frozen=True, eq=False)
class Task:
    """One frame on its way through the stages, or the end of a source.

    Args:
        source: What it belongs to.
        frame: The frame; None at the end of the source.
        message: At the end: why the source ends too early, or empty.
        detected: Its faces; None where there was no detection.
        found: Its numbered, aligned faces.
        state: From time to time, what tracking resumes from after this frame.
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
        """Add the time of a block to a stage: `read`, `detect`, `follow` or `network`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start


@dataclass(frozen=True)
class Pipeline:
    """The stages before the network.

    Args:
        detect: A face detector, called as `detect(image, file=..., frame=...)` from several threads.
        cropper: Chooses and crops faces.
        detect_every: In videos, faces are detected in each such frame and tracked in those between.
        selection: Which frames of videos.
        resume: By name of a source, `after` (index of its last frame that is done) and `faces` (state of tracking).
        clock: Where the stages note their time.
    """

    detect: Callable[..., list[Face]]
    cropper: Cropper
    detect_every: int
    selection: Selection
    resume: Mapping[str, Mapping[str, Any]]
    clock: Clock

    def run(self, sources: Sequence[Source]) -> Iterator[Task]:
        """All frames of all sources in order, each source closed by a task without a frame."""
        return ahead(self._track(spread(self._look, ahead(self._read(sources), _AHEAD), _DETECTORS)), _AHEAD)

    def _read(self, sources: Sequence[Source]) -> Iterator[Task]:
        """Decode source after source; an error ends one source and not the others."""
        for source in sources:
            after, message = self.resume.get(source.name, {}).get("after", -1), ""
            frames = read_source(source, self.selection, after=after)
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
        """Detect the faces of a frame, where its turn has come."""
        if task.frame is None or task.frame.image is None:
            return task
        if task.source.kind != "photo" and task.frame.ordinal % self.detect_every:
            return task
        with self.clock.measure("detect"):
            return replace(task, detected=self.detect(task.frame.image, file=task.source.file, frame=task.frame.index))

    def _track(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Number, smooth and crop the faces of frame after frame."""
        tracker: FaceTracker | None = None
        step = self.detect_every * -(-RESUME_FRAMES // self.detect_every)  # the next frame after it is detected
        for task in tasks:
            if task.frame is None or task.frame.image is None:
                tracker = None if task.frame is None else tracker
                yield task
                continue
            with self.clock.measure("follow"):
                if task.source.kind == "photo":
                    done = replace(task, found=self.cropper.found(task.frame.image, task.detected or []))
                else:
                    if tracker is None:
                        known = self.resume.get(task.source.name, {}).get("faces")
                        tracker = FaceTracker(self.cropper, self.detect_every, known)
                    done = replace(task, found=tracker.update(task.frame, task.frame.image, task.detected))
                    if (task.frame.ordinal + 1) % step == 0:
                        done = replace(done, state=tracker.state())
            yield done

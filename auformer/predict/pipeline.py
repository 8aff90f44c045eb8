"""From sources to aligned faces: reading, detection and tracking, each in a thread of its own, in order."""

from __future__ import annotations

import math
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

from auformer.data.images import read_image
from auformer.data.transforms import resize
from auformer.faces import Face, align
from auformer.predict.following import (
    BEAT,
    SEARCH,
    Known,
    appearance,
    follow_face,
    is_cut,
    on_one_place,
    refreshed,
    thumbnail,
    without_doubles,
)
from auformer.predict.quality import CUT, find_quality
from auformer.predict.reduced import ENOUGH, enlarged, find_in_reduced
from auformer.predict.sources import Source
from auformer.predict.tracking import MAX_GAP, LandmarkSmoother, Tracker, follow, small_grey
from auformer.predict.types import Frame, Selection
from auformer.predict.video import read_source

T = TypeVar("T")
R = TypeVar("R")
_WAIT = 0.1  # seconds between looks whether the reader has left [ours]
_AHEAD = 4  # frames that wait between two stages at most: a photo of 8000 x 6000 pixels has 144 MB [ours]
_DETECTORS = 2  # threads that detect [ours]: OpenCV's cascades use one core each
_SHRUNK = 0.8  # of the smallest face that is searched for: followed faces may be so small [ours]
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


def share_cores(network: Any, *, cores: int | None = None) -> int:
    """Leave half of the `cores` to reading and detection where a network of torch is small: 10 % more frames/s on two.

    Returns:
        Number of threads that torch now computes with, in the whole process.
    """
    import torch

    if sum(parameter.numel() for parameter in network.parameters()) < SMALL:
        torch.set_num_threads(min(torch.get_num_threads(), half_of(cores)))
    return torch.get_num_threads()


def half_of(cores: int | None) -> int:
    """Half of so many cores, None for all of this machine, and at least one."""
    return max(1, (cores or os.cpu_count() or 2) // 2)


@dataclass(frozen=True, eq=False)
class FoundFace:
    """One face before it is predicted: its place, the number of its track, its aligned crop (H, W, 3) uint8 RGB.

    `quality` are words for what makes its values less sure, see `auformer.predict.quality`.
    """

    face: Face
    track: int
    crop: np.ndarray
    quality: tuple[str, ...] = ()


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

    def find(self, image: np.ndarray, face: Face, track: int) -> FoundFace:
        """A face in an image (H', W', 3) with its aligned crop (H, W, 3); a mirrored border could make a second mouth.

        So the crop of a face that the border cuts is filled with the image's outermost pixels instead.
        """
        quality = find_quality(image, face)
        border = "edge" if CUT in quality else "reflect"
        crop = align(image, face.points, self.recipe, max(self.shape), border=border, box=face.box)[0]
        return FoundFace(face, track, resize(crop, self.shape), quality)

    def found(self, image: np.ndarray, faces: Sequence[Face]) -> list[FoundFace]:
        """The chosen faces of an image on its own, numbered by size."""
        return [self.find(image, face, number) for number, face in enumerate(self.choose(faces))]


class FaceTracker:
    """Turns the detections of the frames of one video into numbered crops.

    Args:
        cropper: Chooses and crops faces.
        detect_every: Faces are detected in each such frame and moved by optical flow in those between; None follows
            them by their landmarks and detects where that says so, see `auformer.predict.following`.
        state: What `state` returned of an interrupted run.
        detect: Finds the faces of an image, where following asks for it between the beats.
        smallest: Pixels; followed faces whose box is narrower are lost.
    """

    def __init__(
        self, cropper: Cropper, detect_every: int | None, state: Mapping[str, Any] | None = None, *,
        detect: Callable[[np.ndarray, Frame], list[Face]] | None = None, smallest: float = 0.0,
    ) -> None:  # fmt: skip
        self.cropper, self.detect_every, self._detect, self._smallest = cropper, detect_every, detect, smallest
        self._tracker = Tracker()
        self._smoothers: dict[int, LandmarkSmoother] = {}
        self._last: list[Face] = []
        self._grey: np.ndarray | None = None
        self._known: dict[int, Known] = {}  # by number: faces of the last frame
        self._gone: dict[int, Known] = {}  # faces that were lost a moment ago
        self._lost = -math.inf  # when the last of them was lost
        self._time: float | None = None  # of the last frame
        self._shot: np.ndarray | None = None  # its thumbnail
        if state is not None:
            self._tracker.restore(state["tracker"])
            smoothers = state["smoothers"].items()
            self._smoothers = {int(number): LandmarkSmoother.from_state(value) for number, value in smoothers}
            if detect_every is None:
                self._known, self._gone = (
                    {int(number): Known.from_state(one) for number, one in state[name].items()}
                    for name in ("known", "gone")
                )
                self._lost, self._time = -math.inf if state["lost"] is None else state["lost"], state["time"]
                self._shot = None if state["shot"] is None else np.array(state["shot"], np.uint8)

    def update(self, frame: Frame, image: np.ndarray, detected: Sequence[Face] | None) -> list[FoundFace]:
        """The faces of the next readable frame, from its image (H, W, 3) and its detections, if it has any."""
        if self.detect_every is None:
            faces, numbers = self._follow(frame, image, detected)
        else:
            faces, numbers = self._move(frame, image, detected, self.detect_every)
        self._smoothers = {n: smoother for n, smoother in self._smoothers.items() if self._tracker.knows(n)}
        found = []
        for face, number in zip(faces, numbers, strict=True):
            steady = _steady(face, self._smoothers.setdefault(number, LandmarkSmoother()), frame.time)
            found.append(self.cropper.find(image, steady, number))
        return sorted(found, key=lambda item: item.track)

    def state(self) -> dict[str, Any]:
        """Everything known after a frame, as plain JSON values; with `detect_every`, before a frame of detection."""
        smoothers = {str(number): smoother.state() for number, smoother in self._smoothers.items()}
        state: dict[str, Any] = {"tracker": self._tracker.state(), "smoothers": smoothers}
        if self.detect_every is None:
            for name, faces in (("known", self._known), ("gone", self._gone)):
                state[name] = {str(number): one.state() for number, one in faces.items()}
            state |= {"lost": self._lost if math.isfinite(self._lost) else None, "time": self._time}
            state["shot"] = None if self._shot is None else self._shot.tolist()
        return state

    def _follow(
        self, frame: Frame, image: np.ndarray, detected: Sequence[Face] | None
    ) -> tuple[list[Face], Sequence[int]]:
        """Faces by following, and by a search where one is due; with their numbers."""
        time, before, followed, shot = frame.time, self._known, dict[int, Known](), thumbnail(image)
        if is_cut(self._shot, shot):  # nobody is followed into another shot
            before, self._gone = (
                {number: replace(one, cut=True) for number, one in faces.items()} for faces in (before, self._gone)
            )
        else:
            found = {n: follow_face(image, known, time, smallest=self._smallest) for n, known in before.items()}
            followed = without_doubles({n: now for n, now in found.items() if now is not None}, before)
        self._shot = shot
        self._gone = {number: one for number, one in self._gone.items() if time - one.time <= MAX_GAP}
        lost = {number: one for number, one in before.items() if number not in followed}
        if lost:
            self._gone, self._lost = self._gone | lost, time
        if detected is None and self._detect is not None and time - self._lost <= SEARCH:
            detected = self._detect(image, frame)
        new: list[Known] = []
        for face in detected or ():
            same = [n for n, known in followed.items() if on_one_place(known.face.box, face.box)]
            if same:
                followed |= {number: refreshed(followed[number], face) for number in same[:1]}
            else:
                new.append(Known(face, appearance(image, face.points), time))
        everything: list[tuple[int | None, Known]] = [*followed.items(), *((None, one) for one in new)]
        everything.sort(key=lambda pair: -pair[1].face.box[2])
        chosen = everything[: self.cropper.how_many]
        faces = [known.face for _, known in chosen]
        numbers = self._tracker.update(
            faces, time, numbers={place: n for place, (n, _) in enumerate(chosen) if n is not None},
            may_be=lambda number, place: self._looks_like(number, chosen[place][1]),
        )  # fmt: skip
        self._known = {number: known for number, (_, known) in zip(numbers, chosen, strict=True)}
        self._gone = {number: one for number, one in self._gone.items() if number not in self._known}
        if not self._gone:
            self._lost = -math.inf
        self._time = time
        return faces, numbers

    def _looks_like(self, number: int, found: Known) -> bool:
        """Whether a face that was searched for may be one that was lost a moment ago."""
        gone = self._gone.get(number)
        return gone is None or gone.may_be(found)

    def _move(
        self, frame: Frame, image: np.ndarray, detected: Sequence[Face] | None, detect_every: int
    ) -> tuple[list[Face], Sequence[int]]:
        """Faces by detection or, between two, by optical flow; with their numbers."""
        faces, grey = self._flown(image) if detected is None else (list(detected), None)
        self._last, self._grey = faces, None
        if faces and (frame.ordinal + 1) % detect_every:  # the next frame moves these faces
            self._grey = small_grey(image)[0] if grey is None else grey
        chosen = self.cropper.choose(faces)
        return chosen, self._tracker.update(chosen, frame.time)

    def _flown(self, image: np.ndarray) -> tuple[list[Face], np.ndarray | None]:
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
        due: Whether its faces are to be detected before it is known whether they are needed.
        detected: Its faces; None where there was no detection.
        found: Its numbered, aligned faces.
        state: From time to time, what tracking resumes from after this frame.
    """

    source: Source
    frame: Frame | None
    message: str = ""
    due: bool = True
    detected: list[Face] | None = None
    found: list[FoundFace] = field(default_factory=list)
    state: dict[str, Any] | None = None


def without_image(task: Task) -> Task:
    """The same without the pixels of its frame, of which only the shape is kept: some frames wait for the network."""
    if task.frame is None or task.frame.image is None:
        return task
    shape = np.broadcast_to(np.uint8(0), task.frame.image.shape)  # takes no memory
    return replace(task, frame=replace(task.frame, image=shape))


class Clock:
    """How long each stage worked, in seconds, over all threads."""

    def __init__(self) -> None:
        self.seconds = {"read": 0.0, "detect": 0.0, "follow": 0.0, "network": 0.0}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str, *, within: str | None = None) -> Iterator[None]:
        """Add the time of a block to `read`, `detect`, `follow` or `network`, taking it off what it is within."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                spent = time.perf_counter() - start
                self.seconds[stage] += spent
                if within is not None:
                    self.seconds[within] -= spent


@dataclass(frozen=True)
class Pipeline:
    """The stages before the network.

    Args:
        detect: A face detector, called as `detect(image, file=..., frame=...)` from several threads.
        cropper: Chooses and crops faces.
        detect_every: In videos, faces are detected in each such frame and moved by optical flow in those between; None
            follows them and detects where that says so.
        selection: Which frames of videos.
        resume: By name of a source, `after` (index of its last frame that is done) and `faces` (state of tracking).
        clock: Where the stages note their time.
        reduce: Whether large photographs may come smaller than they are, see `auformer.predict.reduced`.
    """

    detect: Callable[..., list[Face]]
    cropper: Cropper
    detect_every: int | None
    selection: Selection
    resume: Mapping[str, Mapping[str, Any]]
    clock: Clock
    reduce: bool = False

    def run(self, sources: Sequence[Source]) -> Iterator[Task]:
        """All frames of all sources in order, each source closed by a task without a frame."""
        return ahead(self._track(spread(self._look, ahead(self._read(sources), _AHEAD), _DETECTORS)), _AHEAD)

    def _read(self, sources: Sequence[Source]) -> Iterator[Task]:
        """Decode source after source; an error ends one source and not the others."""
        for source in sources:
            known = self.resume.get(source.name, {})
            after, message, before = known.get("after", -1), "", known.get("faces", {}).get("time")
            frames = read_source(source, self.selection, after=after, enough=ENOUGH if self.reduce else None)
            while True:
                try:
                    with self.clock.measure("read"):
                        frame = next(frames, None)
                except (ValueError, OSError) as error:
                    frame, message = None, str(error)
                due = True
                if frame is not None and source.kind != "photo" and frame.image is not None:
                    due, before = self._is_due(frame, before), frame.time
                yield Task(source, frame, message, due)
                if frame is None:
                    break

    def _is_due(self, frame: Frame, before: float | None) -> bool:
        """Whether faces are to be detected in a frame of a video; `before` is the time of the last, None of none."""
        if self.detect_every is not None:
            return frame.ordinal % self.detect_every == 0
        return before is None or math.floor(frame.time / BEAT) != math.floor(before / BEAT)

    def _look(self, task: Task) -> Task:
        """Detect the faces of a frame, where its turn has come."""
        if task.frame is None or task.frame.image is None or not task.due:
            return task
        frame, image = task.frame, task.frame.image
        with self.clock.measure("detect"):
            if frame.reduced > 1:
                found = find_in_reduced(self.detect, image, frame.reduced, max(self.cropper.shape))
                if found is not None:
                    return replace(task, detected=found)
                try:
                    with self.clock.measure("read", within="detect"):
                        image = read_image(task.source.file)
                except ValueError as error:
                    return replace(task, frame=replace(frame, image=None, message=str(error)))
            found = self.detect(image, file=task.source.file, frame=frame.index)
            return replace(task, frame=replace(frame, image=image, reduced=1), detected=found)

    def _tracker(self, source: Source) -> FaceTracker:
        """What tracks the faces of a video, new or resumed."""

        def detect(image: np.ndarray, frame: Frame) -> list[Face]:
            with self.clock.measure("detect", within="follow"):
                return self.detect(image, file=source.file, frame=frame.index)

        known = self.resume.get(source.name, {}).get("faces")
        smallest = _SHRUNK * getattr(self.detect, "min_size", 0)
        return FaceTracker(self.cropper, self.detect_every, known, detect=detect, smallest=smallest)

    def _track(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Number, smooth and crop the faces of frame after frame."""
        tracker: FaceTracker | None = None
        every = self.detect_every or 1
        step = every * -(-RESUME_FRAMES // every)  # with `detect_every`, the next frame after it is detected
        for task in tasks:
            if task.frame is None or task.frame.image is None:
                tracker = None if task.frame is None else tracker
                yield task
                continue
            with self.clock.measure("follow"):
                if task.source.kind == "photo":
                    found = self.cropper.found(task.frame.image, task.detected or [])
                    whole = [replace(one, face=enlarged(one.face, task.frame.reduced)) for one in found]
                    done = replace(task, found=whole)
                else:
                    tracker = tracker or self._tracker(task.source)
                    done = replace(task, found=tracker.update(task.frame, task.frame.image, task.detected))
                    if (task.frame.ordinal + 1) % step == 0:
                        done = replace(done, state=tracker.state())
            yield done

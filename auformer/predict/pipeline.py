"""From sources to aligned faces: read, detect and follow, each in a thread of its own, in order and with bounded memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from auformer.faces import Face
from auformer.predict.finding import FaceFollower, FoundFace, choose, cut
from auformer.predict.frame import Frame
from auformer.predict.overlap import ahead, spread
from auformer.predict.reading import read_source
from auformer.predict.selection import Selection
from auformer.predict.sources import Source

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
        self, detect: Detect, recipe: str, shape: tuple[int, int], *, how_many: int | None, detect_every: int, clock: Clock
    ) -> None:
        self.detect, self.recipe, self.shape = detect, recipe, shape
        self.how_many, self.detect_every, self.clock = how_many, detect_every, clock

    def run(self, sources: Sequence[Source], selection: Selection, resume: Mapping[str, Mapping[str, Any]]) -> Iterator[Task]:
        """All pictures of all sources in order, each source closed by a task without a frame.

        Args:
            sources: what to read.
            selection: which frames.
            resume: by name of a source, `after` (index of its last frame that is done) and `faces` (state of following).
        """
        read = ahead(self._read(sources, selection, resume), _AHEAD)
        return ahead(self._follow(spread(self._look, read, _DETECTORS), resume), _AHEAD)

    def _read(self, sources: Sequence[Source], selection: Selection, resume: Mapping[str, Mapping[str, Any]]) -> Iterator[Task]:
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
                    done = replace(task, found=[FoundFace(face, n, crop) for n, (face, crop) in enumerate(zip(faces, crops, strict=True))])
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

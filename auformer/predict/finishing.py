"""The last stage: the network's probabilities back to the pictures that the faces came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from auformer.predict.pipeline import Clock, Task
from auformer.predict.reading import NOMINAL_FPS
from auformer.predict.smoothing import ProbSmoother
from auformer.predict.types import FacePrediction, ImagePrediction, SourceEnd


def no_face(size: tuple[int, ...]) -> str:
    """What to say of a picture (H, W) without a face."""
    return (
        f"no face found in {size[1]} x {size[0]} pixels: detectors see upright, uncovered faces of at least 40 pixels that look at the "
        "camera (the default one: turned by at most about 25 degrees, tilted by about 15)"
    )


class Finisher:
    """Predicts pictures that wait together and gives them back one by one.

    Args:
        predict: probabilities (n, N) of crops (n, H, W, 3).
        smooth: time constant in seconds of smoothing over time; None for none.
        clock: where the network's time is noted.
        keep_images: give the pictures themselves, too.
        resume: by name of a source, the state that it goes on from.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[np.ndarray]], np.ndarray],
        *,
        smooth: float | None,
        clock: Clock,
        keep_images: bool,
        resume: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.predict, self.smooth, self.clock, self.keep_images, self.resume = predict, smooth, clock, keep_images, resume
        self._smoother: ProbSmoother | None = None
        self._pictures = 0  # of the source at hand
        self._begun = ""  # its name

    def finish(self, tasks: Sequence[Task]) -> Iterator[ImagePrediction | SourceEnd]:
        """The predictions of several pictures, whose faces go through the network together."""
        with self.clock.measure("network"):
            probs = iter(self.predict([found.crop for task in tasks for found in task.found]))
        for task in tasks:
            self._begin(task)
            if task.frame is not None:
                self._pictures += 1
                yield self._picture(task, probs)
                continue
            if not self._pictures:
                yield ImagePrediction(task.source, "unreadable", task.message or "no frame lies between the times asked for")
            self._begun = ""
            yield SourceEnd(task.source, task.message or ("" if self._pictures else "no frame lies between the times asked for"))

    def _begin(self, task: Task) -> None:
        """Make ready for a source where its first task comes."""
        if self._begun == task.source.name:
            return
        state = self.resume.get(task.source.name)
        self._begun, self._pictures = task.source.name, 0 if state is None else 1
        self._smoother = None
        if self.smooth is not None and task.source.kind != "photo":
            self._smoother = ProbSmoother(self.smooth)
            if state is not None:
                self._smoother.restore(state["probs"])

    def _picture(self, task: Task, probs: Iterator[np.ndarray]) -> ImagePrediction:
        """One picture with its faces, which take their probabilities (N,) from `probs`."""
        frame = task.frame
        assert frame is not None
        if frame.image is None:
            return ImagePrediction(task.source, "unreadable", frame.message, frame=frame.index)
        time = frame.time_s if frame.time_s is not None else frame.ordinal / NOMINAL_FPS
        faces = []
        for found in task.found:
            row = next(probs)
            if self._smoother is not None:
                row = self._smoother.update(found.identity, row, time)
            faces.append(FacePrediction(found.face, found.crop, row, found.identity))
        state = None
        if task.state is not None:
            state = {"after": frame.index, "faces": task.state, "probs": self._smoother.state() if self._smoother else {}}
        size = frame.image.shape[:2]
        return ImagePrediction(
            task.source,
            "ok" if faces else "no_face",
            "" if faces else no_face(size),
            faces,
            frame.index,
            frame.time_s,
            (size[0], size[1]),
            frame.image if self.keep_images else None,
            state,
        )

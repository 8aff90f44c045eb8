"""The faces of a recording, frame after frame: detected or followed, numbered, smoothed, cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from auformer.data.transforms import resize
from auformer.faces import Face, align
from auformer.predict.following import follow, small_grey
from auformer.predict.frame import Frame
from auformer.predict.reading import NOMINAL_FPS
from auformer.predict.tracking import PointSmoother, Tracker


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

    def __init__(self, recipe: str, shape: tuple[int, int], *, how_many: int | None = None, detect_every: int = 1) -> None:
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
        self._smoothers = {number: smoother for number, smoother in self._smoothers.items() if self._tracker.knows(number)}
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

"""Known faces followed from frame to frame by the landmark network, so that they need not be searched for.

A face of the last frame is looked for where it was: twice, at the square of its last landmarks and at that of those
found there (OpenFace and MediaPipe follow in this way). It is lost where the network's head is not certain that it
looks at a face (`auformer.faces.certainty`), where the landmarks cannot be those of the face a frame later, or where
the crop shows something else: another shot of a film begins, somebody walks through. What is lost is searched for, so
eyes that close, at which the face detector fails, lose nobody.

Nothing here recognises people. The crop is compared with the same face's a moment ago, which tells a cut from a motion;
faces that are met again after a gap are compared in the same way, and one that looks otherwise gets a new number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from auformer.faces import Face
from auformer.faces.align import warp
from auformer.faces.certainty import CERTAIN, packaged
from auformer.faces.recipes import Square
from auformer.faces.regressor import ask, square_of

BEAT = 0.4  # seconds between two searches for new faces while all known ones are followed [ours]
SEARCH = 0.25  # seconds after a loss in which every frame is searched [ours]
GROWTH = 1.35  # factor by which a face may grow or shrink from one frame to the next [ours]
MOVE = 0.8  # inter-pupil distances that its middle may move by, as far as two looks find it [ours]
TURN = math.radians(30)  # by which its eye line may turn [ours]
LOOK = 24  # side of the crop that is compared [ours]
# Correlation of two crops from which they show one face, from one frame to the next and after a search. On rendered
# faces in labs: a quarter of a change of expression .92 and more, a whole one .64 and more, two people .52 or less in
# 95 of 100 pairs and .68 at most. [ours]
ALIKE, AGAIN = 0.72, 0.5
# Two people who do not move in one light may be as alike as .87, so after a cut more is asked for: the whole frames
# correlate by less than `SAME_SHOT`. [ours]
AFTER_CUT, SAME_SHOT = 0.9, 0.5
THUMB = 32  # pixels of the longer side in which frames are compared [ours]
KEPT_BOX = 0.5  # share of the old box, relative to the landmarks, that stays when a search finds the face [ours]


def grey_piece(image: np.ndarray, square: Square) -> tuple[np.ndarray, np.ndarray]:
    """The grey part (h, w) of an RGB image that a square needs, and its upper left corner (2,) in pixels."""
    reach = 1.5 * float(np.hypot(*square.axis)) + 4  # the square's corners, and what interpolation reads
    height, width = image.shape[:2]
    low = np.clip(np.floor(square.centre - reach), 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil(square.centre + reach), low + 1, (width, height)).astype(int)
    return cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY), low


def appearance(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A small crop (24, 24) uint8 of a face, level by its landmarks (5, 2): its fine structure, around 128.

    What is coarser than an eighth of it is taken out: light and dark halves are alike in many people.
    """
    square = square_of(points)
    piece, corner = grey_piece(image, square)
    crop = warp(piece, Square(square.centre - corner, square.axis).matrix(LOOK), LOOK).astype(np.float32)
    return np.clip(crop - cv2.GaussianBlur(crop, (0, 0), LOOK / 8) + 128, 0, 255).round().astype(np.uint8)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two such crops in [-1, 1], whatever their brightness and contrast; 0 for a flat one."""
    a, b = (crop.astype(np.float32) - crop.mean() for crop in (one, other))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size else 0.0


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A small copy (h, w) uint8 of a frame, for `is_cut`; only every n-th pixel is read."""
    step = max(1, max(image.shape[:2]) // THUMB)
    return image[step // 2 :: step, step // 2 :: step, 1].copy()


def is_cut(before: np.ndarray | None, now: np.ndarray) -> bool:
    """Whether another shot begins between two frames, by their thumbnails."""
    return before is not None and (before.shape != now.shape or likeness(before, now) < SAME_SHOT)


@dataclass(frozen=True, eq=False)
class Known:
    """A face that is followed.

    Args:
        face: Where it was last, unsmoothed.
        look: Its crop there, as `appearance` gives it.
        time: Seconds, of that frame.
        cut: Whether another shot has begun since.
    """

    face: Face
    look: np.ndarray
    time: float
    cut: bool = False

    def may_be(self, other: Known) -> bool:
        """Whether a face that a search has found may be this one, of a moment ago."""
        return likeness(self.look, other.look) >= (AFTER_CUT if self.cut else AGAIN)

    def state(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        face = self.face
        return {
            "box": list(face.box), "score": face.score, "points": face.points.tolist(), "source": face.points_source,
            "look": self.look.tolist(), "time": self.time, "cut": self.cut,
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Known:
        """What `state` returned."""
        x, y, w, h = state["box"]
        face = Face((x, y, w, h), state["score"], np.array(state["points"]), state["source"])
        return cls(face, np.array(state["look"], np.uint8), state["time"], state["cut"])


def follow_face(image: np.ndarray, known: Known, time: float, *, smallest: float = 0.0) -> Known | None:
    """Where a known face is in the next frame.

    Args:
        image: (H, W, 3) uint8 RGB.
        known: The face in an earlier frame.
        time: Seconds, of this one.
        smallest: Pixels; a face whose box is narrower is lost.

    Returns:
        The face with its box and landmarks of now; None where it is lost.
    """
    before = known.face.points
    square = square_of(before)
    points, features = before, None
    for _ in range(2):
        piece, corner = grey_piece(image, square)
        if min(piece.shape) < 8:
            return None
        found, features = ask(piece, Square(square.centre - corner, square.axis))
        points = found + corner
        square = square_of(points)
    assert features is not None
    certainty = packaged()(features)
    if not _possible(before, points, image.shape) or certainty < CERTAIN:
        return None
    box = moved_box(known.face.box, before, points)
    look = appearance(image, points)
    if box[2] < smallest or likeness(known.look, look) < ALIKE:
        return None
    face = replace(known.face, box=box, points=points, points_source="regressor", certainty=certainty)
    return Known(face, look, time)


def moved_box(box: Sequence[float], before: np.ndarray, after: np.ndarray) -> tuple[float, float, float, float]:
    """A box (x, y, w, h) that goes with landmarks (5, 2): moved and scaled as their square, never turned.

    >>> flat = np.array([[0.0, 0], [4, 0], [2, 2], [1, 4], [3, 4]])
    >>> moved_box((-1, -1, 6, 6), flat, 2 * flat + 10)
    (8.0, 8.0, 12.0, 12.0)
    """
    old, new = square_of(before), square_of(after)
    factor = float(np.hypot(*new.axis) / np.hypot(*old.axis))
    x, y, w, h = box
    middle = np.array([x + w / 2, y + h / 2]) - old.centre
    turn = _angle(new.axis) - _angle(old.axis)
    spin = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    left, top = (new.centre + factor * spin @ middle - factor * np.array([w, h]) / 2).tolist()
    return left, top, factor * w, factor * h


def refreshed(known: Known, found: Face) -> Known:
    """A followed face whose box and score a search has just found again; its landmarks stay those of following."""
    x, y, w, h = (KEPT_BOX * old + (1 - KEPT_BOX) * new for old, new in zip(known.face.box, found.box, strict=True))
    return replace(known, face=replace(known.face, box=(x, y, w, h), score=found.score))


def on_one_place(box: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the centre of either box lies inside the other.

    >>> on_one_place((0, 0, 4, 4), (1, 1, 4, 4)), on_one_place((0, 0, 4, 4), (3, 0, 4, 4))
    (True, False)
    """

    def holds(outer: Sequence[float], inner: Sequence[float]) -> bool:
        x, y = inner[0] + inner[2] / 2, inner[1] + inner[3] / 2
        return outer[0] <= x <= outer[0] + outer[2] and outer[1] <= y <= outer[1] + outer[3]

    return holds(box, other) or holds(other, box)


def without_doubles(followed: dict[int, Known], before: dict[int, Known]) -> dict[int, Known]:
    """Of several followed faces on one place, as where two people cross, the one that looks most like before."""
    ranked = sorted(followed, key=lambda number: -likeness(followed[number].look, before[number].look))
    kept: list[int] = []
    for number in ranked:
        if not any(on_one_place(followed[number].face.box, followed[other].face.box) for other in kept):
            kept.append(number)
    return {number: followed[number] for number in sorted(kept)}


def _possible(before: np.ndarray, after: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether landmarks (5, 2) of a face can be those a frame later, in an image of a shape (H, W, ...)."""
    old, new = square_of(before), square_of(after)
    size, moved = float(np.hypot(*old.axis)), float(np.hypot(*(new.centre - old.centre)))
    factor = float(np.hypot(*new.axis)) / size
    turn = abs((_angle(new.axis) - _angle(old.axis) + math.pi) % (2 * math.pi) - math.pi)
    inside = ((after >= 0) & (after <= (shape[1], shape[0]))).all(1).sum()
    return 1 / GROWTH < factor < GROWTH and moved < MOVE * size * 2 / 2.75 and turn < TURN and inside >= len(after) - 1


def _angle(axis: np.ndarray) -> float:
    return math.atan2(axis[1], axis[0])

"""Faces tracked from frame to frame: numbered, and their landmarks and probabilities smoothed over time.

With `--detect-every` a face is moved by optical flow on a grid inside its box between two detections (Lucas and Kanade
1981). One that turns away or is covered is lost there; a new face is seen at the next detection only. Without, faces
are followed by their landmarks, see `auformer.predict.following`.

A face belongs to the track whose box, moved at its last speed, it overlaps most. Faces that cross keep their numbers as
long as they move evenly; one that is away for longer than `MAX_GAP`, or comes back elsewhere, gets a new number:
nothing here recognises people. Two that swap places while both are hidden are confused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from auformer.faces import Face

_GRID = 7  # grid points along each side of the box's inner part [ours]
_INNER = 0.7  # of the box, so that the background does not pull [ours]
_WINDOW, _LEVELS = (15, 15), 3  # pixels and pyramid of the flow [ours]
_LONGEST = 640  # pixels of the longer side in which the flow is computed [ours]
_KEPT = 0.5  # of the grid that must move together; below, the face is lost [ours]
_GROWTH = 1.5  # factor by which a face may grow or shrink from one frame to the next [ours]
_SMALLEST = 10  # pixels of a box's width [ours]
_RANSAC = 1.0  # pixels by which a grid point may differ from the others [ours]


def small_grey(image: np.ndarray) -> tuple[np.ndarray, float]:
    """A grey copy (h, w) of an RGB image in which the flow is computed, and its scale."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _LONGEST / max(grey.shape))
    return (grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)), scale


def follow(before: np.ndarray, now: np.ndarray, scale: float, face: Face) -> Face | None:
    """Where a face of the last frame is in this one.

    Args:
        before: (h, w) the last frame, as `small_grey` gives it.
        now: (h, w) this frame.
        scale: Of both.
        face: The face in the last frame, in pixels of the full image.

    Returns:
        The face with box and landmarks moved, rotated and scaled; None where it is lost.
    """
    x, y, w, h = (value * scale for value in face.box)
    steps = (np.arange(_GRID) / (_GRID - 1) - 0.5) * _INNER + 0.5
    grid = np.array([(x + w * across, y + h * down) for down in steps for across in steps], np.float32)
    inside = (grid >= 0).all(1) & (grid < (before.shape[1], before.shape[0])).all(1)
    if inside.sum() < _KEPT * len(grid):
        return None
    grid = grid[inside]
    start = np.zeros_like(grid[:, None])  # not read: no initial flow is asked for
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, grid[:, None], start, winSize=_WINDOW, maxLevel=_LEVELS)
    seen = np.asarray(found).ravel() == 1
    if seen.sum() < 3:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(grid[seen], np.asarray(moved)[seen, 0], ransacReprojThreshold=_RANSAC)
    if matrix is None or agree.sum() < _KEPT * _GRID**2:
        return None
    linear, shift = matrix[:, :2], matrix[:, 2] / scale
    factor = float(np.sqrt(abs(np.linalg.det(linear))))
    if not 1 / _GROWTH < factor < _GROWTH or face.box[2] * factor < _SMALLEST:
        return None
    middle = linear @ (np.array(face.box[:2]) + np.array(face.box[2:]) / 2) + shift
    size = np.array(face.box[2:]) * factor
    corner = middle - size / 2
    box = (float(corner[0]), float(corner[1]), float(size[0]), float(size[1]))
    return Face(box, face.score, face.points @ linear.T + shift, face.points_source)


MIN_OVERLAP = 0.2  # intersection over union with the expected box from which a face is the same one [ours]
MAX_GAP = 1.0  # seconds that a face may be away for [ours]
_INERTIA = 0.5  # of the old speed kept at each sighting [ours]


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, w, h), in [0, 1].

    >>> overlap((0, 0, 2, 2), (1, 0, 2, 2))
    0.3333333333333333
    """
    across = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    down = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    total = box[2] * box[3] + other[2] * other[3] - shared
    return shared / total if total > 0 else 0.0


def match_boxes(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], min_overlap: float, *,
    allowed: Callable[[int, int], bool] = lambda i, j: True,
) -> list[tuple[int, int]]:  # fmt: skip
    """Pairs of places of boxes that show one face: by falling overlap down to `min_overlap`, each box once.

    Of those that are `allowed`, a place in the first list and one in the second.
    """
    scored = sorted((-overlap(one, two), i, j) for i, one in enumerate(first) for j, two in enumerate(second))
    found: dict[int, int] = {}
    for negative, i, j in scored:
        if -negative >= min_overlap and i not in found and j not in found.values() and allowed(i, j):
            found[i] = j
    return list(found.items())


class Tracker:
    """Gives the faces of frame after frame the numbers of their tracks."""

    def __init__(self) -> None:
        self._tracks: dict[int, dict[str, Any]] = {}
        self._next = 0

    def update(
        self, faces: Sequence[Face], time_s: float, *, numbers: Mapping[int, int] | None = None,
        may_be: Callable[[int, int], bool] = lambda number, place: True,
    ) -> list[int]:  # fmt: skip
        """Numbers of the faces of one frame, in their order; a new face gets the next number, from 0 on.

        Args:
            faces: The faces; of two new ones the larger comes first.
            time_s: Time of the frame in seconds, later than all before.
            numbers: Numbers of faces that are known already, by their place.
            may_be: Whether the track of a number may be the face at a place.
        """
        self._tracks = {number: track for number, track in self._tracks.items() if time_s - track["time"] <= MAX_GAP}
        numbers = dict(numbers or {})
        taken = set(numbers.values())
        known = [number for number in self._tracks if number not in taken]
        expected = [_expected(self._tracks[number], time_s) for number in known]
        open_places = [place for place in range(len(faces)) if place not in numbers]
        pairs = match_boxes(
            expected, [faces[place].box for place in open_places], MIN_OVERLAP,
            allowed=lambda i, j: may_be(known[i], open_places[j]),
        )  # fmt: skip
        numbers |= {open_places[place]: known[track] for track, place in pairs}
        for place, face in enumerate(faces):
            if place not in numbers:
                numbers[place] = self._next
                self._next += 1
            self._see(numbers[place], face.box, time_s)
        return [numbers[place] for place in range(len(faces))]

    def knows(self, number: int) -> bool:
        """Whether a face may still come back under its number."""
        return number in self._tracks

    def state(self) -> dict[str, Any]:
        """Everything known so far, as plain JSON values."""
        return {"next": self._next, "tracks": [[number, track] for number, track in self._tracks.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._next, self._tracks = state["next"], dict(state["tracks"])

    def _see(self, number: int, box: Sequence[float], time_s: float) -> None:
        """Note where a face is now, and its speed in pixels per second."""
        before, speed = self._tracks.get(number), [0.0, 0.0]
        if before is not None and time_s > before["time"]:
            gone = time_s - before["time"]
            moved = [
                (box[axis] + box[axis + 2] / 2 - before["box"][axis] - before["box"][axis + 2] / 2) / gone
                for axis in (0, 1)
            ]
            speed = [_INERTIA * old + (1 - _INERTIA) * new for old, new in zip(before["speed"], moved, strict=True)]
        self._tracks[number] = {"box": [float(value) for value in box], "speed": speed, "time": time_s}


def _expected(track: dict[str, Any], time_s: float) -> list[float]:
    """Where a face should be by now: its last box, moved at its last speed."""
    (x, y, w, h), (across, down) = track["box"], track["speed"]
    gone = time_s - track["time"]
    return [x + across * gone, y + down * gone, w, h]


class LandmarkSmoother:
    """Takes the jitter out of the landmarks of one face: the 1-euro filter (Casiez, Roussel and Vogel, CHI 2012).

    A low-pass filter whose cut-off rises with the speed of the face, so that a face at rest does not tremble and one
    that moves is not left behind. Speeds are in inter-pupil distances (IPD), so faces of every size are treated alike;
    all landmarks share one cut-off.
    """

    CUTOFF = 1.5  # Hz, of a face at rest [ours]
    REST = 0.25  # IPD per second up to which a face counts as at rest: jitter of the default face detector [ours]
    PER_SPEED = 6.0  # Hz more for each IPD per second [ours]
    SPEED_CUTOFF = 1.0  # Hz, of the speed itself (as in the paper)

    def __init__(self) -> None:
        self._points: np.ndarray | None = None
        self._speed = np.zeros(2)
        self._time = 0.0

    def update(self, points: np.ndarray, time_s: float) -> np.ndarray:
        """Smoothed landmarks (n, 2) in pixels, the pupils first, from those seen at a time in seconds."""
        gone = time_s - self._time
        if self._points is None or gone <= 0 or gone > MAX_GAP:
            self._points, self._speed, self._time = np.array(points, dtype=np.float64), np.zeros(2), time_s
            return self._points.copy()
        size = max(1.0, float(np.hypot(*(points[1] - points[0]))))
        moved = (points - self._points).mean(0) / size / gone
        self._speed = self._speed + _share(self.SPEED_CUTOFF, gone) * (moved - self._speed)
        share = _share(self.CUTOFF + self.PER_SPEED * max(0.0, float(np.hypot(*self._speed)) - self.REST), gone)
        self._points = self._points + share * (points - self._points)
        self._time = time_s
        return self._points.copy()

    def state(self) -> dict[str, Any]:
        """Everything known so far, as plain JSON values."""
        points = None if self._points is None else self._points.tolist()
        return {"points": points, "speed": self._speed.tolist(), "time": self._time}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LandmarkSmoother:
        """A smoother that resumes from what `state` returned."""
        smoother = cls()
        smoother._points = None if state["points"] is None else np.array(state["points"])
        smoother._speed, smoother._time = np.array(state["speed"]), state["time"]
        return smoother


def _share(cutoff: float, gone: float) -> float:
    """Share of the new value in a first-order low-pass filter of `cutoff` Hz after `gone` seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * gone))


class ProbSmoother:
    """A causal exponential mean of each face's probabilities: it follows a step to 63 % within `seconds`.

    Args:
        seconds: Time constant, > 0.

    Raises:
        ValueError: `seconds` is not positive.

    >>> smoother = ProbSmoother(1.0)
    >>> smoother.update(0, np.array([0.0]), 0.0), smoother.update(0, np.array([1.0]), 1.0).round(3)
    (array([0.]), array([0.632]))
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"Expected `smooth` to be a positive number of seconds, but got {seconds}.")
        self.seconds = seconds
        self._faces: dict[int, tuple[float, np.ndarray]] = {}

    def update(self, track: int, probs: np.ndarray, time_s: float) -> np.ndarray:
        """Smoothed probabilities (N,) of a face at a time; a face that was away starts anew."""
        self._faces = {number: kept for number, kept in self._faces.items() if time_s - kept[0] <= MAX_GAP}
        if track in self._faces:
            before, old = self._faces[track]
            probs = old + (1 - math.exp(-(time_s - before) / self.seconds)) * (probs - old)
        self._faces[track] = (time_s, probs)
        return probs

    def state(self) -> dict[str, Any]:
        """Everything known so far, as plain JSON values."""
        return {str(number): [time, probs.tolist()] for number, (time, probs) in self._faces.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._faces = {int(number): (time, np.array(probs)) for number, (time, probs) in state.items()}

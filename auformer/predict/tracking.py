"""Who is who over time: faces of a recording get numbers that stay with them.

A face is taken for the one whose box, moved on at its last speed, it overlaps most. Faces that pass in front of each other keep their
numbers as long as they move on evenly; one that is away for longer than `max_gap`, or comes back elsewhere, gets a new number: nothing
here recognises people. Two that swap places while both are hidden are confused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from auformer.faces import Face

MIN_OVERLAP = 0.2  # intersection over union with the expected box from which on a face is the same one [ours]
MAX_GAP = 1.0  # seconds that a face may be away for [ours]
_INERTIA = 0.5  # of the old speed kept at each sighting [ours]

Box = tuple[float, float, float, float]


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


class Tracker:
    """Gives the faces of frame after frame their numbers.

    Args:
        min_overlap: intersection over union, in (0, 1], from which on a face is taken for one seen before.
        max_gap: seconds after which a face that was not seen is forgotten.
    """

    def __init__(self, *, min_overlap: float = MIN_OVERLAP, max_gap: float = MAX_GAP) -> None:
        self.min_overlap = min_overlap
        self.max_gap = max_gap
        self._tracks: dict[int, dict[str, Any]] = {}
        self._next = 0

    def update(self, faces: Sequence[Face], time_s: float) -> list[int]:
        """Numbers of the faces of one frame, in their order; a new face gets the next number, from 0 on.

        Args:
            faces: the faces; large before small where two are new.
            time_s: time of the frame in seconds, later than all before.
        """
        self._tracks = {number: track for number, track in self._tracks.items() if time_s - track["time"] <= self.max_gap}
        pairs = sorted(
            (
                (-overlap(self._expected(track, time_s), face.box), number, place)
                for number, track in self._tracks.items()
                for place, face in enumerate(faces)
            )
        )
        numbers: dict[int, int] = {}
        for negative, number, place in pairs:
            if -negative >= self.min_overlap and place not in numbers and number not in numbers.values():
                numbers[place] = number
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
        """What is known so far, as plain JSON values."""
        tracks = [{"number": number, **track} for number, track in self._tracks.items()]
        return {"next": self._next, "tracks": tracks}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._next = state["next"]
        self._tracks = {track["number"]: {key: track[key] for key in ("box", "speed", "time")} for track in state["tracks"]}

    def _expected(self, track: dict[str, Any], time_s: float) -> list[float]:
        """Where a face should be by now: its last box, moved on at its last speed."""
        (x, y, w, h), (across, down) = track["box"], track["speed"]
        gone = time_s - track["time"]
        return [x + across * gone, y + down * gone, w, h]

    def _see(self, number: int, box: Box, time_s: float) -> None:
        """Note where a face is now, and its speed in pixels per second."""
        before, speed = self._tracks.get(number), [0.0, 0.0]
        if before is not None and time_s > before["time"]:
            gone = time_s - before["time"]
            moved = [(box[axis] + box[axis + 2] / 2 - before["box"][axis] - before["box"][axis + 2] / 2) / gone for axis in (0, 1)]
            speed = [_INERTIA * old + (1 - _INERTIA) * new for old, new in zip(before["speed"], moved, strict=True)]
        self._tracks[number] = {"box": [float(value) for value in box], "speed": speed, "time": time_s}


class PointSmoother:
    """Takes the jitter out of the points of one face: the 1-euro filter (Casiez, Roussel and Vogel, CHI 2012).

    A low-pass filter whose cut-off rises with the speed of the face, so that a face at rest does not tremble and one that moves is not
    left behind. Speeds are in inter-pupil distances (IPD), so faces of every size are treated alike; all points share one cut-off.
    """

    CUTOFF = 1.5  # Hz, of a face at rest [ours]
    REST = 0.25  # IPD per second up to which a face counts as at rest: what the default detector trembles by [ours]
    PER_SPEED = 6.0  # Hz more for each IPD per second [ours]
    SPEED_CUTOFF = 1.0  # Hz, of the speed itself (as in the paper)

    def __init__(self) -> None:
        self._points: np.ndarray | None = None
        self._speed = np.zeros(2)
        self._time = 0.0

    def update(self, points: np.ndarray, time_s: float) -> np.ndarray:
        """Points (n, 2) in pixels, the pupils first, as seen at a time in seconds, to smoothed ones."""
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
        """What is known so far, as plain JSON values."""
        points = None if self._points is None else self._points.tolist()
        return {"points": points, "speed": self._speed.tolist(), "time": self._time}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PointSmoother:
        """A smoother that goes on from what `state` gave."""
        smoother = cls()
        smoother._points = None if state["points"] is None else np.array(state["points"])
        smoother._speed, smoother._time = np.array(state["speed"]), state["time"]
        return smoother


def _share(cutoff: float, gone: float) -> float:
    """Share of the new value in a first-order low-pass filter of `cutoff` Hz after `gone` seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * gone))

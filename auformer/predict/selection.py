"""Which frames of a recording are predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDED = 0.002  # seconds by which time stamps may be rounded (containers often keep milliseconds) [ours]


@dataclass(frozen=True)
class Selection:
    """Every N-th frame, or so many a second, between two times.

    Args:
        every: take each `every`-th frame of those between the times, from the first on.
        fps: take about so many frames a second by their time stamps instead; a recording with fewer is taken whole.
        start: seconds from the beginning of the recording; earlier frames are passed over.
        end: seconds; from this time on the recording is not read.

    Raises:
        ValueError: a value is out of range, or both `every` and `fps` are given.
    """

    every: int = 1
    fps: float | None = None
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.every < 1:
            raise ValueError(f"Expected `every` to be at least 1, but got {self.every}.")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"Expected `fps` to be a positive number, but got {self.fps}.")
        if self.fps is not None and self.every != 1:
            raise ValueError("Expected one of `every` and `fps`, but got both.")
        if not self.start >= 0 or (self.end is not None and not self.end > self.start):
            raise ValueError(f"Expected 0 <= `start` < `end` in seconds, but got {self.start} and {self.end}.")

    @property
    def needs_times(self) -> bool:
        """Whether the choice rests on time stamps."""
        return self.fps is not None or self.start > 0 or self.end is not None


class Picker:
    """Makes the choice for one recording, frame after frame.

    Args:
        selection: what to take.

    Attributes:
        taken: how many frames were taken so far.
        ended: True from the first frame at or after the selection's end.

    >>> picker = Picker(Selection(fps=10))
    >>> [picker.takes(index / 30) for index in range(7)]
    [True, False, False, True, False, False, True]
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.taken = 0
        self.ended = False
        self._seen = 0
        self._due = 0  # number of the next tick of `fps`

    def takes(self, time_s: float | None) -> bool:
        """Whether the next frame is taken.

        Args:
            time_s: its time in seconds from the beginning; None where the recording has no time stamps.

        Raises:
            ValueError: the selection needs times, and there are none.
        """
        choice = self.selection
        if time_s is None and choice.needs_times:
            raise ValueError("Expected a recording with time stamps for `fps`, `start` and `end`, but an image sequence has none.")
        if time_s is not None and choice.end is not None and time_s >= choice.end:
            self.ended = True
        if self.ended or (time_s is not None and time_s < choice.start):
            return False
        if choice.fps is not None and time_s is not None:
            ticks = int((time_s - choice.start + _ROUNDED) * choice.fps)
            taken = ticks >= self._due
            self._due = ticks + 1 if taken else self._due
        else:
            taken = self._seen % choice.every == 0
        self._seen += 1
        self.taken += taken
        return taken

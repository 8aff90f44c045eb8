"""What prediction takes and gives: a selection of frames, a frame, a face, an image, the end of a source."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auformer.faces import Face
from auformer.predict.sources import Source

NOMINAL_FPS = 25.0  # of image sequences, for tracking only; no time stamps are made from it [ours]
_ROUNDED = 0.002  # seconds by which time stamps may be rounded (containers often keep milliseconds) [ours]


@dataclass(frozen=True)
class Selection:
    """Every N-th frame, or so many a second, between two times.

    Args:
        every: Take each `every`-th frame of those between the times, from the first on.
        fps: Take about so many frames a second by their time stamps instead; a video with fewer is taken whole. Of
            numbered images, which have none, all are taken and have this rate.
        start: Seconds from the beginning of the video; earlier frames are skipped.
        end: Seconds; from this time on the video is not read.

    Raises:
        ValueError: A value is out of range, or both `every` and `fps` are given.
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


class Picker:
    """Makes the choice for one video, frame after frame.

    Attributes:
        taken: How many frames were taken so far.
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
            time_s: Its time in seconds from the beginning; None where there are no time stamps.

        Raises:
            ValueError: The selection needs times, and there are none.
        """
        choice = self.selection
        if time_s is None:
            if choice.fps is not None or choice.start > 0 or choice.end is not None:
                raise ValueError(
                    "Expected time stamps for `start` and `end`, but numbered images have none; give their "
                    "rate with `fps`."
                )
        else:
            self.ended = self.ended or (choice.end is not None and time_s >= choice.end)
            if self.ended or time_s < choice.start:
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


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video, or an image on its own.

    Args:
        index: 0-based place in the video, or the image's own number in an image sequence; 0 for a photo.
        ordinal: 0-based place among the frames that are predicted.
        time_s: Seconds from the beginning; None where there are no time stamps.
        image: (H, W, 3) uint8 RGB; None where one image of a sequence cannot be read.
        message: Why it cannot.
        reduced: By which factor the image is smaller than the source's; above 1 of photos alone.
    """

    index: int
    ordinal: int
    time_s: float | None
    image: np.ndarray | None
    message: str = ""
    reduced: int = 1

    @property
    def time(self) -> float:
        """Seconds for tracking: the time stamp, else a nominal one."""
        return self.ordinal / NOMINAL_FPS if self.time_s is None else self.time_s


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """One face and its action units.

    Args:
        face: Box, score and landmarks in the image.
        crop: (H, W, 3) uint8 RGB, the aligned face as the network saw it.
        probs: (N,) float64 in [0, 1], the probability that each AU occurs, in the network's order.
        track: Number of the face: over time in a video, by size (0 is the largest) in a photo.
        intensity: (N,) float64 in [0, 5], nan for an AU whose intensity the network has not learned; None for a network
            without an intensity head.
        quality: What makes the values less sure: `small`, `cut`, `covered`; the face's score is halved for each.
    """

    face: Face
    crop: np.ndarray
    probs: np.ndarray
    track: int = 0
    intensity: np.ndarray | None = None
    quality: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """One image, a photo or a frame of a video, and its faces.

    Args:
        source: What it belongs to.
        status: `ok`, `no_face` or `unreadable`.
        message: What went wrong; empty if nothing did.
        faces: The faces, by track; empty unless `status` is `ok`.
        frame: 0-based place in the video, 0 for a photo.
        time_s: Seconds from the beginning; None where there are no time stamps.
        size: Height and width in pixels; None where the image cannot be read.
        image: (H, W, 3) uint8 RGB where it was asked for.
        state: From time to time, what a run resumes from after this image (plain JSON values).
    """

    source: Source
    status: str = "ok"
    message: str = ""
    faces: list[FacePrediction] = field(default_factory=list)
    frame: int = 0
    time_s: float | None = None
    size: tuple[int, int] | None = None
    image: np.ndarray | None = None
    state: dict[str, Any] | None = None

    @property
    def file(self) -> str:
        """The path as it was given."""
        return self.source.file

    @property
    def name(self) -> str:
        """The path relative to the folder that all sources share."""
        return self.source.name


@dataclass(frozen=True)
class SourceEnd:
    """The end of a source: all of it is read, or as much as can be.

    Args:
        source: Which.
        message: Why it ends too early; empty if it does not.
    """

    source: Source
    message: str = ""

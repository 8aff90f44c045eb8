"""What prediction is told and what it gives: a selection of frames, a frame, a face, an image, the end of a source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from auformer.aus import canonical
from auformer.faces import Face
from auformer.predict.sources import Source


def parse_time(text: str) -> float:
    """Seconds, from seconds or `[H:]M:S`.

    Raises:
        ValueError: it is neither.

    >>> parse_time("1:30"), parse_time("2.5"), parse_time("1:00:00")
    (90.0, 2.5, 3600.0)
    """
    parts = text.split(":")
    try:
        if len(parts) > 3:
            raise ValueError
        return float(sum(float(part) * 60**power for power, part in enumerate(reversed(parts))))
    except ValueError:
        raise ValueError(f"Expected `--start` and `--end` to be seconds or [H:]M:S, but got {text!r}.") from None


def parse_faces(text: str) -> int | None:
    """How many of the largest faces: None for `all`, 1 for `largest`, or a number from 1 on.

    Raises:
        ValueError: it is none of them.

    >>> parse_faces("all"), parse_faces("largest"), parse_faces("3")
    (None, 1, 3)
    """
    if text in ("all", "largest"):
        return None if text == "all" else 1
    if not text.isdecimal() or not int(text):
        raise ValueError(f"Expected `--faces` to be all, largest or a number from 1 on, but got {text!r}.")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """`I/N` with 1 <= I <= N.

    Raises:
        ValueError: it is not.

    >>> parse_shard("2/8")
    (2, 8)
    """
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise ValueError(f"Expected `--shard` to be I/N with I from 1 to N, but got {text!r}.")
    return int(first), int(count)


def read_thresholds(text: str, au_names: Sequence[str]) -> dict[str, float]:
    """Thresholds from a number or a YAML or JSON file.

    Args:
        text: a number in [0, 1], or a path to `AU12: 0.4` and so on; AUs that it does not name keep the checkpoint's.
        au_names: AUs of the checkpoint.

    Returns:
        Threshold per AU.

    Raises:
        ValueError: it is neither, or names an AU that the checkpoint does not have.

    >>> read_thresholds("0.4", ["AU1", "AU2"])
    {'AU1': 0.4, 'AU2': 0.4}
    """
    try:
        return dict.fromkeys(au_names, float(text))
    except ValueError:
        pass
    path = Path(text)
    if not path.is_file():
        raise ValueError(
            f"Expected `--threshold` to be a number in [0, 1] or a file, but got {text!r}, and there is no such file."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        found = {canonical(au): float(value) for au, value in content.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {path} to hold a line such as `AU12: 0.4` per action unit, but it does not ({error})."
        ) from error
    return found


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
            raise ValueError(
                "Expected a recording with time stamps for `fps`, `start` and `end`, but an image sequence has none."
            )
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


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a recording, or a photo.

    Args:
        index: 0-based place in the recording, or the picture's own number in an image sequence; 0 for a photo.
        ordinal: 0-based place among the frames that are predicted.
        time_s: seconds from the beginning; None where there are no time stamps.
        image: (H, W, 3) uint8 RGB; None where one picture of an image sequence cannot be read.
        message: why it cannot.
    """

    index: int
    ordinal: int
    time_s: float | None
    image: np.ndarray | None
    message: str = ""


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """One face and its action units.

    Args:
        face: box, score and points in the picture.
        crop: (H, W, 3) uint8 RGB, the aligned face as the network saw it.
        probs: (N,) float64 in [0, 1], the probability that each AU occurs, in the network's order.
        identity: number of the face: over time in a recording, by size (0 is the largest) in a photo.
    """

    face: Face
    crop: np.ndarray
    probs: np.ndarray
    identity: int = 0


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """One picture, a photo or a frame of a recording, and its faces.

    Args:
        source: what it belongs to.
        status: `ok`, `no_face` or `unreadable`.
        message: what went wrong; empty if nothing did.
        faces: the faces, by identity; empty unless `status` is `ok`.
        frame: 0-based place in the recording, 0 for a photo.
        time_s: seconds from the beginning; None where there are no time stamps.
        size: height and width in pixels; None where the picture cannot be read.
        image: (H, W, 3) uint8 RGB where it was asked for.
        state: from time to time, with what a run goes on after this picture (plain JSON values).
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
    """A source is read to its end, or as far as it can be.

    Args:
        source: which.
        message: why it ends too early; empty if it does not.
    """

    source: Source
    message: str = ""

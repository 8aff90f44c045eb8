"""What the writers of annotation files have in common: what they are given and what they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from auformer.annotations.media import Media
from auformer.annotations.videos import Video

#: Writes one file at a path and returns a note about it, empty where there is nothing to say.
Writer = Callable[[Path], str]


class Item(NamedTuple):
    """A video with at least one person, and its file."""

    video: Video
    media: Media


@dataclass(frozen=True)
class Job:
    """What to write.

    Args:
        items: The videos.
        out: The folder; links are relative to it.
        offset_s: Seconds that are added to every time: where the video begins on the time line of another recording.
        date: Of the predictions, as `2026-11-29T16:00:00+00:00`.
        note: Where the annotations come from, a sentence or two.
        continuous: BIDS: probabilities and intensities per frame in place of events.
        text: MNE: its text form in place of FIF.
    """

    items: tuple[Item, ...]
    out: Path
    offset_s: float
    date: str
    note: str
    continuous: bool = False
    text: bool = False

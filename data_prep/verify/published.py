"""Counts that others have published of these data sets: frames and positives per part, total frames or clips, with their sources."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from auformer.data.splits import dataset_id


@dataclass(frozen=True)
class Part:
    """Counts of one published part.

    Args:
        frames: coded frames.
        positives: AU -> frames in which it is active.
    """

    frames: int
    positives: dict[str, int]


@dataclass(frozen=True)
class Total:
    """How many frames or clips one source has.

    Args:
        source: who counts.
        about: what is counted, or why there are fewer than elsewhere.
        frames: number of frames; None where clips are counted.
        clips: number of clips; None where frames are counted.
    """

    source: str
    about: str
    frames: int | None = None
    clips: int | None = None


@dataclass(frozen=True)
class Published:
    """What is published about one data set.

    Args:
        title: name in print.
        parts: name of the part -> counts; empty where no counts per part are published.
        parts_source: where those are from.
        totals: of all sources.
        frame_range: lowest and highest frame number; None where unknown.
        threshold: lowest intensity that counts as active; None where occurrence is coded.
        frames_per_subject: of every subject but those in `frames_per_subject_except`; None where they differ.
        frames_per_subject_except: subject -> frames.
        kept: subject -> frames in the lists of `kept_source`, where those have far fewer.
        kept_source: whose lists these are.
    """

    title: str
    parts: dict[str, Part] = field(default_factory=dict)
    parts_source: str = ""
    totals: tuple[Total, ...] = ()
    frame_range: tuple[int, int] | None = None
    threshold: int | None = None
    frames_per_subject: int | None = None
    frames_per_subject_except: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    kept_source: str = ""

    def expected_frames(self, subject: str) -> int | None:
        """Frames of one subject, where that is published."""
        return self.frames_per_subject_except.get(subject, self.frames_per_subject)


@cache
def _table() -> dict[str, Any]:
    """The file of counts."""
    return json.loads(
        (Path(__file__).resolve().parents[1] / "assets" / "published_counts.json").read_text(encoding="utf-8")
    )


def published(name: str) -> Published | None:
    """What is published about a data set; None where nothing is.

    Args:
        name: the data set, in any spelling.

    >>> published("BP4D").parts["P1"].positives["AU12"], published("my photos")
    (28277, None)
    """
    entry = _table().get(dataset_id(name))
    if entry is None:
        return None
    bounds = entry.get("frame_range")
    return Published(
        title=entry["title"],
        parts={name: Part(part["frames"], part["positives"]) for name, part in entry.get("parts", {}).items()},
        parts_source=entry.get("parts_source", ""),
        totals=tuple(Total(**total) for total in entry["totals"]),
        frame_range=(bounds[0], bounds[1]) if bounds else None,
        threshold=entry.get("threshold"),
        frames_per_subject=entry.get("frames_per_subject"),
        frames_per_subject_except=entry.get("frames_per_subject_except", {}),
        kept=entry.get("kept", {}).get("frames", {}),
        kept_source=entry.get("kept", {}).get("source", ""),
    )


def frames_kept(name: str) -> dict[str, int]:
    """Subject -> frames that a well-known list has of it, for the subjects of which it lacks many."""
    found = published(name)
    return found.kept if found is not None else {}

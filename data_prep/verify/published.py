"""Counts that others have published, per fold or in total, and a manifest beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns
from auformer.data.splits import PUBLISHED_FOLDS, dataset_id


@dataclass(frozen=True)
class Fold:
    """Coded frames of one published fold, and AU -> frames in which it is active."""

    frames: int
    positives: dict[str, int]


@dataclass(frozen=True)
class Total:
    """How many frames, or clips, one source has, and what is counted, or why there are fewer than elsewhere."""

    source: str
    about: str
    frames: int | None = None
    clips: int | None = None


@dataclass(frozen=True)
class Published:
    """What is published about one data set.

    Args:
        title: Name in print.
        folds: Name of the fold -> counts; empty where no counts per fold are published.
        folds_source: Where those are from.
        totals: Of all sources.
        frame_range: Lowest and highest frame number; None where unknown.
        threshold: Lowest intensity that counts as active; None where occurrence is coded.
        frames_per_subject: Of every subject but those in `frames_per_subject_except`; None where they differ.
        frames_per_subject_except: Subject -> frames.
        kept: Subject -> frames in the lists of `kept_source`, where those have far fewer.
        kept_source: Whose lists these are.
    """

    title: str
    folds: dict[str, Fold] = field(default_factory=dict)
    folds_source: str = ""
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
    path = Path(__file__).resolve().parents[1] / "assets" / "published_counts.json"
    return json.loads(path.read_text(encoding="utf-8"))


def published(name: str) -> Published | None:
    """What is published about a data set, in any spelling; None where nothing is.

    >>> published("BP4D").folds["P1"].positives["AU12"], published("my photos")
    (28277, None)
    """
    entry = _table().get(dataset_id(name))
    if entry is None:
        return None
    bounds = entry.get("frame_range")
    return Published(
        title=entry["title"],
        folds={name: Fold(fold["frames"], fold["positives"]) for name, fold in entry.get("parts", {}).items()},
        folds_source=entry.get("parts_source", ""),
        totals=tuple(Total(**total) for total in entry["totals"]),
        frame_range=(bounds[0], bounds[1]) if bounds else None,
        threshold=entry.get("threshold"),
        frames_per_subject=entry.get("frames_per_subject"),
        frames_per_subject_except=entry.get("frames_per_subject_except", {}),
        kept=entry.get("kept", {}).get("frames", {}),
        kept_source=entry.get("kept", {}).get("source", ""),
    )


@dataclass(frozen=True)
class FoldCounts:
    """One fold, here and published: subjects there and expected, annotated frames, and AU -> active frames."""

    name: str
    subjects: int
    expected: int
    frames: int
    positives: dict[str, int]
    published_frames: int
    published_positives: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether all of its subjects are there, so that it can be compared."""
        return self.subjects == self.expected


@dataclass(frozen=True)
class Comparison:
    """One data set of a manifest beside what is published about it.

    Args:
        dataset: As the manifest calls it.
        published: What is published.
        rows: One row per frame, those of the data set.
        frames: Annotated frames.
        clips: Clips, or sequences where there are no clips.
        by: `subject`, or `fold` where the manifest's subjects are not those of the release.
        folds: As many as are published.
        strangers: Subjects that no published fold has.
    """

    dataset: str
    published: Published
    rows: pd.DataFrame
    frames: int
    clips: int
    by: str
    folds: list[FoldCounts]
    strangers: list[str]

    @property
    def name(self) -> str:
        """The data set's plain name, as of `dataset_id`."""
        return dataset_id(self.dataset)

    @property
    def au_names(self) -> list[str]:
        """Action units that can be compared."""
        return list(self.folds[0].positives) if self.folds else []

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the complete folds: frames (P,) here and published, positives (P, N) here and published, as int64."""
        folds, names = [fold for fold in self.folds if fold.complete], self.au_names
        shape = (len(folds), len(names))
        here = [[fold.positives[au] for au in names] for fold in folds]
        there = [[fold.published_positives[au] for au in names] for fold in folds]
        return (
            np.array([fold.frames for fold in folds], dtype=np.int64),
            np.array([fold.published_frames for fold in folds], dtype=np.int64),
            np.array(here, dtype=np.int64).reshape(shape),
            np.array(there, dtype=np.int64).reshape(shape),
        )


def compare(rows: pd.DataFrame, dataset: str) -> Comparison | None:
    """Compare the rows of one data set with what is published about it; None where nothing is.

    A frame counts where at least one AU is annotated, whether or not its image is usable: the published lists count
    labels.
    """
    known = published(dataset)
    if known is None:
        return None
    if rows["face"].any():  # further faces of a frame are no further frames
        rows = rows.drop_duplicates(["subject", "sequence", "frame"])
    listed = list(next(iter(known.folds.values())).positives) if known.folds else []
    names = [au for au in listed if au in rows.columns]
    frames = (rows[names or au_columns(rows)] >= 0).any(axis=1).to_numpy(bool)
    key = ["subject", "sequence"] + (["clip"] if "clip" in rows.columns and rows["clip"].notna().any() else [])
    clips = len(rows[key].dropna().drop_duplicates())
    subjects = set(rows["subject"].unique())
    everywhere = PUBLISHED_FOLDS.get(dataset_id(dataset), {})
    members = {name: set(people) for name, people in everywhere.items() if name in known.folds}
    everyone = set().union(*members.values())
    by_fold = bool(members) and not subjects & everyone and "fold" in rows.columns
    folds = []
    for name, people in members.items():
        inside = ((rows["fold"] == name).fillna(False) if by_fold else rows["subject"].isin(people)).to_numpy(bool)
        fold = known.folds[name]
        folds.append(
            FoldCounts(
                name=name,
                subjects=(len(people) if inside.any() else 0) if by_fold else len(subjects & people),
                expected=len(people),
                frames=int((inside & frames).sum()),
                positives={au: int((inside & (rows[au] == 1)).sum()) for au in names},
                published_frames=fold.frames,
                published_positives={au: fold.positives[au] for au in names},
            )
        )
    strangers = sorted(subjects - everyone) if members else []
    by = "fold" if by_fold else "subject"
    return Comparison(dataset, known, rows, int(frames.sum()), clips, by, folds, strangers)

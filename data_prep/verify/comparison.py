"""A manifest's rows beside the published counts of their data set, part by part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns
from auformer.data.splits import PUBLISHED_PARTS, dataset_id

from .published import Published, published


@dataclass(frozen=True)
class PartCounts:
    """One part, here and as published.

    Args:
        name: of the part.
        subjects: how many of its subjects are there.
        expected: how many it has.
        frames: annotated frames that are there.
        positives: AU -> frames in which it is active, of the AUs that both have.
        published_frames: of the whole part.
        published_positives: of the whole part.
    """

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
        dataset: as the manifest calls it.
        published: what is published.
        rows: one row per frame, those of the data set.
        frames: annotated frames.
        clips: clips, or sequences where there are no clips.
        by: `subject`, or `fold` where the manifest's subjects are not those of the release.
        parts: as many as are published.
        strangers: subjects that no published part has.
    """

    dataset: str
    published: Published
    rows: pd.DataFrame
    frames: int
    clips: int
    by: str = "subject"
    parts: list[PartCounts] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The data set's plain name, as of `dataset_id`."""
        return dataset_id(self.dataset)

    @property
    def au_names(self) -> list[str]:
        """Action units that can be compared."""
        return list(self.parts[0].positives) if self.parts else []

    @property
    def whole(self) -> bool:
        """Whether every subject of the release is there."""
        return bool(self.parts) and all(part.complete for part in self.parts)

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Counts of the complete parts: frames (P,) here and published, positives (P, N) here and published, as int64."""
        parts = [part for part in self.parts if part.complete]
        names = self.au_names
        return (
            np.array([part.frames for part in parts], dtype=np.int64),
            np.array([part.published_frames for part in parts], dtype=np.int64),
            np.array([[part.positives[au] for au in names] for part in parts], dtype=np.int64).reshape(len(parts), len(names)),
            np.array([[part.published_positives[au] for au in names] for part in parts], dtype=np.int64).reshape(len(parts), len(names)),
        )


def compare(rows: pd.DataFrame, dataset: str) -> Comparison | None:
    """Compare the rows of one data set with what is published about it.

    A frame counts where at least one AU is annotated, be its picture usable or not: the published lists count labels.

    Args:
        rows: Rows of a manifest as `read_manifest` gives them, all of one data set.
        dataset: Its name.

    Returns:
        The comparison; None where nothing is published about the data set.
    """
    known = published(dataset)
    if known is None:
        return None
    if rows["face"].any():  # further faces of a frame are no further frames
        rows = rows.drop_duplicates(["subject", "sequence", "frame"])
    listed = list(next(iter(known.parts.values())).positives) if known.parts else []
    names = [au for au in listed if au in rows.columns]
    frames = _annotated(rows, names or au_columns(rows))
    key = ["subject", "sequence"] + (["clip"] if "clip" in rows.columns and rows["clip"].notna().any() else [])
    clips = len(rows[key].dropna().drop_duplicates())
    subjects = set(rows["subject"].unique())
    members = {name: set(people) for name, people in PUBLISHED_PARTS.get(dataset_id(dataset), {}).items() if name in known.parts}
    everyone = set().union(*members.values()) if members else set()
    by_fold = bool(members) and not subjects & everyone and "fold" in rows.columns
    result = Comparison(dataset, known, rows, int(frames.sum()), clips, "fold" if by_fold else "subject")
    result.strangers.extend(sorted(subjects - everyone) if members else [])
    for name, people in members.items():
        inside = ((rows["fold"] == name).fillna(False) if by_fold else rows["subject"].isin(people)).to_numpy(bool)
        there = (len(people) if inside.any() else 0) if by_fold else len(subjects & people)
        positives = {au: int((inside & (rows[au] == 1)).sum()) for au in names}
        part = known.parts[name]
        theirs = {au: part.positives[au] for au in names}
        result.parts.append(PartCounts(name, there, len(people), int((inside & frames).sum()), positives, part.frames, theirs))
    return result


def _annotated(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Which rows have a label of at least one AU, (rows,) bool."""
    annotated = np.zeros(len(rows), bool)
    for name in names:
        annotated |= (rows[name] >= 0).to_numpy(bool)
    return annotated

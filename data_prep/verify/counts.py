"""A manifest's counts beside the published ones, and the likely reason of each difference.

The likely reason why counts differ from the published ones: frames left out or added, codes read as labels, permuted files, thresholds.

All of it works on frames and positives per part, for a manifest need not say how it was made. Tolerances are ours [ours]: they only matter
where frames are missing besides; with equal frames every comparison is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns
from auformer.data.splits import PUBLISHED_PARTS, dataset_id

from .problem import Problem, named
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
            np.array([[part.positives[au] for au in names] for part in parts], dtype=np.int64).reshape(
                len(parts), len(names)
            ),
            np.array([[part.published_positives[au] for au in names] for part in parts], dtype=np.int64).reshape(
                len(parts), len(names)
            ),
        )


def compare(rows: pd.DataFrame, dataset: str) -> Comparison | None:
    """Compare the rows of one data set with what is published about it.

    A frame counts where at least one AU is annotated, be its image usable or not: the published lists count labels.

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
    members = {
        name: set(people)
        for name, people in PUBLISHED_PARTS.get(dataset_id(dataset), {}).items()
        if name in known.parts
    }
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
        result.parts.append(
            PartCounts(name, there, len(people), int((inside & frames).sum()), positives, part.frames, theirs)
        )
    return result


def _annotated(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Which rows have a label of at least one AU, (rows,) bool."""
    annotated = np.zeros(len(rows), bool)
    for name in names:
        annotated |= (rows[name] >= 0).to_numpy(bool)
    return annotated


_SAME = 0.03  # two rates of one AU in one part that differ by less, relatively, may be of the same file [ours]
_APART = 0.10  # and those of two AUs that differ by more are not [ours]
_MOST = 0.8  # share of AUs that have to move in one direction before a threshold is blamed [ours]


def count_faults(found: Comparison, explained: set[str]) -> list[Problem]:
    """Differences of the complete parts, each with its likely reason.

    Args:
        found: The comparison.
        explained: AUs whose differences have an explanation already.

    Returns:
        None where every complete part has the published counts.
    """
    frames, published_frames, positives, published = found.tables()
    if not len(frames) or (np.array_equal(frames, published_frames) and np.array_equal(positives, published)):
        return []
    swapped = _swapped(found) if found.by == "fold" else None
    if swapped is not None:
        return [swapped]
    surplus, difference = frames - published_frames, positives - published
    problems = []
    if (surplus < 0).any():
        problems.append(_fewer(found, surplus))
    if (surplus > 0).any():
        problems.append(_more(found, surplus, difference))
    low, high = np.minimum(surplus, 0)[:, None], np.maximum(surplus, 0)[:, None]
    within = ((difference >= low) & (difference <= high)).all(axis=0)  # what the frames explain
    left = [i for i, au in enumerate(found.au_names) if not within[i] and au not in explained]
    permuted = _permuted(found, left)
    problems += [_permutation(found, permuted)] if permuted else []
    left = [i for i in left if i not in permuted]
    threshold = _threshold(found, left) if left else None
    if threshold is not None:
        problems.append(threshold)
    elif left:
        shown = [f"{found.au_names[i]} {difference[:, i].sum():+,}" for i in left]
        text = f"positives differ from the published ones without a reason that could be found: {named(shown, 12)}"
        problems.append(Problem("unexplained", found.dataset, text))
    return problems


def _swapped(found: Comparison) -> Problem | None:
    """Folds whose counts are those of other parts."""
    counts = {part.name: (part.frames, part.positives) for part in found.parts}
    published = {part.name: (part.published_frames, part.published_positives) for part in found.parts}
    same = {name: [other for other, values in published.items() if values == mine] for name, mine in counts.items()}
    if not all(same.values()):
        return None
    text = ", ".join(
        f"fold {name} has the counts of the published part {parts[0]}"
        for name, parts in same.items()
        if name not in parts
    )
    return Problem(
        "fold_naming", found.dataset, f"{text}: fold naming; ME-GraphAU counts folds backwards from the last part"
    )


def _fewer(found: Comparison, surplus: np.ndarray) -> Problem:
    """Frames left out: whose lists have as many?"""
    per_subject = found.rows.groupby("subject").size()
    short = {
        str(subject): (int(count), expected)
        for subject, count in per_subject.items()
        if (expected := found.published.expected_frames(str(subject))) is not None and count < expected
    }
    lost = f"{-int(surplus.sum()):,} frames fewer than published"
    kept = found.published.kept
    matching = [subject for subject, count in kept.items() if short.get(subject, (0, 0))[0] == count]
    source = next((total for total in found.published.totals if total.frames == found.frames), None)
    if matching and len(matching) == len([subject for subject in kept if subject in per_subject.index]):
        shown = ", ".join(f"{subject} has {short[subject][0]:,} of {short[subject][1]:,}" for subject in matching)
        total = (
            f", and {found.frames:,} frames in all are its total"
            if source and source.source == found.published.kept_source
            else ""
        )
        text = f"{lost}; {shown}: the frames that {found.published.kept_source} kept{total}. Other work scores the dropped frames too"
        return Problem("jaanet_frames", found.dataset, text)
    if source is not None:
        text = f"{lost}; {found.frames:,} in all is the total of {source.source} ({source.about}): dropped frames"
        return Problem("dropped_frames", found.dataset, text)
    who = named([f"{subject} has {count:,} of {expected:,}" for subject, (count, expected) in sorted(short.items())])
    text = f"{lost}{f' ({who})' if who else ''}: dropped frames, as where no face was found; keep them as rows with a status"
    return Problem("dropped_frames", found.dataset, text)


def _more(found: Comparison, surplus: np.ndarray, difference: np.ndarray) -> Problem:
    """Frames too many: codes for unknown that were read as labels, or frames twice."""
    extra, parts = int(surplus[surplus > 0].sum()), surplus > 0
    active = difference[parts].sum() / (extra * max(1, difference.shape[1]))
    where = f"{extra:,} frames more than published"
    if found.name == "bp4d" and abs(active) < 0.01:
        text = (
            f"{where}, and no AU is active in them: code 9 (unknown) read as 0; frames that are not coded should be -1"
        )
        return Problem("unknown_as_negative", found.dataset, text)
    if found.name == "bp4d" and active > 0.99:
        text = f"{where}, and every AU is active in them: code 9 (unknown) read as 1; frames that are not coded should be -1"
        return Problem("unknown_as_positive", found.dataset, text)
    times = found.frames / max(1, sum(part.published_frames for part in found.parts if part.complete))
    if times == int(times):
        return Problem(
            "extra_frames",
            found.dataset,
            f"{where}: every frame is there {int(times)} times, as where both cameras are in",
        )
    return Problem(
        "extra_frames", found.dataset, f"{where}: frames that the coders did not code, or frames that are there twice"
    )


def _rates(found: Comparison) -> tuple[np.ndarray, np.ndarray, bool]:
    """Active share of the frames (P, N) here and published, and whether the frames are equal so that the comparison is exact."""
    frames, published_frames, positives, published = found.tables()
    return (
        positives / np.maximum(frames, 1)[:, None],
        published / published_frames[:, None],
        np.array_equal(frames, published_frames),
    )


def _permuted(found: Comparison, left: list[int]) -> dict[int, int]:
    """AU -> AU whose published counts it has, for AUs that have been permuted among each other."""
    here, there, exact = _rates(found)
    apart = np.abs(here[:, :, None] - there[:, None, :]).max(axis=0)  # (N, N)
    relative = apart / np.maximum(there.max(axis=0)[None, :], 1e-9)
    taken: dict[int, int] = {}
    for i in left:
        best = int(np.argmin(relative[i]))
        if best != i and relative[i, best] <= (0.0 if exact else _SAME) and (exact or relative[i, i] > _APART):
            taken[i] = best
    return taken if exact or sorted(taken) == sorted(taken.values()) else {}


def _permutation(found: Comparison, permuted: dict[int, int]) -> Problem:
    """The message about permuted AUs."""
    names = found.au_names
    text = ", ".join(f"{names[i]} has the published counts of {names[other]}" for i, other in permuted.items())
    return Problem(
        "permuted_aus", found.dataset, f"{text}: label files or columns were permuted; take them by name, not by order"
    )


def _threshold(found: Comparison, left: list[int]) -> Problem | None:
    """All AUs with more positives, or all with fewer: the threshold, or codes read as labels."""
    here, there, exact = _rates(found)
    ratio = here / np.maximum(there, 1e-9)
    slack = 0.0 if exact else _SAME
    up = [i for i in left if (ratio[:, i] >= 1 - slack).all() and (ratio[:, i] > 1 + slack).any()]
    down = [i for i in left if (ratio[:, i] <= 1 + slack).all() and (ratio[:, i] < 1 - slack).any()]
    names = found.au_names
    for moved, direction in ((up, "more"), (down, "fewer")):
        if len(moved) < _MOST * len(names) or len(moved) < len(left):
            continue
        shown = named([f"{names[i]} {ratio[:, i].mean() - 1:+.0%}" for i in moved], 4)
        if found.published.threshold is not None:
            likely = "1 or more" if direction == "more" else "3 or more"
            text = f"{direction} positives in all parts ({shown}): threshold, intensity of {likely} counted as active in place of 2 or more"
            return Problem("threshold", found.dataset, text)
        if direction == "more":
            text = f"more positives in all parts ({shown}) with the same frames: codes other than 1, as 9 (unknown), read as 1"
            return Problem("unknown_as_positive", found.dataset, text)
    return None

"""The likely reason why a manifest differs from what is published: what counts, folds and single rows give away.

Counts work on frames and positives per fold, for a manifest need not say how it was made. Tolerances are ours [ours]:
they only matter where frames are missing besides; with equal frames every comparison is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns
from auformer.data.splits import FOLD_VIEWS, PUBLISHED_FOLDS, dataset_id, people

from .problem import Problem, named
from .published import Comparison

VIEW_TITLES = {"megraphau": "ME-GraphAU", "fgnet": "FG-Net"}

_SAME = 0.03  # two rates of one AU in one fold that differ by less, relatively, may be of the same file [ours]
_APART = 0.10  # and those of two AUs that differ by more are not [ours]
_MOST = 0.8  # share of AUs that have to move in one direction before a threshold is blamed [ours]
_ENOUGH = 5000  # rows without a single unknown label before that is suspicious [ours]
_BENCHMARK = 12  # AUs of BP4D that papers report; in coded frames none of their labels is unknown
_SHARE = 0.99  # of the rows whose image's number is one off before that is a pattern [ours]


def people_in_two_folds(rows: pd.DataFrame) -> Iterator[Problem]:
    """People whose rows, of any data sets, are in more than one fold."""
    if "fold" not in rows.columns:
        return
    distinct = rows.loc[rows["fold"].notna(), ["dataset", "subject", "fold"]].drop_duplicates()
    folds: dict[tuple[str, str], set[str]] = {}
    for who, fold in zip(people(distinct), distinct["fold"], strict=True):
        folds.setdefault(who, set()).add(str(fold))
    several = [(who, names) for who, names in sorted(folds.items()) if len(names) > 1]
    both = [f"{subject} of {dataset} ({', '.join(sorted(names))})" for (dataset, subject), names in several]
    if both:
        text = f"people in more than one fold: {len(both):,} ({named(both)})"
        yield Problem(
            "person_in_two_folds", "fold", f"{text}; scores on people seen in training say nothing about others"
        )


def fold_naming(rows: pd.DataFrame, dataset: str) -> Iterator[Problem]:
    """Folds of a data set with published ones: which is each?"""
    published = PUBLISHED_FOLDS.get(dataset_id(dataset))
    if published is None or "fold" not in rows.columns:
        return
    everyone = {subject for members in published.values() for subject in members}
    distinct = rows.loc[rows["fold"].notna() & rows["subject"].isin(everyone), ["subject", "fold"]].drop_duplicates()
    if distinct.empty:
        return
    folds = {str(fold): set(members) for fold, members in distinct.groupby("fold")["subject"]}
    here = {name: set(members) & set(distinct["subject"]) for name, members in published.items()}
    same = {fold: [name for name, members in here.items() if mine == members] for fold, mine in folds.items()}
    if all(len(found) == 1 for found in same.values()):
        yield from _named({fold: found[0] for fold, found in same.items()}, list(published), dataset)
    elif set(folds) <= set(published):
        moved = sorted({subject for fold, members in folds.items() for subject in members - set(published[fold])})
        called = f"the folds are called {', '.join(sorted(folds))} as the published ones"
        yield Problem("other_partition", dataset, f"{called}, but {named(moved)} are in other ones")
    else:
        text = f"the folds {named(sorted(folds))} are another division than the published folds"
        yield Problem("other_partition", dataset, f"{text}, not comparable with others fold by fold", wrong=False)


def _named(mapping: dict[str, str], published: list[str], dataset: str) -> Iterator[Problem]:
    """Folds that are each exactly a published one: is the name that of the published one, or a number of some view?"""
    moved = {fold: name for fold, name in mapping.items() if fold != name}
    if not moved:
        return
    said = ", ".join(f"fold {fold} holds the subjects of {name}" for fold, name in sorted(moved.items()))
    if set(mapping) <= set(published):
        why = f"fold naming; the folds of ME-GraphAU and MDHR run backwards, their fold 1 tests {published[-1]}"
        yield Problem("fold_naming", dataset, f"{said}: {why}")
        return
    numbers = {match.group(1): name for fold, name in mapping.items() if (match := re.search(r"(\d+)$", fold))}
    why = "numbered neither as ME-GraphAU does nor as FG-Net does; name the folds where you report single folds"
    for view, datasets in FOLD_VIEWS.items():
        known = {str(number): name for number, name in datasets[dataset_id(dataset)].items()}
        if len(numbers) == len(mapping) and numbers.items() <= known.items():
            why = f"numbered as {VIEW_TITLES[view]} does"
            break
    yield Problem("fold_naming", dataset, f"{said}: {why}", wrong=False)


def count_faults(found: Comparison, explained: set[str]) -> list[Problem]:
    """Differences of the complete folds, each with its likely reason; `explained` AUs have one already."""
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
    names = found.au_names
    left = [i for i, au in enumerate(names) if not within[i] and au not in explained]
    permuted = _permuted(found, left)
    if permuted:
        text = ", ".join(f"{names[i]} has the published counts of {names[other]}" for i, other in permuted.items())
        why = "label files or columns were permuted; take them by name, not by order"
        problems.append(Problem("permuted_aus", found.dataset, f"{text}: {why}"))
    left = [i for i in left if i not in permuted]
    threshold = _moved_threshold(found, left) if left else None
    if threshold is not None:
        problems.append(threshold)
    elif left:
        shown = named([f"{names[i]} {difference[:, i].sum():+,}" for i in left], 12)
        text = f"positives differ from the published ones without a reason that could be found: {shown}"
        problems.append(Problem("unexplained", found.dataset, text))
    return problems


def _swapped(found: Comparison) -> Problem | None:
    counts = {fold.name: (fold.frames, fold.positives) for fold in found.folds}
    published = {fold.name: (fold.published_frames, fold.published_positives) for fold in found.folds}
    same = {name: [other for other, values in published.items() if values == mine] for name, mine in counts.items()}
    if not all(same.values()):
        return None
    moved = {name: others[0] for name, others in same.items() if name not in others}
    text = ", ".join(f"fold {name} has the counts of the published fold {other}" for name, other in moved.items())
    why = "fold naming; ME-GraphAU counts folds backwards from the last fold"
    return Problem("fold_naming", found.dataset, f"{text}: {why}")


def _fewer(found: Comparison, surplus: np.ndarray) -> Problem:
    """Frames left out: whose lists have as many?"""
    counts = {str(subject): int(count) for subject, count in found.rows.groupby("subject").size().items()}
    expected = {subject: found.published.expected_frames(subject) for subject in counts}
    short = {who: (count, all_) for who, count in counts.items() if (all_ := expected[who]) and count < all_}
    lost = f"{-int(surplus.sum()):,} frames fewer than published"
    kept, whose = found.published.kept, found.published.kept_source
    matching = [subject for subject, count in kept.items() if short.get(subject, (0, 0))[0] == count]
    source = next((total for total in found.published.totals if total.frames == found.frames), None)
    if matching and len(matching) == len(set(kept) & set(counts)):
        shown = ", ".join(f"{subject} has {short[subject][0]:,} of {short[subject][1]:,}" for subject in matching)
        is_total = source is not None and source.source == whose
        total = f", and {found.frames:,} frames in all are its total" if is_total else ""
        text = f"{lost}; {shown}: the frames that {whose} kept{total}. Other work scores the dropped frames too"
        return Problem("jaanet_frames", found.dataset, text)
    if source is not None:
        text = f"{found.frames:,} in all is the total of {source.source} ({source.about}): dropped frames"
        return Problem("dropped_frames", found.dataset, f"{lost}; {text}")
    who = named([f"{subject} has {count:,} of {all_:,}" for subject, (count, all_) in sorted(short.items())])
    why = "dropped frames, as where no face was found; keep them as rows with a status"
    return Problem("dropped_frames", found.dataset, f"{lost}{f' ({who})' if who else ''}: {why}")


def _more(found: Comparison, surplus: np.ndarray, difference: np.ndarray) -> Problem:
    """Frames too many: codes for unknown that were read as labels, or frames twice."""
    extra = int(surplus[surplus > 0].sum())
    active = difference[surplus > 0].sum() / (extra * max(1, difference.shape[1]))
    where, uncoded = f"{extra:,} frames more than published", "frames that are not coded should be -1"
    if found.name == "bp4d" and abs(active) < 0.01:
        text = f"{where}, and no AU is active in them: code 9 (unknown) read as 0; {uncoded}"
        return Problem("unknown_as_negative", found.dataset, text)
    if found.name == "bp4d" and active > 0.99:
        text = f"{where}, and every AU is active in them: code 9 (unknown) read as 1; {uncoded}"
        return Problem("unknown_as_positive", found.dataset, text)
    times = found.frames / max(1, sum(fold.published_frames for fold in found.folds if fold.complete))
    why = "frames that the coders did not code, or frames that are there twice"
    if times == int(times):
        why = f"every frame is there {int(times)} times, as where both cameras are in"
    return Problem("extra_frames", found.dataset, f"{where}: {why}")


def _rates(found: Comparison) -> tuple[np.ndarray, np.ndarray, bool]:
    """Active share of the frames (P, N) here and published, and whether the frames are equal: then it is exact."""
    frames, published_frames, positives, published = found.tables()
    here, there = positives / np.maximum(frames, 1)[:, None], published / published_frames[:, None]
    return here, there, np.array_equal(frames, published_frames)


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


def _moved_threshold(found: Comparison, left: list[int]) -> Problem | None:
    """All AUs with more positives, or all with fewer: the threshold, or codes read as labels."""
    here, there, exact = _rates(found)
    ratio = here / np.maximum(there, 1e-9)
    slack = 0.0 if exact else _SAME
    up = [i for i in left if (ratio[:, i] >= 1 - slack).all() and (ratio[:, i] > 1 + slack).any()]
    down = [i for i in left if (ratio[:, i] <= 1 + slack).all() and (ratio[:, i] < 1 - slack).any()]
    names = found.au_names
    for moved, direction, likely in ((up, "more", "1 or more"), (down, "fewer", "3 or more")):
        if len(moved) < _MOST * len(names) or len(moved) < len(left):
            continue
        text = f"{direction} positives in all folds "
        f"({named([f'{names[i]} {ratio[:, i].mean() - 1:+.0%}' for i in moved], 4)})"
        if found.published.threshold is not None:
            why = f"threshold, intensity of {likely} counted as active in place of 2 or more"
            return Problem("threshold", found.dataset, f"{text}: {why}")
        if direction == "more":
            why = "with the same frames: codes other than 1, as 9 (unknown), read as 1"
            return Problem("unknown_as_positive", found.dataset, f"{text} {why}")
    return None


def row_faults(found: Comparison, side: dict[str, Any]) -> tuple[list[Problem], set[str]]:
    """What rows of a known data set give away, and the AUs whose positives are explained by it."""
    threshold, explained = _threshold(found)
    return [*threshold, *_frame_base(found), *_image_numbers(found), *_camera(found, side), *_unknown(found)], explained


def _threshold(found: Comparison) -> tuple[list[Problem], set[str]]:
    """The threshold between intensity and label, where both are in the manifest."""
    wanted, rows = found.published.threshold, found.rows
    if wanted is None:
        return [], set()
    others: dict[str, list[str]] = {}
    for au in au_columns(rows):
        if f"{au}_intensity" not in rows.columns:
            continue
        coded = (rows[f"{au}_intensity"].notna() & (rows[au] >= 0)).to_numpy(bool)
        intensity, label = rows[f"{au}_intensity"].to_numpy()[coded], rows[au].to_numpy()[coded]
        fits = [t for t in range(1, 6) if np.array_equal(label == 1, intensity >= t)]
        if wanted not in fits:
            others.setdefault(f"intensity of {fits[0]} or more" if fits else "no threshold at all", []).append(au)
    problems = []
    for rule, names in others.items():
        text = f"{named(names, 12)}: the labels are those of {rule}, the field takes {wanted} or more"
        problems.append(Problem("threshold", found.dataset, text))
    return problems, {au for names in others.values() for au in names}


def _frame_base(found: Comparison) -> Iterator[Problem]:
    """Frame numbers against the range of the release, which counts from 1."""
    bounds = found.published.frame_range
    if bounds is None:
        return
    lowest, highest = int(found.rows["frame"].min()), int(found.rows["frame"].max())
    text = ""
    if lowest < bounds[0]:
        text = (
            f"frames start at {lowest}, those of the release at {bounds[0]}: numbers from 1 were taken as numbers from "
            "0, so check that no label went to the image before or after its own"
        )
    elif highest > bounds[1]:
        said = f"frames run from {lowest} to {highest}, those of the release from {bounds[0]} to {bounds[1]}"
        text = f"{said}: too high, as where 1 was added to numbers that start at 1 already"
    elif found.published.frames_per_subject is not None:
        counts = found.rows.groupby("subject").size()
        expected = [found.published.expected_frames(str(subject)) for subject in counts.index]
        if len(counts) > 1 and all(all_ and count == all_ - 1 for count, all_ in zip(counts, expected, strict=True)):
            why = "numbers from 1 were matched with images numbered from 0, so that one had no partner"
            text = f"every subject lacks one frame: {why}"
    if text:
        yield Problem("frame_base", found.dataset, text)


def _image_numbers(found: Comparison) -> Iterator[Problem]:
    """Numbers in the names of images against the frame numbers of their rows."""
    rows = found.rows
    if found.published.frame_range is None or "image" not in rows.columns:
        return
    text = rows["image"].fillna("").astype(str)
    numbers = pd.to_numeric(text.str.extract(r"(\d+)[^\d/]*\.[^./]+$", expand=False), errors="coerce")
    apart = (numbers - rows["frame"]).dropna()
    if len(apart) and (apart == 1).mean() >= _SHARE:
        said = "frame numbers are one below the numbers of their images: numbers from 1 were taken as numbers from 0"
        yield Problem("frame_base", found.dataset, said)
    elif len(apart) and (apart == -1).mean() >= _SHARE:
        said = "images are numbered one below their frames, as where images are counted from 0; right if they were "
        "written that way"
        yield Problem("frame_base", found.dataset, said, wrong=False)


def _camera(found: Comparison, side: dict[str, Any]) -> Iterator[Problem]:
    """DISFA from the right camera; papers use the left one."""
    if found.name != "disfa":
        return
    rows = found.rows
    right = rows["sequence"].str.lower() == "right"
    for name in [name for name in ("file", "image", "sequence") if name in rows.columns]:
        right |= rows[name].fillna("").astype(str).str.contains(r"right_?(?:video|camera)", case=False)
    if right.any() or any(value == "right" for value in _values(side, "camera")):
        count = f"{int(right.sum()):,} of {len(rows):,} rows" if right.any() else "the manifest's sidecar"
        text = f"{count}: right camera; the published results are of the left one (`--camera left`)"
        yield Problem("camera", found.dataset, text)


def _unknown(found: Comparison) -> Iterator[Problem]:
    """BP4D and BP4D+ beyond the twelve AUs have labels of code 9; a large manifest without any has lost them."""
    names = au_columns(found.rows)
    if found.name not in ("bp4d", "bp4dplus") or len(names) <= _BENCHMARK or len(found.rows) < _ENOUGH:
        return
    if not any((found.rows[name] < 0).any() for name in names):
        text = (
            f"none of the {len(found.rows):,} rows has an unknown label (-1) in any of {len(names)} AUs: code 9 "
            "(unknown) was read as 0 or 1; the release uses it beyond the twelve AUs that papers report"
        )
        yield Problem("unknown_as_negative", found.dataset, text)


def _values(content: Any, key: str) -> Iterator[Any]:
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value, key)

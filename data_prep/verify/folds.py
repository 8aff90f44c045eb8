"""Folds: nobody in two of them, and their names against the published parts and the fold numbers of others."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from auformer.data.splits import FOLD_VIEWS, PUBLISHED_PARTS, dataset_id, people

from .problem import Problem, named

VIEW_TITLES = {"megraphau": "ME-GraphAU", "fgnet": "FG-Net"}


def people_in_two_folds(rows: pd.DataFrame) -> Iterator[Problem]:
    """People whose rows are in more than one fold.

    Args:
        rows: Rows of a manifest, of any data sets.
    """
    if "fold" not in rows.columns:
        return
    distinct = rows.loc[rows["fold"].notna(), ["dataset", "subject", "fold"]].drop_duplicates()
    folds: dict[tuple[str, str], set[str]] = {}
    for who, fold in zip(people(distinct), distinct["fold"], strict=True):
        folds.setdefault(who, set()).add(str(fold))
    both = [
        f"{subject} of {dataset} ({', '.join(sorted(names))})"
        for (dataset, subject), names in sorted(folds.items())
        if len(names) > 1
    ]
    if both:
        text = f"people in more than one fold: {len(both):,} ({named(both)}); scores on people seen in training say nothing about others"
        yield Problem("person_in_two_folds", "fold", text)


def fold_naming(rows: pd.DataFrame, dataset: str) -> Iterator[Problem]:
    """Folds of a data set with published parts: which part is each?

    Args:
        rows: Rows of the data set.
        dataset: Its name.
    """
    parts = PUBLISHED_PARTS.get(dataset_id(dataset))
    if parts is None or "fold" not in rows.columns:
        return
    everyone = {subject for members in parts.values() for subject in members}
    distinct = rows.loc[rows["fold"].notna() & rows["subject"].isin(everyone), ["subject", "fold"]].drop_duplicates()
    if distinct.empty:
        return
    folds = {str(fold): set(members) for fold, members in distinct.groupby("fold")["subject"]}
    there = set(distinct["subject"])
    is_part = {
        fold: [name for name, members in parts.items() if members_of == set(members) & there]
        for fold, members_of in folds.items()
    }
    if all(len(found) == 1 for found in is_part.values()):
        yield from _named({fold: found[0] for fold, found in is_part.items()}, parts, dataset)
        return
    official = set(folds) <= set(parts)
    moved = {
        subject for fold, members in folds.items() for subject in members if official and subject not in parts[fold]
    }
    text = (
        f"the parts are called {', '.join(sorted(folds))} as the published ones, but {named(sorted(moved))} are in other ones"
        if official
        else f"the folds {named(sorted(folds))} are another division than the published parts, not comparable with others fold by fold"
    )
    yield Problem("other_partition", dataset, text, wrong=official)


def _named(mapping: dict[str, str], parts: dict[str, tuple[str, ...]], dataset: str) -> Iterator[Problem]:
    """Folds that hold exactly one part each: is the name that of the part, or a number of some view?"""
    moved = {fold: part for fold, part in mapping.items() if fold != part}
    if not moved:
        return
    said = ", ".join(f"fold {fold} holds the subjects of {part}" for fold, part in sorted(moved.items()))
    if set(mapping) <= set(parts):
        text = (
            f"{said}: fold naming; the folds of ME-GraphAU and MDHR run backwards, their fold 1 tests {list(parts)[-1]}"
        )
        yield Problem("fold_naming", dataset, text)
        return
    numbers = {match.group(1): part for fold, part in mapping.items() if (match := re.search(r"(\d+)$", fold))}
    for view, folds in FOLD_VIEWS.items():
        known = {str(number): part for number, part in folds[dataset_id(dataset)].items()}
        if len(numbers) == len(mapping) and numbers.items() <= known.items():
            yield Problem("fold_naming", dataset, f"{said}: numbered as {VIEW_TITLES[view]} does", wrong=False)
            return
    text = (
        f"{said}: numbered neither as ME-GraphAU does nor as FG-Net does; name the parts where you report single folds"
    )
    yield Problem("fold_naming", dataset, text, wrong=False)

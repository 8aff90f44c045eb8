"""The column `fold`: published parts where there are any, else a division of ours that says so in its names.

BP4D and DISFA have the published parts P1-P3 and D1-D3 (`auformer.data.splits`, with the fold numbers of ME-GraphAU and FG-Net as views).
DISFA+ shows nine people of DISFA, so each of them is in the part that DISFA has them in: [ours], and the one choice that keeps a person in
one part when both are trained on. Every other data set is divided by us: seeded, by subject, parts named `ours1`, `ours2`, ... There is no
published division of BP4D+ that all follow; two repositories have one each, of four and of three parts.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from auformer.data.splits import dataset_id, published_fold, subject_split

NUM_PARTS = (
    4  # [ours]; 35 of BP4D+'s 140 subjects in each, and the number of folds of within-data-set micro-expression studies
)
SEED = 0

#: Data sets whose division does not depend on which subjects are there.
ALL_SUBJECTS: dict[str, tuple[str, ...]] = {
    "bp4dplus": tuple([f"F{i:03d}" for i in range(1, 83)] + [f"M{i:03d}" for i in range(1, 59)])
}

_PARTS_OF = {"disfaplus": "disfa"}


def our_folds(subjects: Iterable[str], num_parts: int = NUM_PARTS, seed: int = SEED) -> dict[str, str]:
    """Divide subjects into parts of equal size [ours].

    Args:
        subjects: Names; repetitions and order do not matter.
        num_parts: How many parts; no more than there are subjects.
        seed: Another seed, another division.

    Returns:
        Subject -> `ours1`, `ours2`, ...

    >>> sorted(set(our_folds(ALL_SUBJECTS["bp4dplus"]).values()))
    ['ours1', 'ours2', 'ours3', 'ours4']
    """
    unique = set(subjects)
    if not unique:
        return {}
    parts = subject_split(unique, [1.0] * min(num_parts, len(unique)), seed)
    return {subject: f"ours{number}" for number, part in enumerate(parts, start=1) for subject in part}


def fold_of(name: str, subjects: Iterable[str]) -> dict[str, str | None]:
    """The part of each subject.

    Args:
        name: The data set.
        subjects: Those that are there. Where their full list is known (BP4D+), the division is that of all; else it is of these, and
            a part of the release is divided in another way.

    Returns:
        Subject -> name of the part; None for a subject that the published parts do not know.
    """
    unique = sorted(set(subjects))
    dataset = dataset_id(name)
    source = _PARTS_OF.get(dataset, dataset)
    if any(published_fold(source, subject) for subject in unique):
        return {subject: published_fold(source, subject) for subject in unique}
    everyone = ALL_SUBJECTS.get(dataset, ())
    ours = our_folds(everyone if set(unique) <= set(everyone) else unique)
    return {subject: ours[subject] for subject in unique}


def with_folds(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows with the column `fold`.

    Args:
        rows: with a column `subject`.
        name: The data set.
    """
    parts = fold_of(name, rows["subject"])
    return rows.assign(fold=rows["subject"].map(parts).astype(object))

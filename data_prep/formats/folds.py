"""The column `fold`: published folds where there are any, else a division of ours that says so in its names.

BP4D and DISFA have the published folds P1-P3 and D1-D3 (`auformer.data.splits`, with the fold numbers of ME-GraphAU and
FG-Net as views). DISFA+ shows nine people of DISFA, so each of them is in the fold that DISFA has them in: [ours], and
the one choice that keeps a person in one fold when both are trained on. Every other data set is divided by us: seeded,
by subject, folds named `ours1`, `ours2`, ... There is no published division of BP4D+ that all follow; two repositories
have one each, of four and of three folds.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from auformer.data.splits import dataset_id, published_fold, subject_split

# [ours] 35 of BP4D+'s 140 subjects in each, and the number of folds of within-data-set micro-expression studies
NUM_FOLDS = 4
SEED = 0

#: Data sets whose division does not depend on which subjects are there.
ALL_SUBJECTS: dict[str, tuple[str, ...]] = {
    "bp4dplus": tuple([f"F{i:03d}" for i in range(1, 83)] + [f"M{i:03d}" for i in range(1, 59)])
}

_FOLDS_OF = {"disfaplus": "disfa"}


def our_folds(subjects: Iterable[str]) -> dict[str, str]:
    """Divide subjects into folds `ours1`, `ours2`, ... of equal size [ours]; repetitions and order do not matter.

    >>> sorted(set(our_folds(ALL_SUBJECTS["bp4dplus"]).values()))
    ['ours1', 'ours2', 'ours3', 'ours4']
    """
    unique = set(subjects)
    if not unique:
        return {}
    folds = subject_split(unique, [1.0] * min(NUM_FOLDS, len(unique)), SEED)
    return {subject: f"ours{number}" for number, fold in enumerate(folds, start=1) for subject in fold}


def fold_of(name: str, subjects: Iterable[str]) -> dict[str, str | None]:
    """The fold of each subject; None for a subject that the published folds do not know."""
    unique = sorted(set(subjects))
    dataset = dataset_id(name)
    source = _FOLDS_OF.get(dataset, dataset)
    published = {subject: published_fold(source, subject) for subject in unique}
    if any(published.values()):
        return published
    everyone = ALL_SUBJECTS.get(dataset, ())
    ours = our_folds(everyone if set(unique) <= set(everyone) else unique)
    return {subject: ours[subject] for subject in unique}


def with_folds(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of a data set with the column `fold`."""
    return rows.assign(fold=rows["subject"].map(fold_of(name, rows["subject"])).astype(object))

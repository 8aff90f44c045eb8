"""Who is in which part: subject-exclusive splits, the published folds, nested subsets, and the check that no person is in two parts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from auformer.data.row_draws import row_hashes
from auformer.errors import ManifestError

Subject = TypeVar("Subject", bound=Hashable)


def _subjects(text: str) -> tuple[str, ...]:
    """Names between blanks."""
    return tuple(text.split())


# Subjects of the published parts. BP4D: identical in ME-GraphAU, MDHR, AU-Net, FG-Net and JAA-Net. DISFA: FG-Net and the tools around
# ME-GraphAU (their lists compared as sets).
PUBLISHED_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "bp4d": {
        "P1": _subjects("F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014"),
        "P2": _subjects("F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018"),
        "P3": _subjects("F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015"),
    },
    "disfa": {
        "D1": _subjects("SN001 SN002 SN009 SN010 SN016 SN026 SN027 SN030 SN032"),
        "D2": _subjects("SN006 SN011 SN012 SN013 SN018 SN021 SN024 SN028 SN031"),
        "D3": _subjects("SN003 SN004 SN005 SN007 SN008 SN017 SN023 SN025 SN029"),
    },
}

# Which part a fold tests: ME-GraphAU (also MDHR, AU-Net, AUNCE's lists) counts folds from 1 and backwards, FG-Net from 0.
FOLD_VIEWS: dict[str, dict[str, dict[int, str]]] = {
    "megraphau": {"bp4d": {1: "P3", 2: "P2", 3: "P1"}, "disfa": {1: "D3", 2: "D2", 3: "D1"}},
    "fgnet": {"bp4d": {0: "P1", 1: "P2", 2: "P3"}, "disfa": {0: "D1", 1: "D2", 2: "D3"}},
}

# Data sets whose people are those of another one. All nine subjects of DISFA+ are DISFA subjects; FEAFA-B annotates DISFA's videos again.
_SAME_PEOPLE = {"disfaplus": "disfa"}


def dataset_id(name: str) -> str:
    """A data set's name without the ways of writing it.

    >>> dataset_id("DISFA+"), dataset_id("bp4d_plus")
    ('disfaplus', 'bp4dplus')
    """
    return re.sub(r"[\s_()\-]", "", name.lower().replace("+", "plus"))


def person(dataset: str, subject: str) -> tuple[str, str]:
    """Who a subject is: subjects of one name in two data sets are two people, unless the data sets share their people.

    >>> person("DISFA+", "SN001") == person("disfa", "SN001"), person("bp4d", "F001") == person("bp4dplus", "F001")
    (True, False)
    """
    dataset = dataset_id(dataset)
    if dataset.startswith("feafa") and subject.startswith("SN"):
        dataset = "disfa"
    return _SAME_PEOPLE.get(dataset, dataset), subject


def people(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The person of each row."""
    pairs = list(zip(frame["dataset"].tolist(), frame["subject"].tolist(), strict=True))
    known = {pair: person(*pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs]


def subject_split(subjects: Iterable[Subject], fractions: Sequence[float], seed: int = 0) -> list[list[Subject]]:
    """Divide subjects at random into parts; every subject is in exactly one.

    Args:
        subjects: Names, or `(dataset, subject)` pairs; repetitions and order do not matter.
        fractions: Size of each part relative to the others, positive.
        seed: Another seed, another division.

    Returns:
        The subjects of each part, sorted; the sizes are the fractions rounded, at least one each.

    Raises:
        ValueError: A fraction is not positive, or there are fewer subjects than parts.

    >>> [len(part) for part in subject_split("abcdefghij", [0.7, 0.3])]
    [7, 3]
    """
    unique = sorted(set(subjects))  # type: ignore[type-var]
    share = np.asarray(fractions, dtype=np.float64)
    if share.ndim != 1 or not share.size or not bool(np.all(np.isfinite(share) & (share > 0))):
        raise ValueError(f"Expected `fractions` to be positive numbers, but got {list(fractions)}")
    if len(unique) < share.size:
        raise ValueError(f"Expected `subjects` to hold at least {share.size}, one per part, but got {len(unique)}")
    order = np.random.default_rng(seed).permutation(len(unique))
    ends = np.cumsum(_sizes(share / share.sum() * len(unique), len(unique)))
    return [sorted(unique[i] for i in part) for part in np.split(order, ends[:-1])]  # type: ignore[type-var]


def _sizes(exact: np.ndarray, total: int) -> np.ndarray:
    """Whole sizes that add up to `total`: largest remainders, at least one each."""
    sizes = np.maximum(np.floor(exact + 1e-9).astype(np.int64), 1)
    while sizes.sum() < total:
        sizes[np.argmax(exact - sizes)] += 1
    while sizes.sum() > total:
        sizes[np.argmax(np.where(sizes > 1, sizes - exact, -np.inf))] -= 1
    return sizes


def subject_folds(subjects: Iterable[Subject], k: int, seed: int = 0) -> list[list[Subject]]:
    """Divide subjects at random into `k` folds whose sizes differ by one at most.

    Raises:
        ValueError: `k` is below 2, or there are fewer subjects than folds.
    """
    if k < 2:
        raise ValueError(f"Expected `k` to be at least 2, but got {k}")
    return subject_split(subjects, [1.0] * k, seed)


def published_fold(dataset: str, subject: str) -> str | None:
    """The published part that a subject is in, None where there is none.

    >>> published_fold("BP4D", "F001"), published_fold("DISFA", "SN003"), published_fold("casme2", "sub01")
    ('P1', 'D3', None)
    """
    parts = PUBLISHED_PARTS.get(dataset_id(dataset), {})
    return next((name for name, members in parts.items() if subject in members), None)


def view_part(view: str, dataset: str, fold: int) -> str:
    """The part that a code base tests in one of its folds.

    Args:
        view: A name of `FOLD_VIEWS`.
        dataset: `bp4d` or `disfa`.
        fold: Number as that code base counts.

    Raises:
        ValueError: There is no such view, data set or fold.

    >>> view_part("megraphau", "bp4d", 1), view_part("fgnet", "bp4d", 0)
    ('P3', 'P1')
    """
    if view not in FOLD_VIEWS:
        raise ValueError(f"Expected `view` to be one of {', '.join(FOLD_VIEWS)}, but got {view!r}")
    folds = FOLD_VIEWS[view].get(dataset_id(dataset))
    if folds is None:
        raise ValueError(f"Expected `dataset` to be one of {', '.join(FOLD_VIEWS[view])}, but got {dataset!r}")
    if fold not in folds:
        raise ValueError(f"Expected `fold` of the view {view} to be one of {', '.join(map(str, folds))}, but got {fold}")
    return folds[fold]


def check_disjoint(parts: Mapping[str, pd.DataFrame]) -> None:
    """Raise if a person is in two parts.

    Args:
        parts: Name of the part -> its rows.

    Raises:
        ManifestError: It names the subjects and the two parts.
    """
    members = {name: set(people(frame)) for name, frame in parts.items()}
    for one, other in itertools.combinations(members, 2):
        both = sorted(members[one] & members[other])
        if both:
            named = ", ".join(f"{subject} of {dataset}" for dataset, subject in both[:5]) + (" and others" if len(both) > 5 else "")
            datasets = {dataset_id(name) for part in (one, other) for name in parts[part]["dataset"].unique()}
            why = " (DISFA+ and FEAFA-B show people of DISFA)" if "disfa" in datasets and len(datasets) > 1 else ""
            raise ManifestError(
                f"Expected every subject in one part, but {len(both)} are in `{one}` and in `{other}`: {named}{why}; "
                "scores on people seen in training say nothing about others, so move each subject to one part"
            )


def nested_subset(frame: pd.DataFrame, size: int | float, seed: int = 0) -> pd.DataFrame:
    """A random subset of rows; of one seed, the smaller subset lies inside the larger one.

    Args:
        frame: Rows with the key columns.
        size: Number of rows (int, at least 1), or their fraction (float in (0, 1]).
        seed: Another seed, another order of choice.

    Returns:
        The chosen rows in the order that `frame` has them.

    Raises:
        ValueError: `size` is out of range, or there are not as many rows.
    """
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size <= (np.inf if isinstance(size, int) else 1):
        raise ValueError(f"Expected `size` to be a number of rows (at least 1) or a fraction in (0, 1], but got {size!r}")
    count = size if isinstance(size, int) else max(1, round(size * len(frame)))
    if count > len(frame):
        raise ValueError(f"Expected `size` to be at most the {len(frame):,} rows there are, but got {count:,}")
    chosen = np.argsort(row_hashes(frame, seed), kind="stable")[:count]
    return frame.iloc[np.sort(chosen)]

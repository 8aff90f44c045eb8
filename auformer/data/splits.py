"""Who is in which split: people, published folds, random splits by subject, and the rows that a run trains on.

Random draws belong to a row's key, not to its place in a table [ours]: they are a function of (seed, key of the row) or
(seed, key of the row, AU), so neither the order of the rows, nor which others are there, nor the number of workers
changes them. BLAKE2b and splitmix64 are the same on every machine and in every version.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from auformer.data.schema import KEY, SIDES
from auformer.errors import ManifestError

logger = logging.getLogger(__name__)
Subject = TypeVar("Subject", bound=Hashable)


def _subjects(text: str) -> tuple[str, ...]:
    """Names between blanks."""
    return tuple(text.split())


# Subjects of the published folds. BP4D: identical in ME-GraphAU, MDHR, AU-Net, FG-Net and JAA-Net. DISFA: FG-Net and
# the tools around ME-GraphAU (their lists compared as sets).
PUBLISHED_FOLDS: dict[str, dict[str, tuple[str, ...]]] = {
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

# Which published fold the folds of a code base test: ME-GraphAU (also MDHR, AU-Net, AUNCE's lists) counts folds from 1
# and backwards, FG-Net from 0.
FOLD_VIEWS: dict[str, dict[str, dict[int, str]]] = {
    "megraphau": {"bp4d": {1: "P3", 2: "P2", 3: "P1"}, "disfa": {1: "D3", 2: "D2", 3: "D1"}},
    "fgnet": {"bp4d": {0: "P1", 1: "P2", 2: "P3"}, "disfa": {0: "D1", 1: "D2", 2: "D3"}},
}

# Data sets whose people are those of another one. All nine subjects of DISFA+ are DISFA subjects; FEAFA-B annotates
# DISFA's videos again.
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


def published_fold(dataset: str, subject: str) -> str | None:
    """The published fold that a subject is in, None where there is none.

    >>> published_fold("BP4D", "F001"), published_fold("DISFA", "SN003"), published_fold("casme2", "sub01")
    ('P1', 'D3', None)
    """
    parts = PUBLISHED_FOLDS.get(dataset_id(dataset), {})
    return next((name for name, members in parts.items() if subject in members), None)


def view_fold(view: str, dataset: str, fold: int) -> str:
    """The published fold that a code base, a name of `FOLD_VIEWS`, tests in one of its own, numbered as it counts.

    Raises:
        ValueError: There is no such view, data set or fold.

    >>> view_fold("megraphau", "bp4d", 1), view_fold("fgnet", "bp4d", 0)
    ('P3', 'P1')
    """
    if view not in FOLD_VIEWS:
        raise ValueError(f"Expected `view` to be one of {', '.join(FOLD_VIEWS)}, but got {view!r}")
    folds = FOLD_VIEWS[view].get(dataset_id(dataset))
    if folds is None:
        raise ValueError(f"Expected `dataset` to be one of {', '.join(FOLD_VIEWS[view])}, but got {dataset!r}")
    if fold not in folds:
        raise ValueError(
            f"Expected `fold` of the view {view} to be one of {', '.join(map(str, folds))}, but got {fold}"
        )
    return folds[fold]


def subject_split(subjects: Iterable[Subject], fractions: Sequence[float], seed: int = 0) -> list[list[Subject]]:
    """Divide subjects at random into splits of these relative sizes; every subject is in exactly one.

    Subjects are names, or `(dataset, subject)` pairs; repetitions and order do not matter. The subjects of each split
    are sorted; the sizes are the fractions rounded, at least one each.

    Raises:
        ValueError: A fraction is not positive, or there are fewer subjects than splits.

    >>> [len(split) for split in subject_split("abcdefghij", [0.7, 0.3])]
    [7, 3]
    """
    unique = sorted(set(subjects))  # type: ignore[type-var]
    share = np.asarray(fractions, dtype=np.float64)
    if share.ndim != 1 or not share.size or not bool(np.all(np.isfinite(share) & (share > 0))):
        raise ValueError(f"Expected `fractions` to be positive numbers, but got {list(fractions)}")
    if len(unique) < share.size:
        raise ValueError(f"Expected `subjects` to hold at least {share.size}, one per split, but got {len(unique)}")
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


def nested_subset(frame: pd.DataFrame, size: int | float, seed: int = 0) -> pd.DataFrame:
    """A random subset of rows in their order; of one seed, the smaller subset lies inside the larger one.

    Args:
        frame: Rows with the key columns.
        size: Number of rows (int, at least 1), or their fraction (float in (0, 1]).
        seed: Another seed, another order of choice.

    Raises:
        ValueError: `size` is out of range, or there are not as many rows.
    """
    if (
        isinstance(size, bool)
        or not isinstance(size, int | float)
        or not 0 < size <= (np.inf if isinstance(size, int) else 1)
    ):
        raise ValueError(
            f"Expected `size` to be a number of rows (at least 1) or a fraction in (0, 1], but got {size!r}"
        )
    count = size if isinstance(size, int) else max(1, round(size * len(frame)))
    if count > len(frame):
        raise ValueError(f"Expected `size` to be at most the {len(frame):,} rows there are, but got {count:,}")
    chosen = np.argsort(row_hashes(frame, seed), kind="stable")[:count]
    return frame.iloc[np.sort(chosen)]


def check_disjoint(splits: Mapping[str, pd.DataFrame]) -> None:
    """Raise if a person is in two splits.

    Raises:
        ManifestError: It names the subjects and the two splits.
    """
    members = {name: set(people(frame)) for name, frame in splits.items()}
    for one, other in itertools.combinations(members, 2):
        both = sorted(members[one] & members[other])
        if both:
            named = ", ".join(f"{subject} of {dataset}" for dataset, subject in both[:5]) + (
                " and others" if len(both) > 5 else ""
            )
            datasets = {dataset_id(name) for split in (one, other) for name in splits[split]["dataset"].unique()}
            why = " (DISFA+ and FEAFA-B show people of DISFA)" if "disfa" in datasets and len(datasets) > 1 else ""
            raise ManifestError(
                f"Expected every subject in one split, but {len(both)} are in `{one}` and in `{other}`: {named}{why}; "
                "scores on people seen in training say nothing about others, so move each subject to one split"
            )


def usable_rows(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows whose `status` is `ok`; the others are counted in the log.

    Raises:
        ManifestError: No row is left.
    """
    ok = (frame["status"] == "ok").to_numpy(bool)
    if not ok.all():
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in frame.loc[~ok, "status"].value_counts().items())
        logger.warning("%s: %s of %s rows are left out (%s)", split, f"{(~ok).sum():,}", f"{len(frame):,}", reasons)
    if not ok.any():
        raise ManifestError(
            f"Expected rows with `status` ok in the split `{split}`, but none of its {len(frame):,} rows is"
        )
    return frame[ok]


def cut_fold(frame: pd.DataFrame, fold: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide rows into the rest and those of a fold.

    Raises:
        ManifestError: There is no column `fold`, no row of that name, or no row of another one.
    """
    if "fold" not in frame.columns:
        raise ManifestError(
            f"Expected a column `fold` to cut out {fold!r}, but the manifest has none; add it, or name a test manifest"
        )
    inside = (frame["fold"] == fold).fillna(False).to_numpy(bool)
    if not inside.any():
        names = ", ".join(sorted(frame["fold"].dropna().unique())) or "none"
        raise ManifestError(
            f"Expected `fold` to be one of the manifest's folds ({names}), but got {fold!r}, which has no rows"
        )
    if inside.all():
        raise ManifestError(
            f"Expected rows outside the fold {fold!r} to train on, but all {len(frame):,} rows are in it"
        )
    return frame[~inside], frame[inside]


def cut_subjects(frame: pd.DataFrame, subjects: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide rows into the rest and those of some subjects, named like `casme2/sub01`.

    Raises:
        ManifestError: A subject has no rows, or no other one has any.
    """
    names = frame["dataset"].astype(str) + "/" + frame["subject"].astype(str)
    inside = names.isin(list(subjects)).to_numpy(bool)
    unknown = sorted(set(subjects) - set(names))
    if unknown or not inside.any():
        raise ManifestError(
            f"Expected `test_subjects` to be like {names.iloc[0]!r}, but {', '.join(unknown) or 'none'} have no rows"
        )
    if inside.all():
        raise ManifestError(
            f"Expected rows of other subjects to train on, but all {len(frame):,} rows are of `test_subjects`"
        )
    return frame[~inside], frame[inside]


def cut_validation(frame: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Divide training rows by subject into training and validation rows.

    A `fraction` of the subjects in [0, 1) is held out; with 0 there are no validation rows.

    Raises:
        ValueError: `fraction` is out of range, or there are too few subjects.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"Expected `val_fraction` to be in [0, 1), but got {fraction}")
    if fraction == 0:
        return frame, None
    who = people(frame)
    if len(set(who)) < 2:
        raise ManifestError(
            f"Expected at least 2 training subjects to cut a validation split from, but got {len(set(who))}; "
            "name a validation manifest, or set `val_fraction` to 0"
        )
    held_out = set(subject_split(who, [1 - fraction, fraction], seed)[1])
    inside = np.fromiter((one in held_out for one in who), dtype=bool, count=len(who))
    return frame[~inside], frame[inside]


def count_labels(frame: pd.DataFrame, au_names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Rows in which each AU is active, and in which it is annotated; 0 for an AU without a column."""
    columns = [frame[au].to_numpy() if au in frame.columns else np.array([-1]) for au in au_names]
    return [int((column == 1).sum()) for column in columns], [int((column >= 0).sum()) for column in columns]


def trainable_aus(frame: pd.DataFrame, au_names: Sequence[str], *, leave_out_missing: bool) -> list[str]:
    """Action units that training rows show at least once; others are left out with a warning if they may be.

    Raises:
        ManifestError: An AU has no positive row and is not to be left out, or none has any.
    """
    positives, annotated = count_labels(frame, au_names)
    counts = dict(zip(au_names, zip(positives, annotated, strict=True), strict=True))
    missing = {au: seen for au, (active, seen) in counts.items() if not active}
    named = ", ".join(
        f"{au} ({f'{seen:,} annotated rows' if seen else 'not annotated'})" for au, seen in missing.items()
    )
    if missing and (not leave_out_missing or len(missing) == len(counts)):
        raise ManifestError(
            f"Expected every action unit to be active in a training row, but these never are: {named}; "
            "train on rows that show them, or set `leave_out_missing`"
        )
    if missing:
        logger.warning("left out, without a positive training row: %s", named)
    return [au for au in au_names if au not in missing]


def with_label_noise(frame: pd.DataFrame, au_names: Sequence[str], probability: float, seed: int) -> pd.DataFrame:
    """Flip annotated labels with a probability in [0, 1], 0 to 1 and 1 to 0.

    Whether a label is flipped is a function of (seed, key of the row, AU). Labels per side of a flipped AU become
    unknown.

    Raises:
        ValueError: `probability` is out of range.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"Expected `label_noise` to be in [0, 1], but got {probability}")
    if probability == 0:
        return frame
    flips = au_draws(row_hashes(frame, seed), au_names) < probability
    noisy = frame.copy()
    for column, au in enumerate(au_names):
        if au not in frame.columns:
            continue
        labels = frame[au].to_numpy()
        flipped = flips[:, column] & (labels >= 0)
        noisy[au] = np.where(flipped, 1 - labels, labels).astype(np.int8)
        for name in [f"{au}_{side}" for side in SIDES if f"{au}_{side}" in frame.columns]:
            noisy[name] = np.where(flipped, -1, frame[name].to_numpy()).astype(np.int8)
    return noisy


def row_hashes(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """One uniform uint64 per row `(rows,)` from its key and the seed."""
    salt = f"{seed}".encode()
    rows = zip(*(frame[name].tolist() for name in KEY), strict=True)
    digests = (hashlib.blake2b(repr(row).encode(), digest_size=8, key=salt).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def au_draws(hashes: np.ndarray, au_names: Sequence[str]) -> np.ndarray:
    """One uniform float64 in [0, 1) per row and AU, `(rows, N)`, from the `row_hashes`.

    AUs do not influence each other.
    """
    units = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in au_names]
    mixed = _splitmix64(hashes[:, None] ^ np.array(units, dtype=np.uint64)[None, :])
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every output bit depends on every input bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

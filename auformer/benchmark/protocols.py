"""Which runs a protocol is made of, from the facts of its data sets; nothing is trained here.

A protocol is a list of `Run`: what to train on, how the epoch is chosen, what to test on. What is known of the data
comes as `Facts`; a data set that is not there yet has none, and then a run may stand for many (`Run.stands_for`), which
a dry run says.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.aus import AU_SETS
from auformer.data.manifest import au_columns, read_manifest
from auformer.data.splits import PUBLISHED_FOLDS, dataset_id, subject_folds

# how the epoch is chosen: on training subjects held out, on the test split, or not at all
VALIDATIONS = ("validation", "test", "last")
MICRO_SPLITS = ("loso", "4fold", "lodo")
LOSO = "loso"  # in place of a number of folds: each subject is one
# folds of ours: as many as the published ones of BP4D and DISFA; as those of the micro-expression papers
FOLDS, MICRO_FOLDS = 3, 4
FOLD_SEED = 0  # of the folds that are ours: the same for all methods and seeds [ours]
OURS = f"{{}}: the folds are ours (subjects divided at random, seed {FOLD_SEED})"
# A hundred frames in 20 epochs are 140 steps, from which little is learnt: the curve would show steps, not data [ours].
MIN_STEPS = 500
SIZES: tuple[int | float, ...] = (100, 1000, 5000, 10000, 1.0)  # training frames, and all of them (method.md 5)


@dataclass(frozen=True)
class Rows:
    """Rows of a data set: all, those of one `fold`, or those of named subjects."""

    data: str  # name of the data set
    fold: str | None = None  # name in the column `fold`; None: not by that column
    subjects: tuple[str, ...] | None = None  # names like `casme2/sub01`; None: not by subject


@dataclass(frozen=True)
class Run:
    """One training and one test."""

    protocol: str  # `within`, `cross`, `efficiency` or `micro`
    name: str  # of the suite's entry; the protocol by default
    method: str  # name of the configuration
    train: tuple[str, ...]  # data sets to train on; the rows of `test` are cut out of them
    validation: str  # one of `VALIDATIONS`
    test: Rows  # what to test on
    fold: str = ""  # what the tables call the test rows; empty where there is one set of them only
    subset: int | float | None = None  # number or fraction of the training rows; None: all
    seed: int = 0  # of everything random in the run
    init: str | None = None  # name of the checkpoint whose experts it starts from; None: from scratch
    au_names: tuple[str, ...] | None = None  # AUs to train and test; None: those of the configuration, else of the data
    clips: bool = False  # whether the faces are clips, one prediction each
    min_steps: int = 0  # train for more epochs than configured until there are so many optimiser steps
    warnings: tuple[str, ...] = ()  # what a reader of its numbers should know
    stands_for: str = ""  # where the data is not there yet: what this run stands for

    def text(self) -> str:
        """The run in one line, its protocol first."""
        test = "" if self.train == (self.test.data,) else f" -> {self.test.data}"
        parts = [self.protocol, f"{'+'.join(self.train)}{test}"]
        parts += [self.name] if self.name != self.protocol else []
        parts += [self.stands_for] if self.stands_for else [f"fold {self.fold}"] if self.fold else []
        parts += [f"{_size(self.subset)} frames"] if self.subset is not None else []
        parts += [self.method, f"seed {self.seed}"]
        parts += [f"experts from {self.init}"] if self.init else []
        parts += ["selected on the test split"] if self.validation == "test" else []
        return "  ".join(parts)


@dataclass(frozen=True)
class Common:
    """What all runs of a protocol share: see `Run`; `methods` are pairs of `method` and `validation`."""

    methods: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...] = (0,)
    name: str = ""
    init: str | None = None


def _size(size: int | float) -> str:
    return f"{size:,}" if isinstance(size, int) else f"{100 * size:g} % of the"


@dataclass(frozen=True)
class Facts:
    """What a manifest holds; only rows whose `status` is `ok` count."""

    au_names: tuple[str, ...]  # AUs with labels, by number
    datasets: tuple[str, ...]  # values of the column `dataset`
    subjects: tuple[str, ...]  # `dataset/subject`, sorted
    folds: tuple[str, ...] = ()  # values of the column `fold`, sorted; empty without it
    without_fold: int = 0  # rows without a fold, where others have one
    has_clips: bool = False  # whether the rows are frames of clips


@dataclass(frozen=True)
class DataSet:
    """A data set by the name that runs and tables call it; its facts are None as long as it is not there."""

    name: str
    path: Path
    facts: Facts | None = None
    rendered: bool = False


def subject_names(frame: pd.DataFrame) -> pd.Series:
    """`dataset/subject` of each row."""
    return frame["dataset"].astype(str) + "/" + frame["subject"].astype(str)


def find_facts(path: Path) -> Facts | None:
    """The facts of a manifest; None where there is no such file.

    Raises:
        ManifestError: The file is no manifest.
    """
    if not path.is_file():
        return None
    frame = read_manifest(path)
    ok = frame[frame["status"] == "ok"]
    folds = ok["fold"] if "fold" in ok else pd.Series(dtype=str)
    known: Any = folds.dropna()
    known = known[known != ""]
    return Facts(
        tuple(au_columns(frame)),
        tuple(sorted(ok["dataset"].unique())),
        tuple(sorted(subject_names(ok).unique())),
        tuple(sorted(known.unique())),
        len(folds) - len(known) if len(known) else 0,
        {"clip", "onset", "apex", "offset"} <= set(ok.columns) and bool(ok["clip"].notna().all()) and len(ok) > 0,
    )


def data_name(path: Path) -> str:
    """What a manifest is called by itself: its file, or its folder where the file is called `manifest`.

    >>> data_name(Path("data/bp4d.csv")), data_name(Path("runs/lab_a/manifest.csv"))
    ('bp4d', 'lab_a')
    """
    return path.resolve().parent.name if path.stem == "manifest" else path.stem


def shared_aus(train: Sequence[DataSet], test: DataSet) -> tuple[str, ...] | None:
    """AUs that both sides have, by number; None as long as one of them is not there.

    Raises:
        ValueError: There are none.
    """
    facts = [data.facts for data in train if data.facts is not None]
    if test.facts is None or len(facts) < len(train):
        return None
    trained = {au for known in facts for au in known.au_names}
    shared = tuple(au for au in test.facts.au_names if au in trained)
    if not shared:
        names = "+".join(data.name for data in train)
        mine = ", ".join(sorted(trained, key=lambda au: int(au[2:]))) or "none"
        raise ValueError(
            f"Expected {names} and {test.name} to share an action unit, but got {mine} and "
            f"{', '.join(test.facts.au_names) or 'none'}; take data sets that label the same ones"
        )
    return shared


def within(data: DataSet, common: Common, *, folds: int | str = FOLDS) -> list[Run]:
    """A run per fold: those of the column `fold` (which holds the published ones), or without it `folds` of ours.

    With `folds` "loso" a run per subject, whatever that column says, as papers on UNBC-McMaster do.

    Raises:
        ValueError: There are fewer than two folds or subjects, or rows in none of them.
    """
    chosen = _subjects_out(data) if folds == LOSO else _folds(data, int(folds))
    return _multiply("within", [_cut(data, *fold) for fold in chosen], common)


def cross(train: Sequence[DataSet], tests: Sequence[DataSet], common: Common) -> list[Run]:
    """A run per test set, trained on the AUs that both sides have, as the field does for BP4D and DISFA.

    Test sets with the same AUs share a training: the run that comes first does it.

    Raises:
        ValueError: A test set is trained on, or shares no AU with the training sets.
    """
    twice = {data.name for data in train} & {data.name for data in tests}
    if twice or not train or not tests:
        got = f"{', '.join(sorted(twice))} on both sides" if twice else "an empty side"
        raise ValueError(f"Expected data sets to train on and others to test on, but got {got}")
    names = tuple(data.name for data in train)
    runs = [Run("", "", "", names, "", Rows(test.name), au_names=shared_aus(train, test)) for test in tests]
    return _multiply("cross", runs, common)


def efficiency(
    data: DataSet,
    common: Common,
    *,
    sizes: Sequence[int | float] = SIZES,
    folds: int = FOLDS,
    min_steps: int = MIN_STEPS,
) -> list[Run]:
    """`within` on random frames of all training subjects; a smaller subset lies in the larger ones.

    Raises:
        ValueError: As `within`; or a size is no number of frames and no fraction.
    """
    for size in sizes:
        number = isinstance(size, int | float) and not isinstance(size, bool)
        if not number or size <= 0 or (isinstance(size, float) and size > 1):
            raise ValueError(
                f"Expected `sizes` to be numbers of frames, at least 1, or fractions in (0, 1], but got {size!r}"
            )
    runs = _multiply("efficiency", [_cut(data, *fold) for fold in _folds(data, folds)], common)
    return [replace(run, subset=size, min_steps=min_steps) for size, run in itertools.product(sizes, runs)]


def micro(data: Sequence[DataSet], split: str, common: Common) -> list[Run]:
    """Micro-expression clips, one prediction each.

    `loso` leaves one subject out, `4fold` a quarter of the subjects (seeded, ours: no paper publishes its lists), both
    in each data set by itself; `lodo` leaves one data set out (CD6ME, its 12 AUs).

    Raises:
        ValueError: There is no such split, a data set has no clips, or there are too few data sets or subjects.
    """
    if split not in MICRO_SPLITS:
        raise ValueError(f"Expected `split` to be one of {', '.join(MICRO_SPLITS)}, but got {split!r}")
    for one in data:
        if one.facts is not None and not one.facts.has_clips:
            raise ValueError(
                f"Expected {one.name} to hold clips (columns `clip`, `onset`, `apex`, `offset`), but it has none"
            )
    if split == "lodo":
        runs = _leave_one_data_set_out(data)
    elif split == "4fold":
        runs = [_cut(one, *fold) for one in data for fold in _four_folds(one)]
    else:
        runs = [_cut(one, *fold) for one in data for fold in _subjects_out(one)]
    return _multiply("micro", [replace(run, clips=True) for run in runs], common)


def _leave_one_data_set_out(data: Sequence[DataSet]) -> list[Run]:
    """A run per data set, trained on all others, over the AUs of CD6ME."""
    if len(data) < 2:
        raise ValueError(
            f"Expected at least two data sets to leave one out, but got {', '.join(one.name for one in data) or 'none'}"
        )
    runs = []
    for one in data:
        rest = [other for other in data if other.name != one.name]
        shared_aus(rest, one)  # refuses those without a common one
        names = tuple(other.name for other in rest)
        runs.append(Run("", "", "", names, "", Rows(one.name), fold=one.name, au_names=AU_SETS["cd6me"]))
    return runs


Fold = tuple[str, "str | None", "tuple[str, ...] | None", tuple[str, ...], str]
"""Arguments of `_cut` after the data set."""


def _subjects_out(data: DataSet) -> list[Fold]:
    """A fold per subject; of absent data one that stands for all."""
    if data.facts is None:
        return [("", None, None, (), "each subject left out")]
    subjects = data.facts.subjects
    if len(subjects) < 2:
        raise ValueError(
            f"Expected at least two subjects in {data.name} to leave one out, but got {', '.join(subjects) or 'none'}"
        )
    plain = [subject.partition("/")[2] for subject in subjects]
    shown = plain if len(set(plain)) == len(plain) else subjects
    return [(name, None, (subject,), (), "") for name, subject in zip(shown, subjects, strict=True)]


def _folds(data: DataSet, folds: int) -> list[Fold]:
    """The folds of a data set: published ones, those of its column `fold`, or ours."""
    published = tuple(PUBLISHED_FOLDS.get(dataset_id(data.name), {}))
    if data.facts is None:
        if published:
            return [(name, name, None, (), "") for name in published]
        return _our_folds(data, folds) if data.rendered else [("", None, None, (), "each fold")]
    known = data.facts
    if not known.folds:
        return _our_folds(data, folds)
    if known.without_fold:
        raise ValueError(
            f"Expected every row of {data.name} to be in a fold, but {known.without_fold:,} rows have an empty `fold`: "
            "they would be trained on in every run; give them one, or leave the column out for folds of ours"
        )
    if len(known.folds) < 2:
        raise ValueError(
            f"Expected at least two folds in {data.name}, but its column `fold` knows only {', '.join(known.folds)}; "
            "name others there, or leave the column out for folds of ours"
        )
    missing = [
        name for one in known.datasets for name in PUBLISHED_FOLDS.get(dataset_id(one), {}) if name not in known.folds
    ]
    told = [f"{data.name}: the published folds {', '.join(missing)} are missing"] if missing else []
    told += [OURS.format(data.name)] if any(name.startswith("ours") for name in known.folds) else []
    return [(name, name, None, tuple(told), "") for name in known.folds]


def _four_folds(data: DataSet) -> list[Fold]:
    """Four folds of ours: those that `auformer prepare` wrote, else the same division of the subjects."""
    prepared = data.facts is not None and len(data.facts.folds) == MICRO_FOLDS
    return _folds(data, MICRO_FOLDS) if prepared else _our_folds(data, MICRO_FOLDS)


def _our_folds(data: DataSet, folds: int) -> list[Fold]:
    """Folds of our own: subjects divided at random."""
    warning = OURS.format(data.name)
    if data.facts is None:
        return [(f"ours{number}", None, None, (warning,), "") for number in range(1, folds + 1)]
    if not 2 <= folds <= len(data.facts.subjects):
        told = f"at least 2 and at most the {len(data.facts.subjects)} subjects of {data.name}"
        raise ValueError(f"Expected the number of folds to be {told}, but got {folds}")
    divided = enumerate(subject_folds(data.facts.subjects, folds, FOLD_SEED), 1)
    return [(f"ours{number}", None, tuple(subjects), (warning,), "") for number, subjects in divided]


def _cut(
    data: DataSet, name: str, fold: str | None, subjects: tuple[str, ...] | None, warnings: tuple[str, ...] = (),
    stands_for: str = "",
) -> Run:  # fmt: skip
    """A run that tests on some rows of the data set that it is trained on: those of a `fold`, or of subjects."""
    test = Rows(data.name, fold, subjects)
    return Run("", "", "", (data.name,), "", test, fold=name, warnings=warnings, stands_for=stands_for)


def _multiply(protocol: str, runs: Sequence[Run], common: Common) -> list[Run]:
    """The runs of a protocol for every method and seed."""
    if not common.methods or not common.seeds:
        raise ValueError("Expected at least one method and one seed, but got none")
    name = common.name or protocol
    return [
        replace(run, protocol=protocol, name=name, method=method, validation=validation, seed=seed, init=common.init)
        for (method, validation), seed, run in itertools.product(common.methods, common.seeds, runs)
    ]

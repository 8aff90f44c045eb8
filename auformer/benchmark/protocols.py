"""Which runs a protocol is made of; nothing is trained or opened here.

A protocol is a list of `Run`: what to train on, how the epoch is chosen, what to test on. What is known of the data comes as `Facts`; a
data set that is not there yet has none, and then a run may stand for many (`Run.stands_for`), which a dry run says.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from auformer.aus import AU_SETS
from auformer.benchmark.data_facts import DataSet, shared_aus
from auformer.benchmark.run import Common, Rows, Run
from auformer.data.splits import PUBLISHED_PARTS, dataset_id, subject_folds

MICRO_SPLITS = ("loso", "4fold", "lodo")
FOLDS, MICRO_FOLDS = 3, 4  # as the published folds of BP4D and DISFA; as the 4-fold protocol of the micro-expression papers
FOLD_SEED = 0  # of the folds that are ours: the same for all methods and seeds [ours]
OURS = f"{{}}: the folds are ours (subjects divided at random, seed {FOLD_SEED})"
# A hundred frames in 20 epochs are 140 steps, from which little is learnt: the curve would show steps, not data [ours].
MIN_STEPS = 500
SIZES: tuple[int | float, ...] = (100, 1000, 5000, 10000, 1.0)  # training frames, and all of them (method.md 5)


def within(data: DataSet, common: Common, *, folds: int = FOLDS) -> list[Run]:
    """A run per fold: those of the column `fold`, which the published ones are in; without it `folds` of ours, by subject.

    Raises:
        ValueError: There are fewer than two folds, or rows in none of them.
    """
    return _multiply("within", [_cut(data, *part) for part in _parts(data, folds)], common)


def cross(train: Sequence[DataSet], tests: Sequence[DataSet], common: Common) -> list[Run]:
    """A run per test set, trained on the AUs that both sides have, as the field does for BP4D and DISFA.

    Test sets with the same AUs share a training: whichever run comes first does it (`trained_once`).

    Raises:
        ValueError: A test set is trained on, or shares no AU with the training sets.
    """
    twice = {data.name for data in train} & {data.name for data in tests}
    if twice or not train or not tests:
        got = f"{', '.join(sorted(twice))} on both sides" if twice else "an empty side"
        raise ValueError(f"Expected data sets to train on and others to test on, but got {got}")
    names = tuple(data.name for data in train)
    first = Run("", "", "", names, "", Rows(names))
    return _multiply("cross", [replace(first, test=Rows((test.name,)), au_names=shared_aus(train, test)) for test in tests], common)


def efficiency(
    data: DataSet, common: Common, *, sizes: Sequence[int | float] = SIZES, folds: int = FOLDS, min_steps: int = MIN_STEPS
) -> list[Run]:
    """`within` on random frames of all training subjects: a smaller subset lies in the larger ones, the test folds stay whole.

    Raises:
        ValueError: As `within`; or a size is no number of frames and no fraction.
    """
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | float) or size <= 0 or (isinstance(size, float) and size > 1):
            raise ValueError(f"Expected `sizes` to be numbers of frames, at least 1, or fractions in (0, 1], but got {size!r}")
    runs = _multiply("efficiency", [_cut(data, *part) for part in _parts(data, folds)], common)
    return [replace(run, subset=size, min_steps=min_steps) for size, run in itertools.product(sizes, runs)]


def micro(data: Sequence[DataSet], split: str, common: Common) -> list[Run]:
    """Micro-expression clips, one prediction each.

    Args:
        data: Data sets; `loso` and `4fold` are run in each by itself.
        split: `loso` leaves one subject out, `4fold` a quarter of the subjects (seeded, ours: no paper publishes its lists), `lodo` one
            data set (CD6ME, its 12 AUs).
        common: What the runs share.

    Raises:
        ValueError: There is no such split, a data set has no clips, or there are too few data sets or subjects.
    """
    if split not in MICRO_SPLITS:
        raise ValueError(f"Expected `split` to be one of {', '.join(MICRO_SPLITS)}, but got {split!r}")
    for one in data:
        if one.facts is not None and not one.facts.has_clips:
            raise ValueError(f"Expected {one.name} to hold clips (columns `clip`, `onset`, `apex`, `offset`), but it has none")
    if split == "lodo":
        runs = _leave_one_data_set_out(data)
    elif split == "4fold":
        runs = [_cut(one, *part) for one in data for part in _four_folds(one)]
    else:
        runs = [run for one in data for run in _leave_one_subject_out(one)]
    return _multiply("micro", [replace(run, clips=True) for run in runs], common)


def _leave_one_data_set_out(data: Sequence[DataSet]) -> list[Run]:
    """A run per data set, trained on all others, over the AUs of CD6ME."""
    if len(data) < 2:
        raise ValueError(f"Expected at least two data sets to leave one out, but got {', '.join(one.name for one in data) or 'none'}")
    runs = []
    for one in data:
        rest = [other for other in data if other.name != one.name]
        names = tuple(other.name for other in rest)
        shared_aus(rest, one)  # refuses those without a common one
        runs.append(Run("", "", "", names, "", Rows((one.name,)), fold=one.name, au_names=AU_SETS["cd6me"]))
    return runs


def _leave_one_subject_out(data: DataSet) -> list[Run]:
    """A run per subject; on absent data one that stands for all."""
    if data.facts is None:
        return [_cut(data, "", None, None, (), "each subject left out")]
    subjects = data.facts.subjects
    if len(subjects) < 2:
        raise ValueError(f"Expected at least two subjects in {data.name} to leave one out, but got {', '.join(subjects) or 'none'}")
    plain = [subject.partition("/")[2] for subject in subjects]
    shown = plain if len(set(plain)) == len(plain) else subjects
    return [_cut(data, name, None, (subject,)) for name, subject in zip(shown, subjects, strict=True)]


Part = tuple[str, "str | None", "tuple[str, ...] | None", tuple[str, ...], str]


def _parts(data: DataSet, folds: int) -> list[Part]:
    """Name, `fold`, subjects, warnings of each test part of a data set, and what it stands for."""
    published = tuple(PUBLISHED_PARTS.get(dataset_id(data.name), {}))
    if data.facts is None:
        if published:
            return [(name, name, None, (), "") for name in published]
        return _our_folds(data, folds) if data.rendered else [("", None, None, (), "each fold")]
    known = data.facts
    if not known.folds:
        return _our_folds(data, folds)
    if known.without_fold:
        raise ValueError(
            f"Expected every row of {data.name} to be in a fold, but {known.without_fold:,} rows have an empty `fold`: they would be "
            "trained on in every run; give them one, or leave the column out for folds of ours"
        )
    if len(known.folds) < 2:
        got = f"its column `fold` knows only {', '.join(known.folds)}; name other parts there, or leave the column out for folds of ours"
        raise ValueError(f"Expected at least two folds in {data.name}, but {got}")
    missing = [name for one in known.datasets for name in PUBLISHED_PARTS.get(dataset_id(one), {}) if name not in known.folds]
    told = [f"{data.name}: the published folds {', '.join(missing)} are missing"] if missing else []
    told += [OURS.format(data.name)] if any(name.startswith("ours") for name in known.folds) else []
    return [(name, name, None, tuple(told), "") for name in known.folds]


def _four_folds(data: DataSet) -> list[Part]:
    """Four folds of ours: those that `auformer prepare` wrote, else the same division of the subjects that are there."""
    prepared = data.facts is not None and len(data.facts.folds) == MICRO_FOLDS
    return _parts(data, MICRO_FOLDS) if prepared else _our_folds(data, MICRO_FOLDS)


def _our_folds(data: DataSet, folds: int) -> list[Part]:
    """Folds of our own: subjects divided at random."""
    warning = OURS.format(data.name)
    if data.facts is None:
        return [(f"ours{number}", None, None, (warning,), "") for number in range(1, folds + 1)]
    if not 2 <= folds <= len(data.facts.subjects):
        told = f"at least 2 and at most the {len(data.facts.subjects)} subjects of {data.name}"
        raise ValueError(f"Expected the number of folds to be {told}, but got {folds}")
    parts = enumerate(subject_folds(data.facts.subjects, folds, FOLD_SEED), 1)
    return [(f"ours{number}", None, tuple(part), (warning,), "") for number, part in parts]


def _cut(
    data: DataSet, name: str, fold: str | None, subjects: tuple[str, ...] | None, warnings: tuple[str, ...] = (), stands_for: str = ""
) -> Run:
    """A run that tests on a part of the data set that it is trained on."""
    test = Rows((data.name,), fold, subjects)
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

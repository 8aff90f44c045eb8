"""Lines of `runs.jsonl`, sorted into what belongs in one table: the same data and test, and in it a method per row.

A line stands for one training and one test. The lines of a method differ in fold and seed only; lines that differ in
the configuration, the size of the training set, the checkpoint they start from or the way their epoch was chosen are
different rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from auformer.data.splits import PUBLISHED_FOLDS, dataset_id
from auformer.files import digest

Line = Mapping[str, Any]
NEEDED = (
    "key", "protocol", "name", "data", "test", "method", "fold", "subset", "seed", "config_hash", "select", "init",
    "config", "aus", "counts", "counts_tuned", "auroc", "ap", "ece", "reliability", "rows", "unscored", "unknown",
)  # fmt: skip
TITLES = {"within": "Within", "cross": "Cross-domain", "efficiency": "Data efficiency", "micro": "Micro-expressions"}
"""Titles of the protocols, in the order of the page."""
DAGGER = "†"
MANY = 6  # folds that a warning still names [ours]


def group_title(protocol: str, name: str, data: str, test: str) -> str:
    """Protocol and data in words."""
    where = f"{data} → {test}" if test else f"{data.replace('+', ', ')}, one data set left out at a time"
    where = data if test == data else where
    return f"{TITLES.get(protocol, protocol)}: {where}" + (f" ({name})" if name != protocol else "")


def file_name(protocol: str, name: str, data: str, test: str, taken: set[str]) -> str:
    """A file name without letters that file systems or LaTeX mind."""
    parts = [protocol, *([name] if name != protocol else []), data, *([test] if test not in (data, "") else [])]
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(parts)).strip("-.")
    number = 2
    while stem.lower() in {other.lower() for other in taken}:
        stem, number = f"{stem.removesuffix(f'-{number - 1}')}-{number}", number + 1
    return stem


def natural(value: Any) -> tuple[Any, ...]:
    """Order in which sub2 stands before sub10.

    >>> sorted(["sub10", "sub2", "P1"], key=natural)
    ['P1', 'sub2', 'sub10']
    """
    parts = value if isinstance(value, tuple) else (value,)
    texts = [re.split(r"(\d+)", str(part)) for part in parts]
    return tuple([(int(piece), "") if piece.isdigit() else (-1, piece) for piece in text] for text in texts)


def subset_order(subset: int | float | None) -> tuple[int, float]:
    """Order of training sizes: numbers of frames, then fractions, then all.

    >>> sorted([None, 0.5, 1000, 100], key=subset_order)
    [100, 1000, 0.5, None]
    """
    return (2, 0.0) if subset is None else (int(isinstance(subset, float)), float(subset))


@dataclass(frozen=True)
class Method:
    """One row of a table."""

    label: str  # what it is called, unlike every other of its group
    subset: int | float | None  # number or fraction of the training rows; None: all
    select: str  # how the epoch was chosen: `validation`, `test` or `last`
    runs: Mapping[tuple[int, str], Line]  # (seed, fold) -> line

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs, in order."""
        return sorted({seed for seed, _ in self.runs})

    @property
    def on_test(self) -> bool:
        """Whether the epoch was chosen on the test split: every number of the method then carries a dagger."""
        return self.select == "test"

    def warnings(self) -> list[str]:
        """What a reader of its numbers should know, with the folds that it is about unless it is about all."""
        folds: dict[str, list[str]] = {}
        for (_, fold), line in self.runs.items():
            for text in dict.fromkeys(map(str, line.get("warnings") or ())):
                folds.setdefault(text, []).append(fold)
        shown = []
        for text, places in sorted(folds.items()):
            names = list(dict.fromkeys(places))
            where = f"{len(names)} folds" if len(names) > MANY else f"fold{'s' * (len(names) > 1)} {', '.join(names)}"
            shown.append(text if len(places) == len(self.runs) else f"{text} ({where})")
        return shown


@dataclass(frozen=True)
class Group:
    """What belongs in one table."""

    name: str  # stem of its files
    title: str  # protocol and data in words
    protocol: str  # `within`, `cross`, `efficiency` or `micro`
    data: str  # training data
    test: str  # test data
    au_names: tuple[str, ...]  # AUs of any method, by number
    folds: tuple[str, ...]  # test splits, also of runs that are not there
    methods: tuple[Method, ...]  # its rows
    others: int = 0  # how many lines were left out because another one has the same row, fold and seed

    @property
    def one_data_set_left_out(self) -> bool:
        """Whether each fold is a data set."""
        return self.protocol == "micro" and self.test == ""

    def missing(self) -> list[str]:
        """Runs that are not there, in words."""
        texts = []
        for method in self.methods:
            for seed in method.seeds:
                folds = [fold for fold in self.folds if (seed, fold) not in method.runs]
                if folds:
                    texts.append(f"{method.label}, seed {seed}: {', '.join(folds)}")
        return texts


def group_lines(lines: Sequence[Line]) -> list[Group]:
    """Sort lines into groups and methods; their order does not matter but for lines of one run, where the last counts.

    Raises:
        ValueError: There is none, or one lacks a key or contradicts itself.
    """
    if not lines:
        raise ValueError("Expected `lines` to hold at least one finished run, but got none.")
    for number, line in enumerate(lines, 1):
        _check_line(line, number)
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(_group_key(line), []).append(line)
    found: list[Group] = []
    for key in sorted(groups, key=_group_order):
        found.append(_group(key, groups[key], {group.name for group in found}))
    return found


def _check_line(line: Line, number: int) -> None:
    """Refuse a line that tables cannot be made from."""
    where = f"line {number} of the finished runs"
    lacking = ", ".join(name for name in NEEDED if name not in line)
    if lacking:
        raise ValueError(f"Expected {where} to hold {lacking}, but it does not: remove it to do the run again.")
    for name in ("counts", "counts_tuned"):
        counts = line[name]
        if counts is None and name == "counts_tuned":
            continue
        wrong = [au for au in line["aus"] if not _are_counts((counts or {}).get(au))]
        if wrong:
            raise ValueError(
                f"Expected `{name}` of {where} to hold four counts per subject of every AU, but not for {wrong[0]}."
            )


def _are_counts(subjects: Any) -> bool:
    """Whether a value is subject -> four counts."""
    return (
        isinstance(subjects, Mapping)
        and bool(subjects)
        and all(isinstance(cells, list) and len(cells) == 4 for cells in subjects.values())
        and all(isinstance(number, int) and number >= 0 for cells in subjects.values() for number in cells)
    )


def _group_key(line: Line) -> tuple[str, ...]:
    """What lines of one table have in common; where each fold leaves a data set out, all data sets together."""
    data, test = str(line["data"]), str(line["test"])
    if _leaves_data_set_out(line):
        data, test = "+".join(sorted({*data.split("+"), test})), ""
    return str(line["protocol"]), str(line["name"]), data, test


def _leaves_data_set_out(line: Line) -> bool:
    """Whether a run tests on a data set of micro-expressions that it was not trained on."""
    return bool(line["protocol"] == "micro" and str(line["test"]) not in str(line["data"]).split("+"))


def _group_order(key: tuple[str, ...]) -> tuple[Any, ...]:
    """The order of the protocols, then of names."""
    return ([*TITLES, key[0]].index(key[0]), *key)


def _group(key: tuple[str, ...], lines: Sequence[Line], taken: set[str]) -> Group:
    """The group of some lines."""
    protocol, name, data, test = key
    runs: dict[_Row, dict[tuple[int, str], Line]] = {}
    others = 0
    for line in lines:
        row = runs.setdefault(_row_of(line), {})
        place = (int(line["seed"]), str(line["fold"]))
        others += place in row and row[place]["key"] != line["key"]
        row[place] = line
    folds = {fold for row in runs.values() for _, fold in row}
    published = set(PUBLISHED_FOLDS.get(dataset_id(test), {}))
    folds |= published if folds <= published else set()
    labels = _labels(list(runs))
    methods = [
        Method(labels[row], row.subset, row.select, dict(sorted(places.items(), key=lambda item: natural(item[0]))))
        for row, places in runs.items()
    ]
    aus = sorted({str(au) for line in lines for au in line["aus"]}, key=lambda au: int(au[2:]))
    methods.sort(key=lambda method: (subset_order(method.subset), method.label))
    stem = file_name(protocol, name, data, test, taken)
    title = group_title(protocol, name, data, test)
    return Group(
        stem, title, protocol, data, test, tuple(aus), tuple(sorted(folds, key=natural)), tuple(methods), others
    )


class _Row(NamedTuple):
    """What lines of one row have in common."""

    method: str
    init: str
    subset: int | float | None
    select: str
    config: str
    data: str
    subset_type: str  # 1 row and all of them, 1.0, are equal numbers


def _row_of(line: Line) -> _Row:
    """The row of a line; where a data set is left out, the AUs follow from the others and are no matter of choice."""
    config = str(line["config_hash"])
    if _leaves_data_set_out(line):
        config = digest(sorted((name, value) for name, value in line["config"].items() if name != "au_names"))
    data = digest([line.get("data_sha256"), line.get("init_sha256")])
    subset = line["subset"]
    return _Row(
        str(line["method"]), str(line["init"] or ""), subset, str(line["select"]), config, data, type(subset).__name__
    )


def _labels(rows: Sequence[_Row]) -> dict[_Row, str]:
    """A name for each row: method, what it starts from, the dagger; where that is not enough, what else differs."""
    names = {}
    for row in rows:
        twins = [other for other in rows if other != row and other[:3] == row[:3]]
        name = row.method + (f" from {row.init}" if row.init else "") + (f" {DAGGER}" if row.select == "test" else "")
        name += " (last epoch)" if row.select == "last" and any(twin.select != "last" for twin in twins) else ""
        same = [twin for twin in twins if twin.select == row.select]
        name += f" (config {row.config[:6]})" if any(twin.config != row.config for twin in same) else ""
        names[row] = name + (f" (data {row.data[:6]})" if any(twin.data != row.data for twin in same) else "")
    return names

"""Lines of `runs.jsonl`, sorted into what belongs in one table: the same data and test, and in it a method per row.

A line stands for one training and one test. The lines of a method differ in fold and seed only; lines that differ in the configuration,
the size of the training set, the checkpoint they start from or the way their epoch was chosen are different rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auformer.data.splits import PUBLISHED_PARTS, dataset_id

Line = Mapping[str, Any]
NEEDED = (
    "key", "protocol", "name", "data", "test", "method", "fold", "subset", "seed", "config_hash", "select", "init",
    "aus", "counts", "counts_tuned", "auroc", "ap", "ece", "reliability", "rows", "unscored", "unknown",
)  # fmt: skip
DAGGER = "†"


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        label: What it is called, unlike every other of its group.
        subset: Number or fraction of the training rows; None: all.
        select: How the epoch was chosen: `validation`, `test` or `last`.
        runs: (seed, fold) -> line.
    """

    label: str
    subset: int | float | None
    select: str
    runs: Mapping[tuple[int, str], Line]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs, in order."""
        return sorted({seed for seed, _ in self.runs})

    @property
    def on_test(self) -> bool:
        """Whether the epoch was chosen on the test part: every number of the method then carries a dagger."""
        return self.select == "test"

    def warnings(self) -> list[str]:
        """What a reader of its numbers should know."""
        return sorted({str(text) for line in self.runs.values() for text in line.get("warnings") or ()})


@dataclass(frozen=True)
class Group:
    """What belongs in one table.

    Attributes:
        name: Stem of its files.
        title: Protocol and data in words.
        protocol: `within`, `cross`, `efficiency` or `micro`.
        data: Training data.
        test: Test data.
        au_names: AUs of any method, by number.
        folds: Test parts, also of runs that are not there.
        methods: Its rows.
        older: How many lines were left out because a later one has the same fold, seed and configuration.
    """

    name: str
    title: str
    protocol: str
    data: str
    test: str
    au_names: tuple[str, ...]
    folds: tuple[str, ...]
    methods: tuple[Method, ...]
    older: int = 0

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

    Args:
        lines: Lines of `runs.jsonl`.

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
    lacking = [name for name in NEEDED if name not in line]
    if lacking:
        raise ValueError(f"Expected {where} to hold {', '.join(lacking)}, but it does not: remove the line, and the run is done again.")
    for name in ("counts", "counts_tuned"):
        counts = line[name]
        wrong = [] if counts is None and name == "counts_tuned" else [au for au in line["aus"] if not _are_counts((counts or {}).get(au))]
        if wrong:
            raise ValueError(f"Expected `{name}` of {where} to hold four counts per subject of every AU, but it does not for {wrong[0]}.")


def _are_counts(subjects: Any) -> bool:
    """Whether a value is subject -> four counts."""
    if not isinstance(subjects, Mapping) or not subjects:
        return False
    return all(
        isinstance(cells, list) and len(cells) == 4 and all(isinstance(n, int) and n >= 0 for n in cells) for cells in subjects.values()
    )


def _group_key(line: Line) -> tuple[str, ...]:
    """What lines of one table have in common; where each fold leaves a data set out, all data sets together."""
    data, test = str(line["data"]), str(line["test"])
    if line["protocol"] == "micro" and test not in data.split("+"):
        data, test = "+".join(sorted({*data.split("+"), test})), ""
    return str(line["protocol"]), str(line["name"]), data, test


def _group_order(key: tuple[str, ...]) -> tuple[Any, ...]:
    """The order of the protocols, then of names."""
    order = ("within", "cross", "efficiency", "micro")
    return (order.index(key[0]) if key[0] in order else len(order), *key)


def _group(key: tuple[str, ...], lines: Sequence[Line], taken: set[str]) -> Group:
    """The group of some lines."""
    protocol, name, data, test = key
    runs: dict[tuple[Any, ...], dict[tuple[int, str], Line]] = {}
    older = 0
    for line in lines:
        row = runs.setdefault(_method_key(line), {})
        place = (int(line["seed"]), str(line["fold"]))
        older += place in row and row[place]["key"] != line["key"]
        row[place] = line
    folds = {fold for row in runs.values() for _, fold in row}
    published = set(PUBLISHED_PARTS.get(dataset_id(test), {}))
    folds |= published if folds <= published else set()
    labels = _labels(list(runs))
    methods = [
        Method(labels[row], first["subset"], str(first["select"]), dict(sorted(places.items(), key=lambda item: natural(item[0]))))
        for row, places in runs.items()
        for first in [next(iter(places.values()))]
    ]
    aus = sorted({str(au) for line in lines for au in line["aus"]}, key=lambda au: int(au[2:]))
    methods.sort(key=lambda method: (subset_order(method.subset), method.label))
    stem = _file_name(protocol, name, data, test, taken)
    title = _title(protocol, name, data, test)
    return Group(stem, title, protocol, data, test, tuple(aus), tuple(sorted(folds, key=natural)), tuple(methods), older)


def _method_key(line: Line) -> tuple[Any, ...]:
    """What lines of one row have in common."""
    return str(line["method"]), line["init"] or "", line["subset"], str(line["select"]), str(line["config_hash"])


def _labels(rows: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """A name for each row: the method's, what it starts from, the dagger; the hash of its configuration where the rest is not enough."""
    plain = {row: row[0] + (f" from {row[1]}" if row[1] else "") + (f" {DAGGER}" if row[3] == "test" else "") for row in rows}
    names = {row: plain[row] + (" (last epoch)" if row[3] == "last" and _twin(row, rows) else "") for row in rows}
    shown = [(name, row[2]) for row, name in names.items()]
    return {row: name if shown.count((name, row[2])) == 1 else f"{name} (config {row[4][:6]})" for row, name in names.items()}


def _twin(row: tuple[Any, ...], rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether another row differs in the choice of the epoch."""
    return any(other[:3] == row[:3] and other[3] != row[3] for other in rows)


def _title(protocol: str, name: str, data: str, test: str) -> str:
    """Protocol and data in words."""
    words = {"within": "Within", "cross": "Cross-domain", "efficiency": "Data efficiency", "micro": "Micro-expressions"}
    where = data if test == data else f"{data} → {test}" if test else f"{data.replace('+', ', ')}, one data set left out at a time"
    return f"{words.get(protocol, protocol)}: {where}" + (f" ({name})" if name != protocol else "")


def _file_name(protocol: str, name: str, data: str, test: str, taken: set[str]) -> str:
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

"""Lines of the ablation suite: which part of the page each belongs to, on which backbone, and what the suite had planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from auformer.benchmark.store import LINES, read_lines
from auformer.benchmark.suite import Suite, as_list

Line = Mapping[str, Any]
REFERENCE = "auformer"
"""The method that all others are compared with."""


class Planned(NamedTuple):
    """A method in an entry of the suite.

    Attributes:
        entry: Name of the entry.
        kind: What it is about, see `kind_of`.
        backbone: As `backbone_of` names it.
        method: Name of the method.
    """

    entry: str
    kind: str
    backbone: str
    method: str


def kind_of(entry: str) -> str:
    """What an entry is about: the first word of its name.

    >>> kind_of("noise-20"), kind_of("rivals")
    ('noise', 'rivals')
    """
    return entry.partition("-")[0]


def find_lines(path: Path) -> list[Line]:
    """Lines of a folder or its `runs.jsonl`, each run once.

    Args:
        path: The folder, or the file in it.

    Raises:
        ValueError: There is no such file, or it has another name.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / LINES).is_file() or (path != folder and path.name != LINES):
        raise ValueError(f"Expected a folder with {LINES}, or that file, but got {path}")
    return [line for _, line in sorted(read_lines(folder).items())]


def setting(line: Line, name: str) -> Any:
    """A hyper-parameter of the model that a line was trained with; None where it has none."""
    return line["config"].get("model", {}).get("init_args", {}).get(name)


def label_noise(line: Line) -> float:
    """Share of the training labels that were flipped, in [0, 1]."""
    return float(line["config"].get("data", {}).get("label_noise") or 0.0)


def backbone_of(line: Line) -> str:
    """The frozen ViT's name, or that of the file that its weights are from."""
    return _backbone(line["config"])


def _backbone(config: Mapping[str, Any]) -> str:
    arguments = config.get("model", {}).get("init_args", {})
    return (
        Path(str(arguments["checkpoint_path"])).stem
        if arguments.get("checkpoint_path")
        else str(arguments.get("backbone"))
    )


def planned(suite: Suite) -> list[Planned]:
    """What a suite wants to be run, in its order."""
    return [
        Planned(
            suite.name_of(entry),
            kind_of(suite.name_of(entry)),
            _backbone(suite.config_of(method, suite.name_of(entry))),
            method,
        )
        for entry in suite.entries
        for method in as_list(entry.get("methods")) or suite.methods
    ]


def planned_tests(suite: Suite) -> dict[str, list[str]]:
    """Kind of entry -> its test sets, in the order of the suite."""
    tests: dict[str, list[str]] = {}
    for entry in suite.entries:
        known = tests.setdefault(kind_of(suite.name_of(entry)), [])
        known += [str(test) for test in as_list(entry.get("test") or entry.get("data")) if str(test) not in known]
    return tests


def chosen(
    lines: Iterable[Line], kinds: Sequence[str], *, backbone: str | None = None, test: str | None = None
) -> list[Line]:
    """Lines of some kinds, on one backbone and one test set."""
    return [
        line
        for line in lines
        if kind_of(str(line["name"])) in kinds
        and (backbone is None or backbone_of(line) == backbone)
        and (test is None or line["test"] == test)
    ]


def in_order(values: Iterable[str], first: Iterable[str] = ()) -> list[str]:
    """Each value once: those of `first` that are among them, then the others as they come."""
    found = list(dict.fromkeys(values))
    return [*(one for one in dict.fromkeys(first) if one in found), *(one for one in found if one not in set(first))]


def differs(suite: Suite, method: str) -> str:
    """What a method of a suite sets, in words; empty for one that sets nothing."""
    settings = suite.methods[method].settings if method in suite.methods else {}
    return ", ".join(
        f"{name.removeprefix('model.')} {_plain(value)}"
        for name, value in settings.items()
        if name != "model.class_path"
    )


def _plain(value: Any) -> str:
    """A setting as it stands in a cell.

    >>> _plain([]), _plain([1, 3]), _plain(False), _plain(0.5)
    ('none', '1, 3', 'off', '0.5')
    """
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)

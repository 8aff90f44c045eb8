"""The form of a suite's file: which values are names, numbers, lists or mappings; what they mean is checked where they are used.

YAML takes `no` for false and 1 for a number wherever they stand: without this check, a text in the place of a switch would count as true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    """Whether a value is a mapping from text."""
    return isinstance(value, dict) and all(map(_is_text, value))


def _each(value: Any, check: Callable[[Any], bool]) -> bool:
    """Whether one value, or each of a list that is not empty, passes; none may be there twice."""
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(map(check, values)) and len(set(map(repr, values))) == len(values)


Check = tuple[Callable[[Any], bool], str]
TEXT: Check = (_is_text, "text")
NAMES: Check = (lambda value: _each(value, _is_text), "a name or a list of names, each once")
SEEDS: Check = (lambda value: _each(value, _is_whole), "whole numbers, at least 0, each once")
OF_METHODS: Check = (
    lambda value: all(map(SEEDS[0], value.values())) if _is_mapping(value) else SEEDS[0](value),
    f"{SEEDS[1]}, or a mapping of them by method",
)
BY_NAME: Check = (_is_mapping, "a mapping by name (a name that looks like a number needs quotes)")
SETTINGS: Check = (_is_mapping, "settings by dotted name, like {trainer.max_epochs: 5}")

# keys of the file, of a data set, of a method, and of an entry of `runs` -> what they hold; null always counts as not given
WHOLE: Mapping[str, Check] = {
    "out": TEXT, "seeds": SEEDS, "data": BY_NAME, "methods": BY_NAME, "needs": BY_NAME, "fast": BY_NAME,
    "runs": (lambda value: isinstance(value, list) and all(map(_is_mapping, value)), "a list of entries like {protocol: within, data: A}"),
}  # fmt: skip
SOURCE: Mapping[str, Check] = {"manifest": TEXT}
METHOD: Mapping[str, Check] = {"config": TEXT, "set": SETTINGS}
ENTRY: Mapping[str, Check] = {
    "protocol": TEXT, "name": TEXT, "methods": NAMES, "data": NAMES, "train": NAMES, "test": NAMES, "seeds": OF_METHODS, "set": SETTINGS,
    "select_on_test": (lambda value: isinstance(value, bool), "true or false"),
    "folds": (lambda value: _is_whole(value, 2), "a whole number, at least 2"),
    "sizes": (lambda value: _each(value, _is_number), "numbers of frames or fractions, each once"),
    "min_steps": (_is_whole, "a whole number, at least 0"),
    "split": TEXT,
    "init": (lambda value: _each(value, lambda one: one is None or _is_text(one)), "a checkpoint, null, or a list of them, each once"),
}  # fmt: skip
NEEDED = {"manifest", "config"}  # null does not stand for these


def check_form(content: Mapping[str, Any], path: Path) -> None:
    """Refuse values of another kind than a suite has in their places.

    Args:
        content: What the file holds, or its short form merged into it; keys may be missing.
        path: The file, for messages.

    Raises:
        ValueError: It names the key, where it stands, and what it should be.
    """
    _check(content, WHOLE, str(path))
    for name, source in (content.get("data") or {}).items():
        _check(source, SOURCE, f"the data set {name} in {path}")
    for name, method in (content.get("methods") or {}).items():
        _check(method, METHOD, f"the method {name} in {path}")
    for number, entry in enumerate(content.get("runs") or [], 1):
        _check(entry, ENTRY, f"entry {number} of `runs` in {path}")


def _check(content: Any, rules: Mapping[str, Check], where: str) -> None:
    """Refuse the first value that is not what its key holds; what is no mapping at all is told by whoever reads it."""
    for key, (check, words) in rules.items():
        if not isinstance(content, dict) or key not in content or (content[key] is None and key not in NEEDED):
            continue
        if not check(content[key]):
            raise ValueError(f"Expected `{key}` of {where} to be {words}, but got {content[key]!r}")

"""Configuration files that build on others: `base: base.yaml` in a file means that one first, then this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

FLAGS = ("--config", "-c")


def with_bases(args: Sequence[str]) -> list[str]:
    """Put the files that a configuration file builds on before it.

    Args:
        args: Words of a command line.

    Returns:
        The words with `--config BASE` before each `--config FILE` whose YAML has the key `base`, a path relative to FILE.

    Raises:
        ValueError: A base does not exist, or files build on each other in a circle.
    """
    words: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        flag, _, path = word.partition("=")
        if flag not in FLAGS or (not path and not rest):
            words.append(word)
            continue
        path = path or rest.pop(0)
        for base in _bases(Path(path), ()):
            words += ["--config", str(base)]
        words += ["--config", path]
    return words


def _bases(path: Path, seen: tuple[Path, ...]) -> list[Path]:
    """Files that one builds on, the first one at the front; none for what is not a readable YAML file (the parser says why)."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []
    name = content.get("base") if isinstance(content, dict) else None
    if name is None:
        return []
    base = path.parent / str(name)
    if base in seen or not base.is_file():
        raise ValueError(f"Expected `base` in {path} to be a file that does not build on it, but got {name!r}")
    return [*_bases(base, (*seen, path, base)), base]


def merged_config(path: Path) -> dict[str, Any]:
    """A configuration file together with what it builds on, as plain values, for programs.

    Args:
        path: The file.

    Raises:
        ValueError: It is missing or no YAML mapping, or what it builds on does not exist.
    """
    merged: dict[str, Any] = {}
    for file in [*_bases(path, ()), path]:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"Expected {file} to be a YAML configuration, but it cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"Expected {file} to be a YAML mapping of settings, but got {type(content).__name__}")
        merged = deep_merge(merged, content)
    merged.pop("base", None)
    return merged


def deep_merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them; mappings are merged, all else is replaced.

    >>> deep_merge({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]})
    {'a': {'x': 1, 'y': 3}, 'b': [2]}
    """
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = deep_merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged

"""Configuration files that build on others: `base: base.yaml` in a file means that one first, then this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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

"""Runs of an earlier version of the package: an option that came later changes nothing as long as it has its default.

Every option begins with a default that leaves all as it was; so a run from before is the run that is asked for now, if its configuration
lacks such options only. Its line then gets the configuration in full, with its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from auformer.benchmark.store import (
    CLAIM,
    LINE,
    LINES,
    Line,
    folder_of,
    identity,
    read_json,
    read_lines,
    waiting_lock,
    write_json,
)
from auformer.files import atomic_path
from auformer.training.config import resolve_config

RENEWED = ("key", "config", "config_hash")
SOURCES = ("init_sha256", "test_subjects", "data_sha256")


def renew_lines(out: Path, claims: Iterable[Mapping[str, Any]]) -> int:
    """Give the lines and claims of earlier runs the options that have come since, where these have their defaults.

    Args:
        out: Folder of the benchmark.
        claims: What is to be run now.

    Returns:
        How many finished runs were renewed.
    """
    wanted = {identity(claim): claim for claim in claims}
    renewed = {
        name: line for name, line in read_lines(out).items() if name in wanted and _only_lacks(line, wanted[name])
    }
    for name, claim in wanted.items():
        folder = folder_of(out, claim)
        for path in (folder / CLAIM, folder / LINE):
            found = read_json(path)
            if found is not None and identity(found) == name and _only_lacks(found, claim):
                write_json(_renewed(found, claim), path)
    if (out / LINES).is_file() and renewed:
        with waiting_lock(out / f".{LINES}.lock"):
            _rewrite(out / LINES, wanted)
    return len(renewed)


def _rewrite(path: Path, wanted: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
    """Renew the lines of `runs.jsonl`; all others stay as they are, byte for byte."""
    texts = []
    for text in path.read_bytes().rpartition(b"\n")[0].splitlines():
        line = json.loads(text.decode("utf-8"))
        claim = wanted.get(identity(line))
        if claim is not None and _only_lacks(line, claim):
            text = json.dumps(_renewed(line, claim), ensure_ascii=False, allow_nan=False).encode("utf-8")
        texts.append(text + b"\n")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(texts))


def _renewed(found: Mapping[str, Any], claim: Mapping[str, Any]) -> Line:
    """A line, or a claim, with the configuration that is asked for now."""
    return {name: claim[name] if name in RENEWED else value for name, value in found.items()}


def _only_lacks(found: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    """Whether a run from before is the one of a claim but for options that it does not know and that have their defaults."""
    if found.get("key") == claim["key"] or any(found.get(name) != claim.get(name) for name in SOURCES):
        return False
    old, new = found.get("config"), claim["config"]
    if not isinstance(old, Mapping) or not _is_part(old, new):
        return False
    return _absent_are_default(old, new, _defaults(str(new["model"]["class_path"])))


def _defaults(class_path: str) -> dict[str, Any]:
    """What a configuration says that names nothing but a class."""
    return resolve_config({"model": {"class_path": class_path}}).plain()


def _is_part(old: Any, new: Any) -> bool:
    """Whether everything that one configuration says, another one says too."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(name in new and _is_part(value, new[name]) for name, value in old.items())
    return type(old) is type(new) and bool(old == new)


def _absent_are_default(old: Mapping[str, Any], new: Mapping[str, Any], default: Mapping[str, Any]) -> bool:
    """Whether all that only the newer configuration says has its default."""
    for name, value in new.items():
        if name not in old:
            if name not in default or default[name] != value:
                return False
        elif isinstance(value, Mapping) and not _absent_are_default(old[name], value, default.get(name) or {}):
            return False
    return True

"""The YAML file of a suite.

    out: runs/mine                    # optional
    seeds: [0, 1, 2]                  # optional, default [0]
    data:
      bp4d: {manifest: data/bp4d.csv}                       # relative to the suite
      lab_a: {synth: {lab: A, subjects: 30, frames: 60}}    # arguments of `auformer synth`
    methods:
      auformer: {config: bp4d.yaml, set: {trainer.max_epochs: 10}}
    runs:
      - {protocol: within, data: bp4d}
      - {protocol: cross, train: bp4d, test: [lab_a], seeds: {default: [0], auformer: [0, 1, 2]}}
      - {protocol: efficiency, data: bp4d, sizes: [100, 1.0], methods: [auformer], seeds: [0]}
      - {protocol: micro, data: [clips], split: 4fold, init: [null, demo], set: {data.clip_input: difference}}
    fast: {seeds: [0], ...}           # what `--fast` changes, in the same form

An entry of `runs` may have a `name`, and `select_on_test: true`. A file that `set` names as `model.checkpoint_path` is relative to the
suite; `needs: {FILE: COMMAND}` says how to make one that is not there. `base: OTHER.yaml` builds on another suite, in the same folder: all
paths count from that of the file that is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from auformer.benchmark.data_facts import data_name
from auformer.benchmark.suite import Method, Source, Suite, as_list
from auformer.benchmark.suite_form import check_form
from auformer.training.config_files import deep_merge, merged_config


def read_suite(path: Path, *, fast: bool = False, out: Path | None = None) -> Suite:
    """Read a suite.

    Args:
        path: YAML file.
        fast: Take what its `fast` says over the rest.
        out: Folder of runs and results in place of its own.

    Raises:
        ValueError: It is no suite, or contradicts itself.
    """
    content = merged_config(path)
    check_form(content, path)
    short = content.pop("fast", None)
    if fast and short is None:
        raise ValueError(f"Expected {path} to say under `fast` what the short form is, but it has no such key")
    content = deep_merge(content, short) if fast else content
    check_form(content, path)
    odd = sorted(set(content) - {"out", "seeds", "data", "methods", "runs", "needs"})
    missing = [key for key in ("data", "methods", "runs") if not content.get(key)]
    if odd or missing:
        told = f"without {', '.join(missing)}" if missing else f"with {', '.join(odd)}"
        raise ValueError(
            f"Expected {path} to be a suite of `data`, `methods` and `runs` (and `out`, `seeds`, `needs`, `fast`), but got one {told}"
        )
    folder = path.resolve().parent
    out = out or Path(content.get("out") or Path("runs") / f"{path.stem}{'-fast' if fast else ''}")
    data = {name: _source(str(name), value, folder, out) for name, value in content["data"].items()}
    methods = {str(name): _method(str(name), value, folder) for name, value in content["methods"].items()}
    needs = {str(name): str(command) for name, command in (content.get("needs") or {}).items()}
    return Suite(out, data, methods, content["runs"], tuple(as_list(content.get("seeds", 0))), folder, needs)


def _source(name: str, value: Any, folder: Path, out: Path) -> Source:
    """Where a data set of a suite is."""
    if isinstance(value, dict) and set(value) == {"manifest"}:
        return Source(folder / str(value["manifest"]))
    if isinstance(value, dict) and set(value) == {"synth"} and isinstance(value["synth"], dict):
        return Source(out / "data" / name / "manifest.csv", value["synth"])
    raise ValueError(f"Expected the data set {name} to be {{manifest: FILE}} or {{synth: {{...}}}}, but got {value!r}")


def _method(name: str, value: Any, folder: Path) -> Method:
    """A method of a suite."""
    if isinstance(value, dict) and "config" in value and set(value) <= {"config", "set"}:
        return Method(folder / str(value["config"]), value.get("set") or {})
    raise ValueError(f"Expected the method {name} to be {{config: FILE, set: {{...}}}}, but got {value!r}")


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` words as settings; values as in YAML.

    >>> parse_settings(["trainer.max_epochs=5"])
    {'trainer.max_epochs': 5}
    """
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"Expected settings like trainer.max_epochs=5, but got {word!r}")
        settings[name] = yaml.safe_load(value)
    return settings


def sources(manifests: Sequence[Path]) -> dict[str, Source]:
    """Manifests by the names that they have by themselves.

    Raises:
        ValueError: Two have the same name.
    """
    found = {data_name(path): Source(path) for path in manifests}
    if len(found) < len(manifests):
        raise ValueError(f"Expected manifests with different names, but got {', '.join(map(str, manifests))}: rename one, or write a suite")
    return found


def method_words(words: Sequence[str]) -> dict[str, Method]:
    """Methods from `FILE` or `NAME=FILE`; a file's own name is that of the network that it trains.

    Raises:
        ValueError: Two have the same name.
    """
    methods: dict[str, Method] = {} if words else {"auformer": Method(None)}
    for word in words:
        name, equals, path = word.rpartition("=")
        method = Method(Path(path))
        name = name if equals else method_name(method.plain())
        if name in methods:
            raise ValueError(f"Expected methods with different names, but {path} is {name} again: write NAME={path}")
        methods[name] = method
    return methods


def method_name(config: Mapping[str, Any]) -> str:
    """What a configuration trains, by its class.

    >>> method_name({"model": {"class_path": "auformer.training.baselines.LinearProbeModule"}}), method_name({})
    ('linear_probe', 'auformer')
    """
    kind = str((config.get("model") or {}).get("class_path") or "AUModule").rpartition(".")[2].removesuffix("Module")
    return "auformer" if kind == "AU" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()

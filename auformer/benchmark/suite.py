"""A suite: data sets, methods and protocols by name; from a YAML file or the options of `auformer benchmark`.

The form of a suite's file: which values are names, numbers, lists or mappings; what they mean is checked where they are used.

YAML takes `no` for false and 1 for a number wherever they stand: without this check, a text in the place of a switch would count as true.

The YAML file of a suite.

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

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from auformer.benchmark import protocols
from auformer.benchmark.protocols import Common, DataSet, Run, data_name, find_facts
from auformer.training.config import deep_merge, merged_config


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


# keys of an entry of `runs`, by protocol; those of all protocols first
SHARED = ("protocol", "name", "methods", "seeds", "set", "select_on_test")
KEYS = {
    "within": ("data", "folds"),
    "cross": ("train", "test"),
    "efficiency": ("data", "sizes", "folds", "min_steps"),
    "micro": ("data", "split", "init"),
}
NO_INIT = (None, "", "none")
DEFAULT = {
    "model": {"init_args": {"img_size": 224}},
    "data": {"image_size": 224},
}  # as experiments/base.yaml, all else by default


@dataclass(frozen=True)
class Source:
    """Where a data set is: a manifest, or what `auformer synth` takes to make it."""

    manifest: Path
    synth: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Method:
    """A configuration file of `auformer fit` and settings that replace its own, by dotted name; without a file, AUFormer on ViT-B."""

    config: Path | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def plain(self, settings: Mapping[str, Any] | None = None, folder: Path = Path()) -> dict[str, Any]:
        """The configuration in plain values as in YAML, with further settings over it.

        Args:
            settings: By dotted name, over the method's own.
            folder: What the file of the weights is relative to where settings name it; where the configuration file does, it is relative
                to the working folder, as for `auformer fit`.
        """
        own = DEFAULT if self.config is None else merged_config(self.config)
        return deep_merge(own, _with_local_weights(nested({**self.settings, **(settings or {})}), folder))


@dataclass(frozen=True)
class Suite:
    """Everything that a benchmark is made of.

    Attributes:
        out: Folder of runs and results.
        data: Data sets by name.
        methods: Methods by name.
        entries: Protocols with their options, see the module.
        seeds: For entries that name none.
        folder: What checkpoints named by entries, and weights named by settings, are relative to.
        needs: Files, relative to `folder`, and the command that makes each.
    """

    out: Path
    data: Mapping[str, Source]
    methods: Mapping[str, Method]
    entries: Sequence[Mapping[str, Any]]
    seeds: tuple[int, ...] = (0,)
    folder: Path = Path()
    needs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [self.name_of(entry) for entry in self.entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            got = f"{', '.join(twice)} twice" if twice else "none"
            raise ValueError(f"Expected `runs` to be entries with a `name` each, but got {got}")
        for entry in self.entries:
            self._check(entry)

    @staticmethod
    def name_of(entry: Mapping[str, Any]) -> str:
        """What an entry is called."""
        return str(entry.get("name") or entry.get("protocol"))

    def find_data(self) -> dict[str, DataSet]:
        """The data sets, with what is known of those that are there."""
        return {
            name: DataSet(name, source.manifest, find_facts(source.manifest), source.synth is not None)
            for name, source in self.data.items()
            if self.uses(name)
        }

    def uses(self, name: str) -> bool:
        """Whether an entry names a data set."""
        return any(name in as_list(entry.get(key)) for entry in self.entries for key in ("data", "train", "test"))

    def config_of(self, method: str, entry_name: str) -> dict[str, Any]:
        """The configuration of a method in an entry, plain values as in the YAML file."""
        entry = next(entry for entry in self.entries if self.name_of(entry) == entry_name)
        return self.methods[method].plain(entry.get("set"), self.folder)

    def check_weights(self, method: str, path: str | Path | None) -> None:
        """Refuse a file of weights that is not there.

        Raises:
            ValueError: It names the command that makes the file, where the suite says it.
        """
        if path is None or Path(path).is_file():
            return
        commands = [
            command for name, command in self.needs.items() if (self.folder / name).resolve() == Path(path).resolve()
        ]
        how = f"make it with: {commands[0]}" if commands else "check `model.checkpoint_path`"
        raise ValueError(f"Expected the weights of {method} to be at {path}, but there is no such file; {how}")

    def checkpoint_of(self, run: Run) -> str | None:
        """The checkpoint that a run starts from, as `load_detector` takes it."""
        entry = next(entry for entry in self.entries if self.name_of(entry) == run.name)
        named = {
            _init_parts(str(text))[0]: self._resolved(str(text))
            for text in as_list(entry.get("init"))
            if text not in NO_INIT
        }
        return None if run.init is None else named[run.init]

    def _resolved(self, text: str) -> str:
        """A checkpoint as `load_detector` takes it: a path relative to the suite, or the name of a packaged or hub one."""
        path = _init_parts(text)[1]
        return path if path == "demo" or "://" in path else str(self.folder / path)

    def runs(self, data: Mapping[str, DataSet]) -> list[Run]:
        """All runs.

        Args:
            data: As `find_data` gives it.

        Raises:
            ValueError: An entry contradicts its data.
        """
        return [run for entry in self.entries for run in self._runs(entry, data)]

    def _runs(self, entry: Mapping[str, Any], data: Mapping[str, DataSet]) -> list[Run]:
        """The runs of one entry."""
        name, protocol = self.name_of(entry), entry["protocol"]
        sets = {key: [data[one] for one in as_list(entry.get(key))] for key in ("data", "train", "test")}
        runs = []
        for text, (seeds, names) in itertools.product(as_list(entry.get("init")) or [None], self._seeds(entry).items()):
            methods = tuple((method, self._validation(method, entry)) for method in names)
            common = Common(methods, seeds, name, None if text in NO_INIT else _init_parts(str(text))[0])
            folds = entry.get("folds", protocols.FOLDS)
            if protocol == "within":
                runs += [run for one in sets["data"] for run in protocols.within(one, common, folds=folds)]
            elif protocol == "cross":
                runs += protocols.cross(sets["train"], sets["test"], common)
            elif protocol == "efficiency":
                sizes = as_list(entry.get("sizes")) or protocols.SIZES
                steps = {"min_steps": entry.get("min_steps", protocols.MIN_STEPS)}
                runs += [
                    run
                    for one in sets["data"]
                    for run in protocols.efficiency(one, common, sizes=sizes, folds=folds, **steps)
                ]
            else:
                runs += protocols.micro(sets["data"], entry.get("split", "loso"), common)
        return runs

    def _seeds(self, entry: Mapping[str, Any]) -> dict[tuple[int, ...], list[str]]:
        """Methods of an entry by their seeds: the same for all, or its own for each that `seeds` names."""
        given, methods = entry.get("seeds"), as_list(entry.get("methods")) or list(self.methods)
        if not isinstance(given, Mapping):
            return {tuple(as_list(given)) or self.seeds: methods}
        rest = tuple(as_list(given.get("default"))) or self.seeds
        found: dict[tuple[int, ...], list[str]] = {}
        for method in methods:
            found.setdefault(tuple(as_list(given.get(method))) or rest, []).append(method)
        return found

    def _validation(self, method: str, entry: Mapping[str, Any]) -> str:
        """How the epoch is chosen."""
        if entry.get("select_on_test"):
            return "test"
        config = self.config_of(method, self.name_of(entry))
        return "last" if config.get("select") == "last" else "validation"

    def _check(self, entry: Mapping[str, Any]) -> None:
        """Refuse an entry with keys that mean nothing, or names that are not there."""
        name, protocol = self.name_of(entry), entry.get("protocol")
        if protocol not in KEYS:
            raise ValueError(f"Expected `protocol` of {name} to be one of {', '.join(KEYS)}, but got {protocol!r}")
        odd = sorted(set(entry) - {*SHARED, *KEYS[protocol]})
        if odd:
            raise ValueError(
                f"Expected keys of {name} to be among {', '.join((*SHARED, *KEYS[protocol]))}, but got {', '.join(odd)}"
            )
        for key, known in (("methods", self.methods), ("data", self.data), ("train", self.data), ("test", self.data)):
            unknown = [str(one) for one in as_list(entry.get(key)) if one not in known]
            if unknown or (key in KEYS[protocol] and not as_list(entry.get(key))):
                got = ", ".join(unknown) or "none"
                raise ValueError(
                    f"Expected `{key}` of {name} to be among {', '.join(known) or 'those of the suite'}, but got {got}"
                )
        seeds, own = entry.get("seeds"), as_list(entry.get("methods")) or list(self.methods)
        unknown = [str(one) for one in seeds if one not in (*own, "default")] if isinstance(seeds, Mapping) else []
        if unknown:
            raise ValueError(
                f"Expected `seeds` of {name} to name its methods, or `default`, but got {', '.join(unknown)}"
            )


def as_list(value: Any) -> list[Any]:
    """None, one thing or several, as a list."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as a configuration; `model.lr` means `model.init_args.lr`, as on the command line of `auformer fit`.

    >>> nested({"trainer.max_epochs": 5, "model.lr": 0.1})
    {'trainer': {'max_epochs': 5}, 'model': {'init_args': {'lr': 0.1}}}
    """
    result: dict[str, Any] = {}
    for name, value in settings.items():
        *path, last = str(name).split(".")
        if path == ["model"] and last not in ("class_path", "init_args"):
            path = ["model", "init_args"]
        inner: Any = {last: value}
        for part in reversed(path):
            inner = {part: inner}
        result = deep_merge(result, inner)
    return result


def _with_local_weights(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Settings with the file of the weights, where they name one, relative to a folder."""
    path = ((settings.get("model") or {}).get("init_args") or {}).get("checkpoint_path")
    return (
        settings
        if path is None
        else deep_merge(settings, {"model": {"init_args": {"checkpoint_path": str(folder / str(path))}}})
    )


def _init_parts(text: str) -> tuple[str, str]:
    """Name and path of `NAME=CHECKPOINT` or `CHECKPOINT`: by itself, `demo`, the folder of an `adapter.safetensors`, or the file's name.

    >>> _init_parts("runs/bp4d/adapter.safetensors"), _init_parts("macro=runs/a.ckpt")
    (('bp4d', 'runs/bp4d/adapter.safetensors'), ('macro', 'runs/a.ckpt'))
    """
    name, _, place = text.rpartition("=")
    path = Path(place)
    own = path.parent.name if path.stem in ("adapter", "best", "last") and path.parent.name else path.stem
    return name or own, place


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
        raise ValueError(
            f"Expected manifests with different names, but got {', '.join(map(str, manifests))}: rename one, or write a suite"
        )
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

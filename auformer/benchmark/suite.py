"""A suite: data sets, methods and protocols by name; from a YAML file or the options of `auformer benchmark`.

    out: runs/mine                    # optional
    seeds: [0, 1, 2]                  # optional, default [0]
    data:
      bp4d: {manifest: data/bp4d.csv}                       # relative to the suite
      lab_a: {synth: {lab: A, subjects: 30, frames: 60}}    # arguments of `auformer synth`
    methods:
      auformer: {config: bp4d.yaml, set: {trainer.max_epochs: 10, network.expert_width: 8}}
    runs:
      - {protocol: within, data: bp4d}
      - {protocol: within, data: unbc, folds: loso, set: {network.intensity: ordinal}}      # each subject by itself
      - {protocol: cross, train: bp4d, test: [lab_a], seeds: {default: [0], auformer: [0, 1, 2]}}
      - {protocol: efficiency, data: bp4d, sizes: [100, 1.0], methods: [auformer], seeds: [0]}
      - {protocol: micro, data: [clips], split: 4fold, init: [null, demo], set: {data.clip_input: difference}}
    fast: {seeds: [0], ...}           # what `--fast` changes, in the same form

An entry of `runs` may have a `name`, and `select_on_test: true`. In `set`, `model.X` is an argument of the module,
`network.X` one of its network, and `network` alone the network's class. A file that `set` names as
`network.checkpoint_path` is relative to the suite; `needs: {FILE: COMMAND}` says how to make one that is not there.
`base: OTHER.yaml` builds on another suite, in the same folder: all paths count from that of the file that is read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from auformer.benchmark import protocols
from auformer.benchmark.protocols import Common, DataSet, Run, data_name, find_facts
from auformer.training.config import MODEL, deep_merge, merged_config

NO_INIT = (None, "", "none")
PATH = ("model", "init_args", "network")  # of the network in a configuration
# keys of an entry of `runs`: those of all protocols, and those of each
SHARED = ("protocol", "name", "methods", "seeds", "set", "select_on_test")
KEYS = {
    "within": ("data", "folds"),
    "cross": ("train", "test"),
    "efficiency": ("data", "sizes", "folds", "min_steps"),
    "micro": ("data", "split", "init"),
}


@dataclass
class Entry:
    """An entry of `runs`: a protocol with its options, see the module."""

    protocol: str  # one of `KEYS`
    name: str = ""  # what tables call it; the protocol by default
    methods: str | list[str] = field(default_factory=list)  # names of methods; all by default
    # a run for each, for all methods or by method; those of the suite by default
    seeds: int | list[int] | dict[str, int | list[int]] | None = None
    set: dict[str, Any] = field(default_factory=dict)  # settings over those of the methods, by dotted name
    select_on_test: bool = False  # choose the epoch on the test split
    data: str | list[str] = field(default_factory=list)  # names of data sets; `train` and `test` too
    train: str | list[str] = field(default_factory=list)
    test: str | list[str] = field(default_factory=list)
    folds: int | str = protocols.FOLDS  # of `within` also `loso`: each subject is one
    sizes: int | float | list[int | float] = field(default_factory=lambda: list(protocols.SIZES))
    min_steps: int = protocols.MIN_STEPS
    split: str = "loso"
    # checkpoints to start from, `CHECKPOINT` or `NAME=CHECKPOINT`; None: from scratch
    init: str | list[str | None] | None = None

    def __post_init__(self) -> None:
        """Refuse what no type tells: numbers out of their range, and values that are there twice."""
        self.name = self.name or self.protocol
        for seeds in self.seeds.values() if isinstance(self.seeds, dict) else [self.seeds]:
            _check_numbers("seeds", as_list(seeds), 0)
        if isinstance(self.folds, str):
            if self.folds != protocols.LOSO or self.protocol != "within":
                told = f"whole numbers, or `{protocols.LOSO}` in the protocol within"
                raise ValueError(f"Expected `folds` to be {told}, but got {self.folds!r} in {self.protocol}")
        else:
            _check_numbers("folds", [self.folds], 2)
        _check_numbers("min_steps", [self.min_steps], 0)
        for key in ("methods", "data", "train", "test", "sizes", "init"):
            values = as_list(getattr(self, key))
            if len(set(map(repr, values))) < len(values):
                raise ValueError(f"Expected `{key}` to hold each value once, but got {values!r}")

    def sources(self) -> dict[str, list[str]]:
        """Names of data sets by the key that holds them."""
        return {key: as_list(getattr(self, key)) for key in KEYS[self.protocol] if key in ("data", "train", "test")}

    def runs(self, data: Mapping[str, Sequence[DataSet]], common: Common) -> list[Run]:
        """The runs of the protocol; `data` are data sets by the key that names them."""
        if self.protocol == "within":
            return [run for one in data["data"] for run in protocols.within(one, common, folds=self.folds)]
        if self.protocol == "cross":
            return protocols.cross(data["train"], data["test"], common)
        if self.protocol == "micro":
            return protocols.micro(data["data"], self.split, common)
        options: dict[str, Any] = {"sizes": as_list(self.sizes), "folds": int(self.folds), "min_steps": self.min_steps}
        return [run for one in data["data"] for run in protocols.efficiency(one, common, **options)]


@dataclass(frozen=True)
class Source:
    """Where a data set is: a manifest, or what `auformer synth` takes to make it."""

    manifest: Path | None = None
    synth: dict[str, Any] | None = None


@dataclass(frozen=True)
class Method:
    """A configuration file of `auformer fit` and settings that replace its own; without a file, AUFormer on ViT-B."""

    config: Path | None
    set: dict[str, Any] = field(default_factory=dict)

    def plain(self, settings: Mapping[str, Any] | None = None, folder: Path = Path()) -> dict[str, Any]:
        """The configuration in plain values as in YAML, with further settings over it, by dotted name.

        A file of weights that settings name is relative to `folder`; one that the configuration file names is relative
        to the working folder, as for `auformer fit`.
        """
        given = {**self.set, **(settings or {})}
        if given.get("network.checkpoint_path") is not None:
            given["network.checkpoint_path"] = str(folder / str(given["network.checkpoint_path"]))
        own = {"model": MODEL} if self.config is None else merged_config(self.config)
        sizes = {"network.img_size": 224, "data.image_size": 224} if self.config is None else {}
        return deep_merge(own, nested({**sizes, **given}))


@dataclass(frozen=True)
class Suite:
    """Everything that a benchmark is made of."""

    out: Path  # folder of runs and results
    data: Mapping[str, Source]  # data sets by name
    methods: Mapping[str, Method]  # methods by name
    entries: Sequence[Entry]  # protocols with their options
    seeds: tuple[int, ...] = (0,)  # for entries that name none
    folder: Path = Path()  # what checkpoints named by entries, and weights named by settings, are relative to
    # files, relative to `folder`, and the command that makes each
    needs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            got = f"{', '.join(twice)} twice" if twice else "none"
            raise ValueError(f"Expected `runs` to be entries with a `name` each, but got {got}")
        for entry in self.entries:
            for key, found in {"methods": self.methods_of(entry), **entry.sources()}.items():
                known = self.methods if key == "methods" else self.data
                unknown = [str(one) for one in found if one not in known]
                if unknown or not found:
                    raise ValueError(
                        f"Expected `{key}` of {entry.name} to be among {', '.join(known) or 'those of the suite'}, but "
                        f"got {', '.join(unknown) or 'none'}"
                    )
            by_method = entry.seeds if isinstance(entry.seeds, dict) else {}
            unknown = [one for one in by_method if one not in (*self.methods_of(entry), "default")]
            if unknown:
                raise ValueError(
                    f"Expected `seeds` of {entry.name} to name its methods, or `default`, but got {', '.join(unknown)}"
                )

    def methods_of(self, entry: Entry) -> list[str]:
        """Names of an entry's methods."""
        return as_list(entry.methods) or list(self.methods)

    def find_data(self) -> dict[str, DataSet]:
        """The data sets that entries name, with what is known of those that are there."""
        used = {name for entry in self.entries for names in entry.sources().values() for name in names}
        return {
            name: DataSet(name, source.manifest, find_facts(source.manifest), source.synth is not None)
            for name, source in self.data.items()
            if name in used and source.manifest is not None
        }

    def config_of(self, method: str, entry_name: str) -> dict[str, Any]:
        """The configuration of a method in an entry, plain values as in the YAML file."""
        return self.methods[method].plain(self._entry(entry_name).set, self.folder)

    def _entry(self, name: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)

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
        how = f"make it with: {commands[0]}" if commands else "check `network.checkpoint_path`"
        raise ValueError(f"Expected the weights of {method} to be at {path}, but there is no such file; {how}")

    def checkpoint_of(self, run: Run) -> str | None:
        """The checkpoint that a run starts from, as `load_detector` takes it; a path is relative to the suite."""
        if run.init is None:
            return None
        named = (_init_parts(text) for text in as_list(self._entry(run.name).init) if text not in NO_INIT)
        path = dict(named)[run.init]
        return path if path == "demo" or "://" in path else str(self.folder / path)

    def runs(self, data: Mapping[str, DataSet], *, only: Sequence[str] = ()) -> list[Run]:
        """All runs on data as `find_data` gives it, or those whose line has every word of `only`.

        Raises:
            ValueError: An entry contradicts its data, or no run has the words.
        """
        runs = [run for entry in self.entries for run in self._runs(entry, data)]
        chosen = [one for one in runs if {*only} <= {*one.text().split(), one.name}]
        if not chosen:
            words = f"but none of {len(runs)} has {' '.join(only)}"
            raise ValueError(f"Expected `--only` to name words of one line of --dry-run, {words}")
        return chosen

    def _runs(self, entry: Entry, data: Mapping[str, DataSet]) -> list[Run]:
        """The runs of one entry."""
        sets = {key: [data[one] for one in names] for key, names in entry.sources().items()}
        starts = as_list(entry.init) or [None]
        validation = {}
        for method in self.methods_of(entry):
            last = self.config_of(method, entry.name).get("select") == "last"
            validation[method] = "test" if entry.select_on_test else "last" if last else "validation"
        runs = []
        for text, (seeds, names) in itertools.product(starts, self._seeds(entry).items()):
            init = None if text in NO_INIT else _init_parts(text)[0]
            methods = tuple((method, validation[method]) for method in names)
            runs += entry.runs(sets, Common(methods, seeds, entry.name, init))
        return runs

    def _seeds(self, entry: Entry) -> dict[tuple[int, ...], list[str]]:
        """Methods of an entry by their seeds: the same for all, or its own for each that `seeds` names."""
        given = entry.seeds if isinstance(entry.seeds, dict) else {"default": entry.seeds}
        found: dict[tuple[int, ...], list[str]] = {}
        for method in self.methods_of(entry):
            seeds = as_list(given.get(method)) or as_list(given.get("default"))
            found.setdefault(tuple(seeds) or self.seeds, []).append(method)
        return found


def as_list(value: Any) -> list[Any]:
    """None, one thing or several, as a list."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _check_numbers(key: str, values: Sequence[int], least: int) -> None:
    """Refuse numbers below one, and those that are there twice."""
    if any(value < least for value in values) or len(set(values)) < len(values):
        raise ValueError(f"Expected `{key}` to be whole numbers, at least {least}, each once, but got {values!r}")


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as a configuration.

    `model.X` means `model.init_args.X`, `network.X` means `model.init_args.network.init_args.X`, and `network` alone is
    the class path.

    >>> nested({"trainer.max_epochs": 5, "model.lr": 0.1})
    {'trainer': {'max_epochs': 5}, 'model': {'init_args': {'lr': 0.1}}}
    >>> nested({"network": "auformer.models.baselines.LoRA", "network.rank": 8})["model"]["init_args"]["network"]
    {'class_path': 'auformer.models.baselines.LoRA', 'init_args': {'rank': 8}}
    """
    result: dict[str, Any] = {}
    for name, value in settings.items():
        path = str(name).split(".")
        if path[0] == "network":
            path = [*PATH, *(path[1:] or ["class_path"])]
        at = len(PATH) if path[:3] == list(PATH) else 1
        if path[0] == "model" and path[at : at + 1] and path[at] not in ("class_path", "init_args"):
            path.insert(at, "init_args")
        for part in reversed(path):
            value = {part: value}
        result = deep_merge(result, value)
    return result


def _init_parts(text: str) -> tuple[str, str]:
    """Name and path of `NAME=CHECKPOINT` or `CHECKPOINT`: by itself `demo`, the adapter's folder, or the file's name.

    >>> _init_parts("runs/bp4d/adapter.safetensors"), _init_parts("macro=runs/a.ckpt")
    (('bp4d', 'runs/bp4d/adapter.safetensors'), ('macro', 'runs/a.ckpt'))
    """
    name, _, place = text.rpartition("=")
    path = Path(place)
    own = path.parent.name if path.stem in ("adapter", "best", "last") and path.parent.name else path.stem
    return name or own, place


@dataclass
class _File:
    """What the file of a suite holds."""

    data: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    runs: list[dict[str, Any]]
    out: str | None = None
    seeds: int | list[int] = 0
    needs: dict[str, str] = field(default_factory=dict)
    fast: dict[str, Any] | None = None


Form = TypeVar("Form")


def parse_form(form: Callable[..., Form], content: Any, where: str, keys: Sequence[str] = ()) -> Form:
    """Check plain values of YAML against the fields of a dataclass; null counts as not given.

    `where` says what the values are, for messages; `keys` are the fields that may be given, all by default.

    Raises:
        ValueError: A field is unknown or missing, or has a value of another kind.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    kinds = {one.name: str(one.type) for one in fields(form)}  # type: ignore[arg-type]
    known = keys or tuple(kinds)
    if not isinstance(content, dict) or not set(content) <= set(known):
        got = [str(key) for key in content if key not in known] if isinstance(content, dict) else [repr(content)]
        raise ValueError(f"Expected {where} to hold {', '.join(known)}, but got {', '.join(got)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(form)
    try:
        given = {key: value for key, value in content.items() if value is not None}
        return form(**parser.parse_object(given).as_dict())
    except (ArgumentError, TypeError, ValueError) as error:
        key = re.match(r'Parser key "(\w+)', str(error))
        if key is None:
            raise ValueError(f"{where}: {error}") from error
        told = f"{kinds[key[1]]}, but got {content[key[1]]!r}"
        raise ValueError(f"Expected `{key[1]}` of {where} to be {told}") from error


def parse_entry(content: Any, where: str) -> Entry:
    """An entry of `runs` from plain values of YAML; `where` says what it is, for messages.

    Raises:
        ValueError: There is no such protocol, or it does not take these keys and values.
    """
    protocol = content.get("protocol") if isinstance(content, dict) else None
    if protocol not in KEYS:
        raise ValueError(f"Expected `protocol` of {where} to be one of {', '.join(KEYS)}, but got {protocol!r}")
    return parse_form(Entry, content, where, (*SHARED, *KEYS[protocol]))


def read_suite(path: Path, *, fast: bool = False, out: Path | None = None) -> Suite:
    """Read a suite from a YAML file, with what its `fast` says over the rest, and with another folder `out`.

    Raises:
        ValueError: It is no suite, or contradicts itself.
    """
    content = merged_config(path)
    short = content.pop("fast", None)
    if fast and not isinstance(short, dict):
        raise ValueError(f"Expected {path} to say under `fast` what the short form is, but got {short!r}")
    found = parse_form(_File, deep_merge(content, short) if fast else content, str(path))
    folder = path.resolve().parent
    out = out or Path(found.out or Path("runs") / f"{path.stem}{'-fast' if fast else ''}")
    data = {name: _source(name, value, path, out) for name, value in found.data.items()}
    methods = {name: _method(name, value, path) for name, value in found.methods.items()}
    entries = [parse_entry(one, f"entry {number} of `runs` in {path}") for number, one in enumerate(found.runs, 1)]
    seeds = as_list(found.seeds)
    _check_numbers("seeds", seeds, 0)
    return Suite(out, data, methods, entries, tuple(seeds), folder, found.needs)


def _source(name: str, value: Any, path: Path, out: Path) -> Source:
    """Where a data set of a suite is."""
    where = f"the data set {name} in {path}"
    source = parse_form(Source, value, where)
    if (source.manifest is None) == (source.synth is None):
        raise ValueError(f"Expected {where} to be {{manifest: FILE}} or {{synth: {{...}}}}, but got {value!r}")
    if source.manifest is None:
        return Source(out / "data" / name / "manifest.csv", source.synth)
    return Source(path.resolve().parent / source.manifest)


def _method(name: str, value: Any, path: Path) -> Method:
    """A method of a suite."""
    where = f"the method {name} in {path}"
    method = parse_form(Method, value, where)
    if method.config is None:
        raise ValueError(f"Expected {where} to be {{config: FILE, set: {{...}}}}, but got {value!r}")
    return Method(path.resolve().parent / method.config, method.set)


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
        got = ", ".join(map(str, manifests))
        raise ValueError(f"Expected manifests with different names, but got {got}: rename one, or write a suite")
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
    """What a configuration trains, by the class of its network.

    >>> network = {"class_path": "auformer.models.baselines.LinearProbe"}
    >>> method_name({"model": {"init_args": {"network": network}}}), method_name({})
    ('linear_probe', 'auformer')
    """
    network = ((config.get("model") or {}).get("init_args") or {}).get("network") or {}
    kind = str(network.get("class_path") or "AUFormer").rpartition(".")[2]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()

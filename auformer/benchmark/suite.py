"""A suite: data sets, methods and protocols by name; from a YAML file (`suite_file`) or the options of `auformer benchmark`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auformer.benchmark import protocols
from auformer.benchmark.data_facts import DataSet, find_facts
from auformer.benchmark.run import Common, Run
from auformer.training.config_files import deep_merge, merged_config

# keys of an entry of `runs`, by protocol; those of all protocols first
SHARED = ("protocol", "name", "methods", "seeds", "set", "select_on_test")
KEYS = {
    "within": ("data", "folds"),
    "cross": ("train", "test"),
    "efficiency": ("data", "sizes", "folds", "min_steps"),
    "micro": ("data", "split", "init"),
}
NO_INIT = (None, "", "none")
DEFAULT = {"model": {"init_args": {"img_size": 224}}, "data": {"image_size": 224}}  # as experiments/base.yaml, all else by default


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
        commands = [command for name, command in self.needs.items() if (self.folder / name).resolve() == Path(path).resolve()]
        how = f"make it with: {commands[0]}" if commands else "check `model.checkpoint_path`"
        raise ValueError(f"Expected the weights of {method} to be at {path}, but there is no such file; {how}")

    def checkpoint_of(self, run: Run) -> str | None:
        """The checkpoint that a run starts from, as `load_detector` takes it."""
        entry = next(entry for entry in self.entries if self.name_of(entry) == run.name)
        named = {_init_parts(str(text))[0]: self._resolved(str(text)) for text in as_list(entry.get("init")) if text not in NO_INIT}
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
                runs += [run for one in sets["data"] for run in protocols.efficiency(one, common, sizes=sizes, folds=folds, **steps)]
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
            raise ValueError(f"Expected keys of {name} to be among {', '.join((*SHARED, *KEYS[protocol]))}, but got {', '.join(odd)}")
        for key, known in (("methods", self.methods), ("data", self.data), ("train", self.data), ("test", self.data)):
            unknown = [str(one) for one in as_list(entry.get(key)) if one not in known]
            if unknown or (key in KEYS[protocol] and not as_list(entry.get(key))):
                got = ", ".join(unknown) or "none"
                raise ValueError(f"Expected `{key}` of {name} to be among {', '.join(known) or 'those of the suite'}, but got {got}")
        seeds, own = entry.get("seeds"), as_list(entry.get("methods")) or list(self.methods)
        unknown = [str(one) for one in seeds if one not in (*own, "default")] if isinstance(seeds, Mapping) else []
        if unknown:
            raise ValueError(f"Expected `seeds` of {name} to name its methods, or `default`, but got {', '.join(unknown)}")


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
    return settings if path is None else deep_merge(settings, {"model": {"init_args": {"checkpoint_path": str(folder / str(path))}}})


def _init_parts(text: str) -> tuple[str, str]:
    """Name and path of `NAME=CHECKPOINT` or `CHECKPOINT`: by itself, `demo`, the folder of an `adapter.safetensors`, or the file's name.

    >>> _init_parts("runs/bp4d/adapter.safetensors"), _init_parts("macro=runs/a.ckpt")
    (('bp4d', 'runs/bp4d/adapter.safetensors'), ('macro', 'runs/a.ckpt'))
    """
    name, _, place = text.rpartition("=")
    path = Path(place)
    own = path.parent.name if path.stem in ("adapter", "best", "last") and path.parent.name else path.stem
    return name or own, place

"""Configurations of `auformer fit`: files that build on others, and the module and data that a configuration describes.

Reading and merging files imports neither torch nor Lightning; `resolve_config` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

if TYPE_CHECKING:
    import jsonargparse

    from auformer.data.datamodule import AUDataModule
    from auformer.training.module import AUModule

FLAGS = ("--config", "-c")
LINKED = ("au_names", "au_weights")  # what the data module tells the model
# AUFormer on ViT-B where a configuration names no network [ours: the sources name neither size nor weights]
NETWORK = {
    "class_path": "auformer.models.auformer.AUFormer",
    "init_args": {"backbone": "vit_base_patch16_224.augreg_in21k", "pretrained": True},
}
MODEL = {"class_path": "auformer.training.module.AUModule", "init_args": {"network": NETWORK}}
# arguments that every network has
OF_ALL = ("backbone", "pretrained", "checkpoint_path", "img_size", "pool", "intensity")


def with_bases(args: Sequence[str]) -> list[str]:
    """Put the files that a configuration file builds on before it, in the words of a command line.

    `--config BASE` comes before each `--config FILE` whose YAML has the key `base`, a path relative to FILE.

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
    """Files that one builds on, the first at the front; none for what is not readable YAML: the parser says why."""
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

    A `network` of another class keeps only the arguments that all networks have.

    >>> deep_merge({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]})
    {'a': {'x': 1, 'y': 3}, 'b': [2]}
    """
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            chosen = value.get("class_path")
            if name == "network" and chosen not in (None, before.get("class_path", chosen)):
                arguments = before.get("init_args") or {}
                before = {"init_args": {key: one for key, one in arguments.items() if key in OF_ALL}}
            value = deep_merge(before, value)
        merged[name] = value
    return merged


DECIDED = ("train", "val", "test", "fold", "test_subjects", "subset", "seed")  # by whoever runs the configuration
REPLACED = ("train", "test", "seed")  # of those, what a configuration may hold all the same, for `auformer fit`
ELSEWHERE = ("seed_everything", "out", "tune")  # of `auformer fit`; who runs this sees to seeds, folders and thresholds


@dataclass(frozen=True)
class MethodConfig:
    """A method: what to build, how to feed and how to train it.

    Attributes:
        class_path: The module's class, dotted.
        network: `class_path` and `init_args` of the network, all but the action units.
        model: The module's other arguments, all but action units and their weights.
        data: Arguments of the data module, all but which rows.
        fit: Arguments of `auformer.training.fit`: epochs, gradient_clip, precision, patience, validate_every, select.
        accelerator: Lightning's name of what to compute on.
    """

    class_path: str
    network: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    fit: Mapping[str, Any]
    accelerator: str = "auto"

    @property
    def weights(self) -> str | None:
        """The local file of the backbone's weights, where the configuration names one."""
        return self.network["init_args"].get("checkpoint_path")

    def plain(self) -> dict[str, Any]:
        """All that can change a number, in plain values without folders of this machine."""
        arguments = {name: value for name, value in self.network["init_args"].items() if name != "recompute"}
        arguments["checkpoint_path"] = Path(self.weights).name if self.weights else None
        model = {"network": {**self.network, "init_args": arguments}, **self.model}
        data = {name: value for name, value in self.data.items() if name != "num_workers"}
        return {"model": {"class_path": self.class_path, "init_args": model}, "data": data, "fit": dict(self.fit)}

    def build(self, data: AUDataModule) -> AUModule:
        """A new module for the AUs of a data module; its weights are drawn from torch's global random state."""
        from auformer.training.module import network_factory

        return _class_of(self.class_path)(network_factory(self.network), data.au_names, data.au_weights, **self.model)


def resolve_config(content: Mapping[str, Any]) -> MethodConfig:
    """Check a configuration as `merged_config` gives it, and fill in defaults.

    Raises:
        ValueError: A setting is unknown, of another type, or decided elsewhere.
    """
    import jsonargparse

    plain = {name: value for name, value in content.items() if name not in ELSEWHERE}
    data = dict(plain.get("data") or {})
    fixed = [f"data.{name}" for name in DECIDED if name not in REPLACED and data.get(name) is not None]
    if fixed:
        raise ValueError(
            f"Expected a configuration that leaves the splits to the protocol, but it sets {', '.join(fixed)}"
        )
    plain["data"] = {name: value for name, value in data.items() if name not in DECIDED}
    try:
        found = _parser().parse_object(plain).as_dict()
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(
            f"Expected a configuration as `auformer fit` takes it, for one device, but {str(error).strip()}"
        ) from error
    trainer, model = found["trainer"], found["model"]["init_args"]
    fit = {
        "epochs": trainer["max_epochs"],
        "gradient_clip": trainer["gradient_clip_val"],
        "precision": trainer["precision"],
        "validate_every": trainer["check_val_every_n_epoch"],
        "patience": found["patience"],
        "select": found["select"],
    }
    network = model.pop("network")
    network["class_path"] = _defined_at(network["class_path"])
    return MethodConfig(
        _defined_at(found["model"]["class_path"]), network, model, found["data"], fit, trainer["accelerator"]
    )


def _class_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _defined_at(path: str) -> str:
    """Where a class is defined; the parser shortens names to where they can be imported from."""
    kind = _class_of(path)
    return f"{kind.__module__}.{kind.__qualname__}"


def _parser() -> jsonargparse.ArgumentParser:
    """The settings that a method has; the defaults are those of `auformer fit`."""
    import jsonargparse

    from auformer.data.datamodule import AUDataModule
    from auformer.training.module import AUModule

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AUModule, "model", skip=set(LINKED))
    parser.set_defaults({"model": MODEL})
    parser.add_class_arguments(AUDataModule, "data", skip=set(DECIDED))
    parser.add_argument("--patience", type=int | None, default=None)
    parser.add_argument("--select", type=Literal["best", "last"], default="best")
    parser.add_argument("--trainer.max_epochs", type=int, default=20)
    parser.add_argument("--trainer.gradient_clip_val", type=float, default=1.0)
    parser.add_argument("--trainer.precision", type=Literal["32-true", "bf16-mixed", "16-mixed"], default="32-true")
    parser.add_argument("--trainer.check_val_every_n_epoch", type=int, default=1)
    parser.add_argument("--trainer.accelerator", type=str, default="auto")
    parser.add_argument("--trainer.deterministic", type=Literal[True], default=True)
    return parser

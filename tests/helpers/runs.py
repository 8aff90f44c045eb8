"""Tiny training runs: a manifest, a ViT with its weights in a file, modules and options that put them together."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from auformer.data.datamodule import AUDataModule
from auformer.models import AUFormer, AUNetwork
from auformer.models.adapter_file import describe
from auformer.training.config import merged_config
from auformer.training.module import AUModule
from tests.helpers import vits
from tests.helpers.faces import tiny_manifest

assert vits.FIT  # registers the tiny ViTs

VIT = "vit_tests_token"  # 2 blocks of width 24
AUS = ["AU1", "AU4", "AU12"]


def write_vit(path: Path, name: str = VIT, seed: int = 0, img_size: int = 32) -> Path:
    """Write random weights of a ViT, which every module of a test shares."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_file(timm.create_model(name, img_size=img_size, num_classes=0).state_dict(), path)
    return path


def write_workspace(folder: Path, name: str = VIT) -> Path:
    """`folder/data/manifest.csv` (6 people x 6 frames, 32 px), `folder/test/manifest.csv` (3 others x 5) and
    `folder/vit.safetensors`."""
    tiny_manifest(folder / "data", subjects=6, frames=6)
    tiny_manifest(folder / "test", subjects=3, frames=5, first_subject=50, seed=1)
    write_vit(folder / "vit.safetensors", name)
    return folder


def make_data(folder: Path, **arguments: Any) -> AUDataModule:
    """The workspace's rows: 30 for training, 6 for validation."""
    return AUDataModule(
        str(folder / "data" / "manifest.csv"), **{"image_size": 32, "batch_size": 8, "augment": "none", **arguments}
    )


def make_module(
    folder: Path, network: type[AUNetwork] = AUFormer, seed: int = 1, kind: type[AUModule] = AUModule, **arguments: Any
) -> AUModule:
    """A module on the workspace's ViT, its initial weights a function of the seed; `arguments` are the module's or
    the network's."""
    own = {name: arguments.pop(name) for name in [*arguments] if name in inspect.signature(AUModule).parameters}
    weights = folder / "vit.safetensors"
    given = {"backbone": VIT, "checkpoint_path": weights, "img_size": 32}
    given |= {"expert_width": 2} if network is AUFormer else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(
            partial(network, **{**given, **arguments}), **{"au_names": AUS, "au_weights": [1.0, 1.2, 0.8], **own}
        )


def write_run_checkpoint(network: Any, path: Path, **changes: Any) -> Path:
    """A file as Lightning writes it; `changes` replace entries, `hyper_parameters__x` those of the hyper-parameters."""
    arguments = {name: value for name, value in network.arguments.items() if name != "au_names"}
    spec = {"class_path": describe(network)["network"], "init_args": {**arguments, "pretrained": True}}
    content: dict[str, Any] = {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.adapter_state_dict().items()},
        "hyper_parameters": {"network": spec, "au_names": list(network.au_names), "lr": 0.1,
                             "au_weights": [1.0] * len(network.au_names)},
        "auformer": json.dumps(describe(network)),
        "optimizer_states": [{"state": {0: {"step": torch.zeros(1)}}}],
        "epoch": 3,
    }  # fmt: skip
    for name, value in changes.items():
        first, _, rest = name.partition("__")
        content[first] = {**content[first], rest: value} if rest else value
    torch.save(content, path)
    return path


def edit_header(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Let `change(header)` edit the JSON string in an adapter file."""
    header = json.loads(safe_open(path, "pt").metadata()["auformer"])
    change(header)
    save_file(load_file(path), path, metadata={"auformer": json.dumps(header)})
    return path


class Payload:
    """What a pickle would execute: it leaves a file `executed`."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch executed",)


def cli_words(folder: Path, config: Path, out: str, **options: Any) -> list[str]:
    """Options that shrink a configuration of `experiments/` to the workspace; further ones by name with `__` for
    dots."""
    given = {"data.train": folder / "data" / "manifest.csv", "data.test": folder / "test" / "manifest.csv"}
    given |= {"data.image_size": 32, "data.batch_size": 8, "data.augment": "none"}
    network = {"backbone": VIT, "pretrained": "false", "checkpoint_path": folder / "vit.safetensors", "img_size": 32}
    if merged_config(config)["model"]["init_args"]["network"]["class_path"].endswith("AUFormer"):
        network["expert_width"] = 2
    given |= {f"model.network.{name}": value for name, value in network.items()}
    given |= {"trainer.accelerator": "cpu", "trainer.enable_progress_bar": "false", "trainer.max_epochs": 2}
    given |= {"out": folder / out}
    given |= {name.replace("__", "."): value for name, value in options.items()}
    return ["--config", str(config), *(word for name, value in given.items() for word in (f"--{name}", str(value)))]

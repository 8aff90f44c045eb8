"""Tiny training runs: a manifest, a ViT with its weights in a file, modules and options that put them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from auformer.data.datamodule import AUDataModule
from auformer.training.module import AUModule
from tests.helpers.faces import tiny_manifest

VIT = "vit_tests_token"  # 2 blocks of width 24
AUS = ["AU1", "AU4", "AU12"]


def write_vit(path: Path, name: str = VIT, seed: int = 0) -> Path:
    """Write random weights of a ViT, which every module of a test shares."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_file(timm.create_model(name, img_size=32, num_classes=0).state_dict(), path)
    return path


def write_workspace(folder: Path, name: str = VIT) -> Path:
    """`folder/data/manifest.csv` (6 people x 6 frames, 32 px), `folder/test/manifest.csv` (3 others x 5) and `folder/vit.safetensors`."""
    tiny_manifest(folder / "data", subjects=6, frames=6)
    tiny_manifest(folder / "test", subjects=3, frames=5, first_subject=50, seed=1)
    write_vit(folder / "vit.safetensors", name)
    return folder


def make_data(folder: Path, **arguments: Any) -> AUDataModule:
    """The workspace's rows: 30 for training, 6 for validation."""
    return AUDataModule(
        str(folder / "data" / "manifest.csv"), **{"image_size": 32, "batch_size": 8, "augment": "none", **arguments}
    )


def make_module(folder: Path, kind: type[AUModule] = AUModule, seed: int = 1, **arguments: Any) -> AUModule:
    """A module on the workspace's ViT; its initial weights are a function of the seed."""
    given = {
        "backbone": VIT,
        "pretrained": False,
        "checkpoint_path": str(folder / "vit.safetensors"),
        "img_size": 32,
        "expert_width": 2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**{"au_names": AUS, "au_weights": [1.0, 1.2, 0.8], **given, **arguments})


def state_of(module: AUModule) -> dict[str, torch.Tensor]:
    """A copy of every tensor of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def cli_words(folder: Path, config: Path, out: str, **options: Any) -> list[str]:
    """Options that shrink a configuration of `experiments/` to the workspace; further ones by name with `__` for dots."""
    data, model = (
        {"train": folder / "data" / "manifest.csv", "test": folder / "test" / "manifest.csv", "image_size": 32},
        {"backbone": VIT},
    )
    data |= {"batch_size": 8, "augment": "none"}
    model |= {"pretrained": "false", "checkpoint_path": folder / "vit.safetensors", "img_size": 32, "expert_width": 2}
    given = {f"data.{name}": value for name, value in data.items()} | {
        f"model.{name}": value for name, value in model.items()
    }
    given |= {
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
        "trainer.max_epochs": 2,
        "out": folder / out,
    }
    given |= {name.replace("__", "."): value for name, value in options.items()}
    return ["--config", str(config), *(word for name, value in given.items() for word in (f"--{name}", str(value)))]

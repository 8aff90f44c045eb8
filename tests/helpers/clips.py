"""Tiny manifests of consecutive frames, whose labels change within a sequence, and networks that see clips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from auformer.data.datamodule import AUDataModule
from auformer.data.images import write_image
from auformer.data.manifest import write_manifest
from auformer.models import AUNetwork
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.training.module import AUModule
from tests.helpers.faces import tiny_image
from tests.helpers.runs import AUS, VIT

CLIP = 4  # frames of a clip in these tests


def tiny_clips(
    folder: str | Path, *, subjects: int = 5, lengths: Sequence[int] = (9, 6), first_subject: int = 0, seed: int = 0,
    dataset: str = "tiny",
) -> Path:  # fmt: skip
    """Write `folder/manifest.csv` with its images: each subject has a sequence per length, every AU is active in some
    of its frames; intensities are 2 where it is."""
    rng, rows = np.random.default_rng(seed), []
    for subject in range(first_subject, first_subject + subjects):
        for number, length in enumerate(lengths):
            begins = rng.integers(0, max(1, length // 2), len(AUS))
            for frame in range(length):
                labels = ((frame >= begins) & (frame < begins + length // 2 + 1)).astype(int)
                image = f"images/{dataset}_S{subject:03d}_{number}_{frame}.png"
                write_image(Path(folder, image), tiny_image(rng, labels.tolist(), 32))
                key = {"dataset": dataset, "subject": f"S{subject:03d}", "sequence": f"v{number}", "frame": frame + 10}
                strengths = {f"{au}_intensity": 2.0 * label for au, label in zip(AUS, labels.tolist(), strict=True)}
                rows.append({**key, "image": image, "fold": f"T{subject % 3 + 1}",
                             **dict(zip(AUS, labels.tolist(), strict=True)), **strengths})  # fmt: skip
    path = Path(folder, "manifest.csv")
    write_manifest(pd.DataFrame(rows), path, {"crop_recipe": "eyes"})
    return path


def clip_data(manifest: Path, **arguments: Any) -> AUDataModule:
    """The manifest's rows as clips."""
    given = {"image_size": 32, "batch_size": 2, "augment": "none", "clip_length": CLIP, "chunk_rows": 5}
    return AUDataModule(str(manifest), **{**given, **arguments})


def clip_network(weights: Path, kind: type[AUNetwork] = ViTMDHR, seed: int = 1, **arguments: Any) -> AUNetwork:
    """A tiny network that sees clips, its weights a function of the seed."""
    given = {"backbone": VIT, "checkpoint_path": weights, "img_size": 32, "clip_length": CLIP, "reach": 2}
    given |= {"dim": 8} if kind is ViTMDHR else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(au_names=AUS, **{**given, **arguments})


def clip_module(weights: Path, kind: type[AUNetwork] = ViTMDHR, seed: int = 1, **arguments: Any) -> AUModule:
    """A module of such a network, trained as MDHR is."""
    given = {"backbone": VIT, "checkpoint_path": weights, "img_size": 32, "clip_length": CLIP, "reach": 2}
    given |= {"dim": 8} if kind is ViTMDHR else {}
    module = {"loss": "wa", "dice_weight": 0.0, "lr": 2e-3}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AUModule(partial(kind, **{**given, **arguments}), AUS, [1.0, 1.2, 0.8], **module)

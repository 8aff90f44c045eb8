"""Small manifests with images, predictions tables, and a network that stands in for a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from auformer.data.images import write_image
from auformer.data.manifest import read_manifest, write_manifest


def random_predictions(
    seed: int = 0, rows: int = 300, au_names: tuple[str, ...] = ("AU1", "AU2", "AU12")
) -> pd.DataFrame:
    """A predictions table with three folds, five subjects, a group, unknown labels and rows without a face."""
    rng = np.random.default_rng(seed)
    people = [f"S{i % 5}" for i in range(rows)]
    table = pd.DataFrame({"dataset": "d", "subject": people, "sequence": "a", "frame": range(rows), "face": 0})
    table["fold"] = [f"P{i % 5 % 3 + 1}" for i in range(rows)]
    table["group_sex"] = [("f", "m", None)[i % 5 % 3] for i in range(rows)]
    table["status"] = np.where(np.arange(rows) % 10 == 9, "no_face", "ok")
    for au in au_names:
        true = rng.choice([1, 0, -1], size=rows, p=[0.3, 0.6, 0.1])
        prob = np.round(0.7 * rng.random(rows) + 0.3 * true.clip(0), 3)
        table[f"{au}_true"], table[f"{au}_prob"] = true, np.where(table["status"] == "ok", prob, np.nan)
    return table


def write_faces_manifest(
    folder: Path,
    *,
    rows: int = 12,
    size: tuple[int, int] = (16, 16),
    au_names: tuple[str, ...] = ("AU1", "AU12"),
    seed: int = 0,
    **side: Any,
) -> Path:
    """Write random images and their manifest; two folds, the last row but one without a face."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"dataset": "d", "subject": [f"S{i % 3}" for i in range(rows)], "sequence": "a", "frame": range(rows)}
    )
    table["image"] = [f"images/{i}.png" for i in range(rows)]
    table["status"] = ["no_face" if i == rows - 2 else "ok" for i in range(rows)]
    table["fold"] = [f"P{i % 3 % 2 + 1}" for i in range(rows)]
    table["group_skin"] = [str(i % 2) for i in range(rows)]
    table["note"] = "passes through the manifest only"
    for number, au in enumerate(au_names):
        table[au] = [1 if (i + number) % 2 else 0 for i in range(rows)]
    for name in table["image"]:
        write_image(folder / name, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    write_manifest(table, folder / "manifest.csv", {"dataset": "d", **side})
    return folder / "manifest.csv"


class StandIn(nn.Module):
    """Looks like a trained network; the probability of AU number k is the mean of colour channel k (modulo 3)."""

    def __init__(
        self,
        au_names: tuple[str, ...] = ("AU1", "AU12", "AU25"),
        image_size: tuple[int, int] = (8, 8),
        fail_after: int | None = None,
    ):
        super().__init__()
        self.au_names, self.image_size, self.fail_after = au_names, image_size, fail_after
        self.thresholds: dict[str, float] = dict.fromkeys(au_names, 0.5)
        self.crop_recipe: str | None = "eyes"
        self.metadata: dict[str, Any] = {}
        self.batches: list[int] = []

    def predict_probs(self, images: Tensor) -> Tensor:
        """Probabilities `(B, N)`; raises `KeyboardInterrupt` after `fail_after` batches."""
        if self.fail_after is not None and len(self.batches) >= self.fail_after:
            raise KeyboardInterrupt
        assert tuple(images.shape[1:]) == (3, *self.image_size) and images.dtype == torch.float32
        assert not torch.is_grad_enabled()
        self.batches.append(len(images))
        return images.mean((2, 3))[:, [k % 3 for k in range(len(self.au_names))]]


def manifest_of(folder: Path, **options: Any) -> pd.DataFrame:
    """`write_faces_manifest`, read back."""
    return read_manifest(write_faces_manifest(folder, **options))


def random_intensities(
    seed: int = 0, rows: int = 300, au_names: tuple[str, ...] = ("AU1", "AU2", "AU12")
) -> pd.DataFrame:
    """`random_predictions` with coded and predicted intensities; some rows are not coded, the last AU is always 0."""
    table, rng = random_predictions(seed, rows, au_names), np.random.default_rng(seed + 100)
    for au in au_names:
        coded = rng.choice(6, size=rows, p=[0.5, 0.1, 0.15, 0.1, 0.1, 0.05]).astype(float)
        predicted = np.clip(0.7 * coded + rng.normal(0.4, 0.9, rows), 0, 5).round(3)
        coded = np.zeros(rows) if au == au_names[-1] else np.where(rng.random(rows) < 0.1, np.nan, coded)
        table[f"{au}_intensity_true"] = coded
        table[f"{au}_intensity_pred"] = np.where(table["status"] == "ok", predicted, np.nan)
    return table

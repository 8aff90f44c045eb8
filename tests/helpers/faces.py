"""Tiny manifests with tiny images, for every test that needs some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from auformer.data.images import write_image
from auformer.data.manifest import write_manifest


def tiny_image(rng: np.random.Generator, labels: Sequence[int], size: int) -> np.ndarray:
    """Smooth colour noise; AU number i that is active brightens stripe i, so that labels can be learnt from it."""
    coarse = rng.integers(60, 160, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.int64)
    stripes = np.array_split(np.arange(size), max(1, len(labels)))
    for rows, label in zip(stripes, labels, strict=False):
        image[rows] += 80 * (label == 1)
    return np.clip(image, 0, 255).astype(np.uint8)


def tiny_manifest(
    folder: str | Path, *, subjects: int = 4, frames: int = 5, au_names: Sequence[str] = ("AU1", "AU4", "AU12"),
    size: int = 32, seed: int = 0, dataset: str = "tiny", first_subject: int = 0, sides: bool = False,
    name: str = "manifest.csv",
) -> Path:  # fmt: skip
    """Write `folder/NAME` with its images and sidecar.

    Subjects are `S000`, `S001`, ...; subject k is in the fold `T1` to `T3` in turn. Every AU is active in some rows of
    every subject (where it has at least two frames).

    Returns:
        Path of the manifest.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for subject in range(first_subject, first_subject + subjects):
        offset = rng.integers(0, 2, len(au_names))
        for frame in range(frames):
            labels = (offset + frame) % 2 if frame < 2 else rng.integers(0, 2, len(au_names))
            image = f"images/{dataset}_S{subject:03d}_{frame}.png"
            write_image(Path(folder, image), tiny_image(rng, labels.tolist(), size))
            row = {
                "dataset": dataset, "subject": f"S{subject:03d}", "sequence": "stills", "frame": frame,
                "image": image,
            }  # fmt: skip
            row |= {"fold": f"T{subject % 3 + 1}", **dict(zip(au_names, labels.tolist(), strict=True))}
            if sides:
                row |= {f"{au}_left": int(label) for au, label in zip(au_names, labels, strict=True)}
                row |= {f"{au}_right": 0 for au in au_names}
            rows.append(row)
    path = Path(folder, name)
    write_manifest(pd.DataFrame(rows), path, {"data_set": dataset, "crop_recipe": "eyes", "size": size})
    return path

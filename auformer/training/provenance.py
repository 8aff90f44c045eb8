"""What a run was trained on, in plain values, for the header of its adapter file and to recognise the same run again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pandas as pd

from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import MANIFEST
from auformer.data.manifest import KEY, side_path


def _side_files(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Content of the side files of the manifests that rows are from, by manifest; empty where there is none."""
    sides = {}
    for manifest in sorted(set(rows[MANIFEST].astype(str))):
        side = side_path(manifest)
        sides[manifest] = json.loads(side.read_text(encoding="utf-8")) if side.is_file() else {}
    return sides


def crop_recipe(data: AUDataModule) -> str | None:
    """Crop recipe of the training images, if all their manifests name the same one."""
    if "train" not in data.parts:
        return None
    recipes = {side.get("crop_recipe") for side in _side_files(data.parts["train"]).values()}
    recipe = recipes.pop() if len(recipes) == 1 else None
    return recipe if isinstance(recipe, str) else None


def digest(rows: pd.DataFrame, au_names: list[str]) -> str:
    """Short fingerprint of keys and labels of rows, in their order."""
    columns = [*KEY, *[name for name in au_names if name in rows.columns]]
    values = pd.util.hash_pandas_object(rows[columns], index=False).to_numpy()
    return hashlib.sha256(values.astype("<u8").tobytes()).hexdigest()[:16]


def describe_data(data: AUDataModule) -> dict[str, Any]:
    """What the parts of a run are: data sets, rows, subjects, label rates, fingerprints; no paths of this machine.

    Args:
        data: The data module.

    Returns:
        Plain JSON values, by part, and how the rows are fed.
    """
    told: dict[str, Any] = {}
    for part in ("train", "val"):
        if part not in data.parts:
            continue
        rows = data.parts[part]
        told[part] = {
            "datasets": sorted(set(rows["dataset"].astype(str))),
            "rows": len(rows),
            "subjects": int(rows[["dataset", "subject"]].drop_duplicates().shape[0]),
            "digest": digest(rows, data.au_names),
        }
    if "train" in told:
        rows = data.parts["train"]
        known = {name: rows[name][rows[name] >= 0] for name in data.au_names if name in rows.columns}
        told["train"]["label_rates"] = {name: round(float((labels == 1).mean()), 4) for name, labels in known.items() if len(labels)}
    told["image_size"] = list(data.image_size)
    told["batch_size"] = data.batch_size
    told["augmented"] = data.augmentation is not None
    told["seed"] = data.seed
    return told

"""Predictions of photos as the predictions file and its side file (the contract of `auformer.data.manifest`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from auformer import __version__
from auformer.inference.results import PhotoPrediction
from auformer.models import AUNetwork

DATASET = "user"  # what the contract calls people's own files
PIXEL_DECIMALS, SCORE_DECIMALS = 2, 4  # of boxes and scores in the table [ours]


def predictions_table(photos: Sequence[PhotoPrediction], au_names: Sequence[str], thresholds: np.ndarray) -> pd.DataFrame:
    """One row per face; a photo without any has one row with empty values and its status.

    Args:
        photos: what `AUPredictor.predict_photos` gives.
        au_names: the N action units.
        thresholds: (N,) from which probability on each counts as active.

    Returns:
        `dataset, subject, sequence, frame, face, file, x, y, w, h, score, status`, then per AU `_prob` and `_active`.
    """
    rows, probs = [], []
    for photo in photos:
        key = {"dataset": DATASET, "subject": photo.name, "sequence": photo.name, "frame": 0}
        for number, found in enumerate(photo.faces):
            box = dict(zip("xywh", np.round(found.face.box, PIXEL_DECIMALS), strict=True))
            score = round(found.face.score, SCORE_DECIMALS)
            rows.append({**key, "face": number, "file": photo.file, **box, "score": score, "status": photo.status})
            probs.append(found.probs)
        if not photo.faces:
            rows.append({**key, "face": 0, "file": photo.file, **dict.fromkeys("xywh", np.nan), "score": np.nan, "status": photo.status})
            probs.append(np.full(len(au_names), np.nan))
    table = pd.DataFrame(rows)
    for au, threshold, column in zip(au_names, thresholds, np.array(probs).T, strict=True):
        prob = pd.Series(column, index=table.index)
        table[f"{au}_prob"] = prob
        table[f"{au}_active"] = (prob >= threshold).astype("Int8").mask(prob.isna())
    return table


def predictions_side(
    network: AUNetwork,
    photos: Sequence[PhotoPrediction],
    *,
    checkpoint: str,
    adapter: str | Path,
    sha256: str,
    recipe: str,
    detector: str,
    notice: str | None,
) -> dict[str, Any]:
    """Side file of the table: where the probabilities come from.

    Args:
        network: the network that predicted.
        photos: as in the table.
        checkpoint: CHECKPOINT as the user wrote it.
        adapter: the file that it means.
        sha256: of that file.
        recipe: crop recipe that the faces were aligned by.
        detector: back-end that found them.
        notice: what every output of this checkpoint has to say.

    Returns:
        Plain JSON values; None where something is not known.
    """
    header = network.metadata
    warnings = []
    if not network.crop_recipe:
        warnings.append(f"The checkpoint does not say how its training images were cropped; the recipe '{recipe}' was used.")
    return {
        "checkpoint": checkpoint,
        "adapter": {"file": Path(adapter).name, "sha256": sha256, "package_version": header.get("package_version")},
        "au_names": list(network.au_names),
        "thresholds": {au: network.thresholds[au] for au in network.au_names},
        "crop_recipe": recipe,
        "image_size": list(network.image_size),
        "config": {name: header.get(name) for name in ("network", "arguments", "backbone", "training_data", "extra")},
        "epoch_selection": (header.get("extra") or {}).get("selection"),
        "photos": _counts([photo.status for photo in photos]),
        "faces": {
            "detector": detector,
            "version": f"OpenCV {cv2.__version__}",
            "points_source": _counts([found.face.points_source for photo in photos for found in photo.faces]),
        },
        "package_version": __version__,
        "warnings": warnings,
        "notice": notice,
    }


def _counts(values: Sequence[str]) -> dict[str, int]:
    """How often each value occurs, in the order of first sight."""
    return {value: list(values).count(value) for value in dict.fromkeys(values)}

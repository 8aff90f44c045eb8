"""Predictions as the predictions file and its side file (the contract of `auformer.data.manifest`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from auformer import __version__
from auformer.predict.selection import Selection
from auformer.predict.types import ImagePrediction

if TYPE_CHECKING:
    from auformer.predict.predictor import AUPredictor

DATASET = "user"  # what the contract calls people's own files
PIXEL_DECIMALS, SCORE_DECIMALS, TIME_DECIMALS, PROB_DECIMALS = 2, 4, 6, 7  # of boxes, scores, times, probabilities in the table [ours]
BOX = ("x", "y", "w", "h")


def table_columns(au_names: Sequence[str]) -> list[str]:
    """Columns of the table: the key, `file, time_s`, box, score, `status`, then per AU `_prob` and `_active`."""
    aus = [f"{au}_{kind}" for au in au_names for kind in ("prob", "active")]
    return ["dataset", "subject", "sequence", "frame", "face", "file", "time_s", *BOX, "score", "status", *aus]


def table_rows(image: ImagePrediction, thresholds: np.ndarray) -> list[list[Any]]:
    """Rows of one picture, one per face; a picture without any has one row with empty values (None) and its status.

    Args:
        image: the picture.
        thresholds: (N,) from which probability on each AU counts as active.
    """
    name, time = image.name, None if image.time_s is None else round(image.time_s, TIME_DECIMALS)
    if not image.faces:
        return [[DATASET, name, name, image.frame, 0, image.file, time, *[None] * 5, image.status, *[None] * 2 * len(thresholds)]]
    rows = []
    for found in image.faces:
        box = [round(float(value), PIXEL_DECIMALS) for value in found.face.box]
        active = [int(value) for value in found.probs >= thresholds]
        probs = [float(value) for value in found.probs.round(PROB_DECIMALS)]
        pairs = [value for pair in zip(probs, active, strict=True) for value in pair]
        score = round(float(found.face.score), SCORE_DECIMALS)
        rows.append([DATASET, name, name, image.frame, found.identity, image.file, time, *box, score, image.status, *pairs])
    return rows


def predictions_table(images: Iterable[ImagePrediction], au_names: Sequence[str], thresholds: np.ndarray) -> pd.DataFrame:
    """The table of many pictures.

    Args:
        images: what `AUPredictor.stream` gives, without the ends.
        au_names: the N action units.
        thresholds: (N,) from which probability on each counts as active.
    """
    rows = [row for image in images for row in table_rows(image, thresholds)]
    return typed(pd.DataFrame(rows, columns=table_columns(au_names)))


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with floats where numbers may be missing, and `Int8` in `_active`."""
    floats = [name for name in table if name in ("time_s", "score", *BOX) or str(name).endswith("_prob")]
    active = [name for name in table if str(name).endswith("_active")]
    return table.astype({**dict.fromkeys(floats, float), **dict.fromkeys(active, "Int8")})


def run_settings(predictor: AUPredictor, selection: Selection, *, shard: str | None) -> dict[str, Any]:
    """Everything that was chosen for a run and changes its rows, as plain JSON values.

    Args:
        predictor: who predicts.
        selection: which frames.
        shard: `I/N` where the work is divided.
    """
    smooth = None if predictor.smooth is None else {"kind": "causal exponential mean", "seconds": predictor.smooth}
    return {
        "detector": predictor.detector.name,
        "detector_version": predictor.detector.version,
        "detect_every": predictor.detect_every,
        "faces": "all" if predictor.faces is None else predictor.faces,
        "recipe": predictor.recipe,
        "thresholds": dict(zip(predictor.au_names, predictor.thresholds.tolist(), strict=True)),
        "precision": predictor.precision,
        "probability_smoothing": smooth,
        "frames": {"every": selection.every, "fps": selection.fps, "start_s": selection.start, "end_s": selection.end},
        "shard": shard,
    }


def predictions_side(
    predictor: AUPredictor,
    *,
    checkpoint: Mapping[str, Any],
    settings: Mapping[str, Any],
    counts: Mapping[str, Any],
    notice: str | None,
) -> dict[str, Any]:
    """Side file of the table: where the probabilities come from.

    Args:
        predictor: who predicted.
        checkpoint: `given` (CHECKPOINT as the user wrote it), `file` that it means, its `sha256`, the hub's `revision` where there is one.
        settings: as `run_settings` gives them.
        counts: of sources, pictures by status, and faces by where their points come from.
        notice: what every output of this checkpoint has to say.

    Returns:
        Plain JSON values; None where something is not known.
    """
    network, header = predictor.network, predictor.network.metadata
    warnings = []
    if not network.crop_recipe:
        warnings.append(f"The checkpoint does not say how its training images were cropped; the recipe '{predictor.recipe}' was used.")
    return {
        "checkpoint": checkpoint["given"],
        "adapter": {
            "file": Path(checkpoint["file"]).name,
            "sha256": checkpoint["sha256"],
            "revision": checkpoint.get("revision"),
            "package_version": header.get("package_version"),
        },
        "au_names": list(network.au_names),
        "thresholds": settings["thresholds"],
        "crop_recipe": predictor.recipe,
        "image_size": list(network.image_size),
        "config": {name: header.get(name) for name in ("network", "arguments", "backbone", "training_data", "extra")},
        "epoch_selection": (header.get("extra") or {}).get("selection"),
        "faces": {
            "detector": predictor.detector.name,
            "version": predictor.detector.version,
            "identity": "overlap of boxes over time (a photo's faces: by size)",
            "points": "1-euro filter over time in recordings",
        },
        "settings": dict(settings),
        "counts": dict(counts),
        "package_version": __version__,
        "warnings": warnings,
        "notice": notice,
    }

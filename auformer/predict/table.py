"""Predictions as rows of the predictions file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.predict.types import ImagePrediction

DATASET = "user"  # what the contract calls people's own files
BOX = ("x", "y", "w", "h")
PIXEL_DECIMALS, SCORE_DECIMALS, TIME_DECIMALS, PROB_DECIMALS = 2, 4, 6, 7  # [ours]


def table_columns(au_names: Sequence[str]) -> list[str]:
    """Columns of the table: the key, `file, time_s`, box, score, `status`, then per AU `_prob` and `_active`."""
    aus = [f"{au}_{kind}" for au in au_names for kind in ("prob", "active")]
    return ["dataset", "subject", "sequence", "frame", "face", "file", "time_s", *BOX, "score", "status", *aus]


def table_rows(image: ImagePrediction, thresholds: np.ndarray) -> list[list[Any]]:
    """Rows of one image, one per face; an image without any has one row with empty values (None) and its status.

    Args:
        image: The image.
        thresholds: (N,) decision threshold per AU.
    """
    name, time = image.name, None if image.time_s is None else round(image.time_s, TIME_DECIMALS)
    key = [DATASET, name, name, image.frame]
    if not image.faces:
        return [[*key, 0, image.file, time, *[None] * 5, image.status, *[None] * 2 * len(thresholds)]]
    rows = []
    for found in image.faces:
        box = [round(float(value), PIXEL_DECIMALS) for value in found.face.box]
        score = round(float(found.face.score), SCORE_DECIMALS)
        probs = found.probs.round(PROB_DECIMALS).tolist()
        pairs = zip(probs, (found.probs >= thresholds).astype(int).tolist(), strict=True)
        values = [value for pair in pairs for value in pair]
        rows.append([*key, found.track, image.file, time, *box, score, image.status, *values])
    return rows


def rows_table(rows: Iterable[Sequence[Any]], au_names: Sequence[str]) -> pd.DataFrame:
    """The table of rows of `table_rows`: floats where numbers may be missing, and `Int8` in `_active`."""
    table = pd.DataFrame(list(rows), columns=table_columns(au_names))
    floats = ["time_s", *BOX, "score", *(f"{au}_prob" for au in au_names)]
    active = [f"{au}_active" for au in au_names]
    return table.astype({**dict.fromkeys(floats, float), **dict.fromkeys(active, "Int8")})


def predictions_table(
    images: Iterable[ImagePrediction], au_names: Sequence[str], thresholds: np.ndarray
) -> pd.DataFrame:
    """The table of many images.

    Args:
        images: What `AUPredictor.stream` yields, without the ends.
        au_names: The N action units.
        thresholds: (N,) decision threshold per AU.
    """
    return rows_table((row for image in images for row in table_rows(image, thresholds)), au_names)

"""Predictions as rows of the predictions file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.predict.types import ImagePrediction

DATASET = "user"  # what the contract calls people's own files
BOX = ("x", "y", "w", "h")
PIXEL_DECIMALS, SCORE_DECIMALS, TIME_DECIMALS, PROB_DECIMALS, INTENSITY_DECIMALS = 2, 4, 6, 7, 6  # [ours]


def table_columns(au_names: Sequence[str], intensity_aus: Sequence[str] = ()) -> list[str]:
    """Columns of the table: the key, `file, time_s`, box, score, `quality`, `status`, then those of each AU.

    >>> table_columns(["AU4", "AU12"], ["AU12"])[-5:]
    ['AU4_prob', 'AU4_active', 'AU12_prob', 'AU12_active', 'AU12_intensity_pred']
    """
    aus = [
        f"{au}_{kind}"
        for au in au_names
        for kind in ("prob", "active", *(["intensity_pred"] if au in intensity_aus else []))
    ]
    key = ["dataset", "subject", "sequence", "frame", "face"]
    return [*key, "file", "time_s", *BOX, "score", "quality", "status", *aus]


def table_rows(
    image: ImagePrediction, au_names: Sequence[str], thresholds: np.ndarray, intensity_aus: Sequence[str] = ()
) -> list[list[Any]]:
    """Rows of one image, one per face; an image without any has one row with empty values (None) and its status.

    Args:
        image: The image.
        au_names: The N action units.
        thresholds: (N,) decision threshold per AU.
        intensity_aus: Those of them that have an intensity.
    """
    name, time = image.name, None if image.time_s is None else round(image.time_s, TIME_DECIMALS)
    key = [DATASET, name, name, image.frame]
    if not image.faces:
        empty = [None] * (2 * len(au_names) + len(intensity_aus))
        return [[*key, 0, image.file, time, *[None] * 5, "", image.status, *empty]]
    rows = []
    for found in image.faces:
        box = [round(float(value), PIXEL_DECIMALS) for value in found.face.box]
        score = round(float(found.face.score), SCORE_DECIMALS)
        probs = found.probs.round(PROB_DECIMALS).tolist()
        active = (found.probs >= thresholds).astype(int).tolist()
        levels = _levels(found.intensity, len(au_names))
        values: list[Any] = []
        for au, prob, on, level in zip(au_names, probs, active, levels, strict=True):
            values += [prob, on, level] if au in intensity_aus else [prob, on]
        rows.append([*key, found.track, image.file, time, *box, score, ";".join(found.quality), image.status, *values])
    return rows


def _levels(intensity: np.ndarray | None, number: int) -> list[float | None]:
    """Intensities of a `number` of AUs as they are written; None for nan, which JSON does not have."""
    if intensity is None:
        return [None] * number
    return [None if np.isnan(level) else level for level in intensity.round(INTENSITY_DECIMALS).tolist()]


def rows_table(
    rows: Iterable[Sequence[Any]], au_names: Sequence[str], intensity_aus: Sequence[str] = ()
) -> pd.DataFrame:
    """The table of rows of `table_rows`: floats where numbers may be missing, and `Int8` in `_active`."""
    table = pd.DataFrame(list(rows), columns=table_columns(au_names, intensity_aus))
    floats = ["time_s", *BOX, "score", *(f"{au}_prob" for au in au_names)]
    floats += [f"{au}_intensity_pred" for au in intensity_aus]
    active = [f"{au}_active" for au in au_names]
    return table.astype({**dict.fromkeys(floats, float), **dict.fromkeys(active, "Int8")})


def predictions_table(
    images: Iterable[ImagePrediction], au_names: Sequence[str], thresholds: np.ndarray,
    intensity_aus: Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """The table of many images.

    Args:
        images: What `AUPredictor.stream` yields, without the ends.
        au_names: The N action units.
        thresholds: (N,) decision threshold per AU.
        intensity_aus: Those of them that have an intensity.
    """
    rows = (row for image in images for row in table_rows(image, au_names, thresholds, intensity_aus))
    return rows_table(rows, au_names, intensity_aus)

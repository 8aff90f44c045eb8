"""Our predictions in the columns of other tools: OpenFace 2.2 and Py-Feat, one file per source.

Column names, order and decimals: OpenFace `lib/local/Utilities/src/RecorderCSV.cpp`; Py-Feat `feat/utils/__init__.py` and
`feat/detector.py` (version 1). What we do not know stays empty. A probability is no intensity: OpenFace's `_r` is always empty, `_c` is
whether the probability reaches the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import canonical

FORMATS = ("native", "openface", "pyfeat")
OPENFACE_R = tuple(f"AU{number:02d}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
OPENFACE_C = tuple(f"AU{number:02d}_c" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45))
OPENFACE_AUS = tuple(name.removesuffix("_c") for name in OPENFACE_C)
PYFEAT_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore")
PYFEAT_AUS = tuple(f"AU{number:02d}" for number in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43))
_PYFEAT_POINTS = tuple(f"{axis}_{number}" for axis in "xy" for number in range(68))
_PYFEAT_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_PYFEAT_GAZE = ("gaze_pitch", "gaze_yaw", "gaze_angle")
PYFEAT_COLUMNS = (
    *PYFEAT_BOX,
    *_PYFEAT_POINTS,
    *("Pitch", "Roll", "Yaw", "X", "Y", "Z"),
    *PYFEAT_AUS,
    *_PYFEAT_EMOTIONS,
    *_PYFEAT_GAZE,
    *("FrameHeight", "FrameWidth", "input", "frame", "approx_time", "Identity"),
)


def openface_table(table: pd.DataFrame, *, photo: bool) -> pd.DataFrame:
    """One source's predictions in OpenFace's columns, as text that is ready to be written.

    Args:
        table: rows of one source, as `predictions_table` gives them.
        photo: the source is a photo, whose columns begin with `face, confidence` as those of FaceLandmarkImg.

    Returns:
        `frame` from 1, `face_id`, `timestamp`, `confidence`, `success`, then all 17 `_r` (empty) and all 18 `_c` (1, 0, or empty where
        there is no face or the checkpoint does not know the AU).
    """
    seen = table["status"] == "ok"
    confidence = _decimals(table["score"].where(seen, 0.0), 2)
    if photo:
        out = pd.DataFrame({"face": table["face"].astype(str), "confidence": confidence}, index=table.index)
    else:
        out = pd.DataFrame(
            {
                "frame": (table["frame"] + 1).astype(str),
                "face_id": table["face"].astype(str),
                "timestamp": _decimals(table["time_s"], 3),
                "confidence": confidence,
                "success": seen.map({True: "1", False: "0"}),
            },
            index=table.index,
        )
    columns: dict[str, Any] = dict.fromkeys(OPENFACE_R, "")
    for name in OPENFACE_C:
        ours = f"{canonical(name.removesuffix('_c'))}_active"
        columns[name] = _decimals(table[ours].astype("Float64").astype(float), 1) if ours in table else ""
    return pd.concat([out, pd.DataFrame(columns, index=table.index)], axis=1)


def pyfeat_table(table: pd.DataFrame, *, size: tuple[int, int] | None) -> pd.DataFrame:
    """One source's predictions in Py-Feat's columns.

    Args:
        table: rows of one source, as `predictions_table` gives them.
        size: height and width of its pictures.

    Returns:
        All columns of version 1 but the 512 of an identity embedding; landmarks, pose, emotions and gaze are empty.
    """
    columns: dict[str, Any] = dict.fromkeys(PYFEAT_COLUMNS, np.nan)
    for name, ours in zip(PYFEAT_BOX, ("x", "y", "w", "h", "score"), strict=True):
        columns[name] = table[ours]
    for name in PYFEAT_AUS:
        ours = f"{canonical(name)}_prob"
        if ours in table:
            columns[name] = table[ours]
    columns["FrameHeight"], columns["FrameWidth"] = size or (np.nan, np.nan)
    columns["input"], columns["frame"] = table["file"], table["frame"]
    columns["approx_time"] = table["time_s"].map(lambda time: "" if pd.isna(time) else f"{int(time) // 60:02d}:{int(time) % 60:02d}")
    columns["Identity"] = [f"Person_{face}" if ok else "" for face, ok in zip(table["face"], table["status"] == "ok", strict=True)]
    return pd.DataFrame(columns, index=table.index)


def format_notes(kind: str, au_names: Sequence[str]) -> dict[str, Any]:
    """What the side file says about a table of another tool's columns.

    Args:
        kind: `openface` or `pyfeat`.
        au_names: AUs of the checkpoint.
    """
    names = OPENFACE_AUS if kind == "openface" else PYFEAT_AUS
    there = {canonical(name) for name in names}
    values = {
        "openface": "AU.._c: 1 where the probability reaches the threshold, else 0; AU.._r (intensity) is not predicted and always empty",
        "pyfeat": "AU..: probability in [0, 1]; landmarks, pose, emotions, gaze and identity embedding are not predicted",
    }
    return {
        "format": kind,
        "values": values[kind],
        "predicted": [au for au in au_names if au in there],
        "columns_without_values": [name for name in names if canonical(name) not in au_names],
        "predicted_without_column": [au for au in au_names if au not in there],
    }


def _decimals(values: pd.Series, digits: int) -> pd.Series:
    """Numbers as text with so many decimals and a point, whatever the locale; empty where there is none."""
    return values.map(lambda value: "" if pd.isna(value) else f"{value:.{digits}f}")

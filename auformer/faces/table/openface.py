"""Faces from a table of OpenFace 2.x: FeatureExtraction (a row per frame and face) or FaceLandmarkImg (a row per face).

Columns as in OpenFace's `RecorderCSV.cpp`, with or without spaces before the names.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from auformer.faces.recipes import Box
from auformer.faces.table.reading import read_csv

_EYES = (slice(36, 42), slice(42, 48))  # contours of the image-left and image-right eye among the 68 landmarks
_NOSE, _MOUTH = 30, (48, 54)  # tip; image-left and image-right corner
_NAMES = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
_TO_CORNER = 0.5  # pixels: OpenCV's origin, and so OpenFace's, is the centre of the first pixel; ours is its corner


def is_openface(table: pd.DataFrame) -> bool:
    """Whether a table has OpenFace's columns of landmarks in the image."""
    return {"confidence", *_NAMES} <= set(table.columns)


def read_openface(path: str, number: int | None) -> list[tuple[Box, np.ndarray, float]]:
    """Faces of one frame.

    Args:
        path: the table.
        number: of the frame, the first is 1; None or any for the table of an image.

    Returns:
        Per face that was tracked: box around its landmarks, points (5, 2), confidence.

    Raises:
        ValueError: the table is none of OpenFace's, or the frame is beyond its ends.
    """
    frames, landmarks, confidence = _read(path)
    if frames is None:
        rows = np.arange(len(landmarks))
    else:
        last = int(frames.max()) if len(frames) else 0
        if number is None and last == 1:
            number = 1
        if number is None or not 1 <= number <= last:
            raise ValueError(
                f"Expected a frame of {path}, which has 1 to {last}, but got {number}. Frames are counted from 0 on, or from N on with "
                "table:FILE?first=N."
            )
        rows = np.flatnonzero(frames == number)
    faces = []
    for row in rows:
        if np.isfinite(landmarks[row]).all():
            low, high = landmarks[row].min(0), landmarks[row].max(0)
            box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
            faces.append((box, five_points(landmarks[row]), float(confidence[row])))
    return faces


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Pupils, nose tip, mouth corners (5, 2) of 68 landmarks (68, 2)."""
    return np.array([*(landmarks[eye].mean(0) for eye in _EYES), landmarks[_NOSE], *landmarks[list(_MOUTH)]])


@lru_cache(maxsize=8)
def _read(path: str) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Frame numbers (n,) or None, landmarks (n, 68, 2), nan where tracking failed, and confidence (n,)."""
    table = read_csv(path)
    if not is_openface(table):
        raise ValueError(f"Expected {path} to be an OpenFace table with x_0 .. y_67, but got {', '.join(table.columns[:8])}.")
    try:
        values = table[[*_NAMES, "confidence"]].to_numpy(np.float64)
    except ValueError as error:
        raise ValueError(f"Expected numbers in the landmarks of {path}, but got others: {error}") from error
    landmarks = np.stack([values[:, :68], values[:, 68:136]], -1) + _TO_CORNER
    if "success" in table:
        landmarks[table["success"].to_numpy() == 0] = np.nan
    frames = table["frame"].to_numpy(np.int64) if "frame" in table else None
    return frames, landmarks, values[:, 136]

"""Which five points a face gets: those of the network, or those of the eye cascades where the two contradict each other."""

from __future__ import annotations

import cv2
import numpy as np

from auformer.faces.eyes import find_points
from auformer.faces.recipes import Box
from auformer.faces.regressor import locate

# Inter-pupil distances between the two, of the pupil where they are further apart. On rendered faces the network is nearer to the truth
# beyond any threshold (experiments/results/points.md); the check is there for faces unlike those. [ours]
_CONTRADICTION = 0.3


def choose_points(gray: np.ndarray, box: Box, cascades: list[cv2.CascadeClassifier]) -> tuple[np.ndarray, str, bool]:
    """Five points of a face whose box is known.

    Args:
        gray: (H, W) uint8 image.
        box: (x, y, w, h) from OpenCV's frontal-face cascade, in pixels.
        cascades: eye cascades, the preferred one first.

    Returns:
        (5, 2) float64 points in pixels; their source, `regressor` or `eyes`; and whether the cascades have found an eye.
    """
    points = locate(gray, box)
    checked, seen = find_points(gray, box, cascades)
    if seen == "eyes" and contradiction(points, checked) > _CONTRADICTION:
        return checked, "eyes", True
    return points, "regressor", seen != "box"


def contradiction(points: np.ndarray, checked: np.ndarray) -> float:
    """How far two answers (5, 2) put a pupil apart, in inter-pupil distances of the second."""
    away = np.hypot(*(points[:2] - checked[:2]).T).max()
    return float(away / max(np.hypot(*(checked[1] - checked[0])), 1e-6))

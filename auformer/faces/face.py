"""What every detection back-end returns for one face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Face:
    """One face in an image, in the pixel coordinates of `auformer.faces.align` (origin at the upper left corner).

    Args:
        box: (x, y, w, h) in pixels; it may reach beyond the image where the face is cut by the border.
        score: confidence in [0, 1] on the back-end's own scale; an order, not a probability.
        points: (5, 2) float64 pupils, nose tip, mouth corners, image left first, in pixels.
        points_source: where the points come from. Of the cascade: `eyes` (both pupils found), `one_eye` (the other one placed by the
            box) or `box` (both placed by the box); nose tip and mouth corners are placed by the pupils in each case.
    """

    box: tuple[float, float, float, float]
    score: float
    points: np.ndarray
    points_source: str

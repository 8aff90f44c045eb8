"""What every detection back-end returns for one face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The five landmarks in the order of all arrays `(5, 2)`; left and right of the image.
LANDMARKS = ("pupil_left", "pupil_right", "nose_tip", "mouth_left", "mouth_right")
#: Names of their ten numbers in tables.
POINT_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")


@dataclass(frozen=True, eq=False)
class Face:
    """One face in an image, in the pixel coordinates of `auformer.faces.align` (origin at the upper left corner).

    Args:
        box: (x, y, w, h) in pixels; it may reach beyond the image where the face is cut by the border.
        score: Confidence in [0, 1] on the back-end's own scale; an order, not a probability.
        points: `(5, 2)` float64 landmarks in the order of `LANDMARKS`, in pixels.
        points_source: Where they come from: `regressor` (the network of `auformer.faces.regressor`), `eyes` (pupils by
            the eye cascades, where they contradict the network; nose tip and mouth corners by proportion), `yunet`, or
            `table`.
        certainty: How sure the landmark network is that it looks at a face, in [0, 1]; None where it has not looked.
    """

    box: tuple[float, float, float, float]
    score: float
    points: np.ndarray
    points_source: str
    certainty: float | None = None

"""What prediction gives for one face and for one photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from auformer.faces import Face


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """One face and its action units.

    Args:
        face: box, score and points in the photo.
        crop: (H, W, 3) uint8 RGB, the aligned face as the network saw it.
        probs: (N,) float64 in [0, 1], the probability that each AU occurs, in the network's order.
    """

    face: Face
    crop: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True, eq=False)
class PhotoPrediction:
    """One photo and its faces.

    Args:
        file: the path as it was given.
        name: the path relative to the folder that all photos share.
        status: `ok`, `no_face` or `unreadable`.
        message: what went wrong; empty if nothing did.
        faces: the faces, the largest first; empty unless `status` is `ok`.
    """

    file: str
    name: str
    status: str = "ok"
    message: str = ""
    faces: list[FacePrediction] = field(default_factory=list)

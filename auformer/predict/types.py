"""What prediction gives: one face, one picture with its faces, and the end of a source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auformer.faces import Face
from auformer.predict.sources import Source


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """One face and its action units.

    Args:
        face: box, score and points in the picture.
        crop: (H, W, 3) uint8 RGB, the aligned face as the network saw it.
        probs: (N,) float64 in [0, 1], the probability that each AU occurs, in the network's order.
        identity: number of the face: over time in a recording, by size (0 is the largest) in a photo.
    """

    face: Face
    crop: np.ndarray
    probs: np.ndarray
    identity: int = 0


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """One picture, a photo or a frame of a recording, and its faces.

    Args:
        source: what it belongs to.
        status: `ok`, `no_face` or `unreadable`.
        message: what went wrong; empty if nothing did.
        faces: the faces, by identity; empty unless `status` is `ok`.
        frame: 0-based place in the recording, 0 for a photo.
        time_s: seconds from the beginning; None where there are no time stamps.
        size: height and width in pixels; None where the picture cannot be read.
        image: (H, W, 3) uint8 RGB where it was asked for.
        state: from time to time, with what a run goes on after this picture (plain JSON values).
    """

    source: Source
    status: str = "ok"
    message: str = ""
    faces: list[FacePrediction] = field(default_factory=list)
    frame: int = 0
    time_s: float | None = None
    size: tuple[int, int] | None = None
    image: np.ndarray | None = None
    state: dict[str, Any] | None = None

    @property
    def file(self) -> str:
        """The path as it was given."""
        return self.source.file

    @property
    def name(self) -> str:
        """The path relative to the folder that all sources share."""
        return self.source.name


@dataclass(frozen=True)
class SourceEnd:
    """A source is read to its end, or as far as it can be.

    Args:
        source: which.
        message: why it ends too early; empty if it does not.
    """

    source: Source
    message: str = ""

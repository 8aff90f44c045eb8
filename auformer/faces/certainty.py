"""How sure the landmark network is that it looks at a face, with its landmarks in their places.

A small head on the frozen trunk of `auformer.faces.regressor`, whose landmarks it leaves as they are, bit for bit: the
trunk's last map (64, 8, 8) is averaged down to 4 x 4 cells, one hidden layer, one number. Trained on rendered faces of
both renderers, covered ones, and scenes without a face (experiments/pretraining/train_certainty.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load_file

from auformer.faces.recipes import Box, Square
from auformer.faces.regressor import INPUT, SIDE, ask, square_of, square_of_box, trunks

MODEL = Path(__file__).parent.parent / "assets" / "points_certainty.safetensors"
CERTAIN = 0.5  # from which a look counts as one on a face [ours]
_PUPILS_APART, _PUPILS_BELOW = 0.40, 0.413  # in sides of the cascade's box, as in `cascade` [ours]
_CELLS = 4  # per side of what the trunk's map is averaged to [ours]


def pooled(features: np.ndarray) -> np.ndarray:
    """The trunk's map (..., 64, 8, 8) averaged to 4 x 4 cells: (..., 1024) float32."""
    *first, channels, height, width = features.shape
    cells = features.reshape(*first, channels, _CELLS, height // _CELLS, _CELLS, width // _CELLS)
    return cells.mean((-3, -1)).reshape(*first, channels * _CELLS * _CELLS)  # (..., 64, 4, 2, 4, 2) -> (..., 1024)


class Certainty:
    """The head.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path = MODEL) -> None:
        kept = load_file(path)
        self._hidden = kept["hidden.weight"].T, kept["hidden.bias"]
        self._out = kept["out.weight"][0], float(kept["out.bias"][0])

    def __call__(self, features: np.ndarray) -> float:
        """Certainty in [0, 1] of one look, from the trunk's map (64, 8, 8)."""
        return float(self.of_pooled(pooled(features)[None])[0])

    def of_pooled(self, values: np.ndarray) -> np.ndarray:
        """Certainties (n,) in [0, 1] from pooled maps (n, 1024)."""
        (weight, bias), (last, shift) = self._hidden, self._out
        logits = np.maximum(values @ weight + bias, 0) @ last + shift
        return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))


@lru_cache(maxsize=1)
def packaged() -> Certainty:
    """The head of this package, loaded once."""
    return Certainty()


def locate_surely(gray: np.ndarray, box: Box) -> tuple[np.ndarray, float]:
    """The landmarks (5, 2) of `auformer.faces.regressor.locate`, and how sure the second look is of them, in [0, 1]."""
    points, _ = ask(gray, square_of_box(box))
    points, features = ask(gray, square_of(points))
    return points, packaged()(features)


# Squares that `search` looks at: sides in parts of the image's shorter one, and how far apart, in their own sides; the
# network finds a face that lies a quarter of its side beside a square. [ours]
_SIDES, _APART = (1.0, 0.7, 0.5), 0.3
_FINE = 1.5  # pixels of the copy in which they are first looked at, per pixel of the network's input, at least [ours]
_ROOM = 1.3  # a face's box by the side of the square that it is looked for in, at most [ours]
_WORTH, _SURE = 0.05, 0.95  # certainty of a first look that is followed, and of the third that is believed [ours]
_STILL = 0.04  # inter-pupil distances by which landmarks may still move from the second look to the third [ours]


def search(gray: np.ndarray, min_size: int) -> list[tuple[Box, np.ndarray, float]]:
    """Large faces by the landmark network itself, looking everywhere: for images in which the cascade finds nothing.

    Args:
        gray: (H, W) uint8.
        min_size: Pixels; faces whose box is narrower are left out.

    Returns:
        Of each face its box as the cascade would give it, its landmarks (5, 2), and the certainty, the surest first;
        one per place.
    """
    found: list[tuple[Box, np.ndarray, float]] = []
    scale = min(1.0, _FINE * INPUT / (min(_SIDES) * min(gray.shape)))
    copy = gray if scale == 1 else cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    squares = list(_squares(gray.shape[0], gray.shape[1], min_size))
    features = trunks(copy, [Square(square.centre * scale, square.axis * scale) for square in squares])
    certainties = packaged().of_pooled(pooled(features))
    for square in (square for square, first in zip(squares, certainties, strict=True) if first >= _WORTH):
        points, _ = ask(gray, square)
        before, _ = ask(gray, square_of(points))
        points, features = ask(gray, square_of(before))
        certainty, unit = packaged()(features), float(np.hypot(*square_of(points).axis)) * 2 / SIDE
        side = unit / _PUPILS_APART
        x, y = points[:2].mean(0) - (side / 2, _PUPILS_BELOW * side)
        moved = float(np.hypot(*(points - before).T).mean()) / unit
        if certainty >= _SURE and moved <= _STILL and side >= min_size:
            found.append(((float(x), float(y), side, side), points, certainty))
    kept: list[tuple[Box, np.ndarray, float]] = []
    for one in sorted(found, key=lambda face: -face[2]):
        if all(np.hypot(*(one[1].mean(0) - other[1].mean(0))) > other[0][2] / 2 for other in kept):
            kept.append(one)
    return kept


def _squares(height: int, width: int, min_size: int) -> Iterator[Square]:
    """Squares of several sizes all over an image, but for those too small to hold a face of `min_size` pixels."""
    for share in _SIDES:
        side = share * min(height, width)
        if side * _ROOM < max(min_size, 8):
            continue
        places = [
            np.linspace(side / 2, length - side / 2, 1 + math.ceil((length - side) / (_APART * side)))
            for length in (width, height)
        ]
        for y in places[1]:
            for x in places[0]:
                yield Square(np.array([x, y]), np.array([side / 2, 0.0]))

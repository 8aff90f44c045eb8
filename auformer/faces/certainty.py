"""How sure the landmark network is that it looks at a face, with its landmarks in their places.

A small head on the frozen trunk of `auformer.faces.regressor`, whose landmarks it leaves as they are, bit for bit: the
trunk's last map (64, 8, 8) is averaged down to 4 x 4 cells, one hidden layer, one number. Trained on rendered faces of
both renderers, covered ones, and scenes without a face (experiments/pretraining/train_certainty.py).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from auformer.faces.recipes import Box
from auformer.faces.regressor import ask, square_of, square_of_box

MODEL = Path(__file__).parent.parent / "assets" / "points_certainty.safetensors"
CERTAIN = 0.5  # from which a look counts as one on a face [ours]
_CELLS = 4  # per side of what the trunk's map is averaged to [ours]


def pooled(features: np.ndarray) -> np.ndarray:
    """The trunk's map (64, 8, 8) averaged to 4 x 4 cells: (1024,) float32."""
    channels, height, width = features.shape
    cells = features.reshape(channels, _CELLS, height // _CELLS, _CELLS, width // _CELLS)
    return cells.mean((2, 4)).reshape(-1)  # (64, 4, 2, 4, 2) -> (64, 4, 4) -> (1024,)


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

"""What makes the values of a face less sure: words of the column `quality`.

`small`: the face's box is narrower than 40 pixels, the limit of `--min-face`; a lower limit, a table of faces, or a
face that moves away lets it through. `cut`: the image's border cuts a part of the face off. `covered`: much of it is
hidden, by a hand or the like, or because it is turned far: the head that tells faces from other things is less sure
(`auformer.faces.certainty`). The row keeps its probabilities, drawn towards 0.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from auformer.faces import Face
from auformer.faces.certainty import packaged
from auformer.faces.detect import MIN_SIZE
from auformer.faces.recipes import Square
from auformer.faces.regressor import SIDE, ask, square_of
from auformer.predict.following import grey_piece

SMALL, CUT, COVERED = WORDS = ("small", "cut", "covered")
#: Certainty below which a face counts as covered [ours]: 2 of 100 photographs of faces that nothing covers have less,
#: most of these turned far; how many covered faces are noticed: experiments/results/quality.md.
CERTAIN_OPEN = 0.8
#: Share of a face that may lie outside the image [ours]: photographs that end at chin and ears are not cut.
OUTSIDE = 0.1
#: The face, brows to chin, an ellipse in inter-pupil distances: its centre below the pupils, half its width and height.
#: [ours]
BELOW, HALF_WIDTH, HALF_HEIGHT = 0.55, 0.9, 1.05
FACTOR = 0.5  # on the score, per word [ours]
SHRINK = 0.5  # factor on the log-odds [ours]
_LEAST, _APART = 1e-7, 1e-6  # probabilities are written with seven decimals; least distance from a threshold
_GRID = 16  # points per side at which a face is looked up


def find_quality(image: np.ndarray, face: Face) -> tuple[str, ...]:
    """What is wrong with a face in an image (H, W, 3) uint8 RGB, in the order of the words; empty where nothing is."""
    words = [SMALL] if face.box[2] < MIN_SIZE else []
    if share_outside(face, image.shape) > OUTSIDE:
        words.append(CUT)
    if _certainty(image, face) < CERTAIN_OPEN:
        words.append(COVERED)
    return tuple(words)


def share_outside(face: Face, shape: Sequence[int]) -> float:
    """Share of a face that lies outside an image of a shape (H, W, ...), in [0, 1]; of its box without landmarks.

    >>> share_outside(Face((-5.0, 0.0, 10.0, 10.0), 1.0, np.full((5, 2), np.nan), "table"), (100, 100))
    0.5
    """
    steps = (np.arange(_GRID) + 0.5) / _GRID
    if np.isfinite(face.points).all():
        square = square_of(face.points)
        unit = square.axis * (2 / SIDE)  # of an inter-pupil distance, along the eye line
        across, down = (grid.ravel() for grid in np.meshgrid(2 * steps - 1, 2 * steps - 1))
        within = across**2 + down**2 <= 1
        across, down = HALF_WIDTH * across[within], BELOW + HALF_HEIGHT * down[within]
        places = face.points[:2].mean(0) + np.outer(across, unit) + np.outer(down, (-unit[1], unit[0]))
    else:
        x, y, w, h = face.box
        places = np.stack(np.meshgrid(x + w * steps, y + h * steps), -1)
    inside = ((places >= 0) & (places <= (shape[1], shape[0]))).all(-1)
    return float(1 - inside.mean())


def _certainty(image: np.ndarray, face: Face) -> float:
    """How sure the landmark network is of the face: as its detection or following found, else by one more look."""
    if face.certainty is not None:
        return face.certainty
    if not np.isfinite(face.points).all():  # a table of boxes: nothing is known
        return 1.0
    square = square_of(face.points)
    piece, corner = grey_piece(image, square)
    return packaged()(ask(piece, Square(square.centre - corner, square.axis))[1])


def quality_settings() -> dict[str, str]:
    """What each word stands for, for sidecars."""
    return {
        SMALL: f"the face's box is narrower than {MIN_SIZE} pixels",
        CUT: f"more than {OUTSIDE:.0%} of the face lies outside the image",
        COVERED: f"the landmark network is sure of a face by less than {CERTAIN_OPEN:g}",
    }


def lowered(score: float, words: Iterable[str]) -> float:
    """A face's score in [0, 1], halved per word.

    >>> lowered(0.9, ()), lowered(0.8, ("small", "cut"))
    (0.9, 0.2)
    """
    return score * FACTOR ** len(tuple(words))


def less_sure(probs: np.ndarray, thresholds: np.ndarray, words: Iterable[str]) -> np.ndarray:
    """Probabilities (N,) of a face with such words, drawn towards 0.5: the log-odds halved, once for all words [ours].

    What counts as active stays so: a probability does not pass its threshold (N,).
    """
    if not tuple(words):
        return probs
    kept = np.clip(probs, _LEAST, 1 - _LEAST)
    drawn = 1 / (1 + ((1 - kept) / kept) ** SHRINK)
    above, below = np.minimum(probs, thresholds + _APART), np.maximum(probs, thresholds - _APART)
    return np.where(probs >= thresholds, np.maximum(drawn, above), np.minimum(drawn, below))

"""What a network says about faces in words, in one form for every network that speaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Saying:
    """One sentence.

    Args:
        text: As the grammar has it, without capital and full stop.
        log_prob: Mean log-probability per word; None for a sentence made by rule.
    """

    text: str
    log_prob: float | None = None


@dataclass(frozen=True, eq=False)
class Description:
    """One face in words.

    Args:
        probs: Probabilities `(N,)` of the same forward pass.
        intensity: Intensities `(N,)` in [0, 5]; None of a network that gives none.
        sentences: A sentence per action unit, by name.
        face: The sentence about the whole face; None where the network writes none.
    """

    probs: np.ndarray
    intensity: np.ndarray | None
    sentences: dict[str, Saying]
    face: Saying | None = None

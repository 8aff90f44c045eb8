"""Probabilities smoothed over time, where that is asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from auformer.predict.tracking import MAX_GAP


class ProbSmoother:
    """A causal exponential mean of each face's probabilities: it follows a step to 63 % within `seconds`.

    Args:
        seconds: time constant, > 0.

    Raises:
        ValueError: `seconds` is not positive.

    >>> smoother = ProbSmoother(1.0)
    >>> smoother.update(0, np.array([0.0]), 0.0), smoother.update(0, np.array([1.0]), 1.0).round(3)
    (array([0.]), array([0.632]))
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"Expected `smooth` to be a positive number of seconds, but got {seconds}.")
        self.seconds = seconds
        self._faces: dict[int, tuple[float, np.ndarray]] = {}

    def update(self, identity: int, probs: np.ndarray, time_s: float) -> np.ndarray:
        """Smoothed probabilities (N,) of a face at a time; a face that was away starts anew."""
        self._faces = {number: kept for number, kept in self._faces.items() if time_s - kept[0] <= MAX_GAP}
        if identity in self._faces:
            before, old = self._faces[identity]
            probs = old + (1 - math.exp(-(time_s - before) / self.seconds)) * (probs - old)
        self._faces[identity] = (time_s, probs)
        return probs

    def state(self) -> dict[str, Any]:
        """What is known so far, as plain JSON values."""
        return {str(number): [time, probs.tolist()] for number, (time, probs) in self._faces.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._faces = {int(number): (time, np.array(probs)) for number, (time, probs) in state.items()}

"""How far probabilities can be taken at their word: reliability bins and the expected calibration error.

Ten bins of equal width, and the error as the mean distance between what was said and what came true, weighted by rows: Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017, there for the class that was chosen, here for each action unit by itself [ours].
Bins are sums over rows, so those of several runs can be added: that gives exactly the bins of all their rows together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

NUM_BINS = 10


def reliability_bins(target: Any, prob: Any, num_bins: int = NUM_BINS) -> np.ndarray:
    """Sort the annotated rows of each AU into bins of equal width by their probability.

    Args:
        target: Labels `(n, N)`: 1, 0, and -1 or nan where not annotated.
        prob: Probabilities `(n, N)` in [0, 1]; anything where not annotated.
        num_bins: Number of bins M. A probability on an edge belongs to the bin above it, 1 to the last.

    Returns:
        `(N, M, 3)` float64: mean probability, rate of positives (both nan in an empty bin), and number of rows.

    Raises:
        ValueError: `num_bins` is below 1, or the shapes are not those above.

    Example:
        >>> reliability_bins([[1], [0], [0], [-1]], [[0.95], [0.25], [0.05], [0.5]], 2)[0].round(3).tolist()
        [[0.15, 0.0, 2.0], [0.95, 1.0, 1.0]]
    """
    target, prob = np.asarray(target, dtype=np.float64), np.asarray(prob, dtype=np.float64)
    if target.ndim != 2 or target.shape != prob.shape:
        raise ValueError(f"Expected `target` and `prob` to have one shape (n, N), but got {target.shape} and {prob.shape}.")
    if num_bins < 1:
        raise ValueError(f"Expected `num_bins` to be at least 1, but got {num_bins}.")
    bins = np.empty((target.shape[1], num_bins, 3))
    for au in range(target.shape[1]):
        known = (target[:, au] == 0) | (target[:, au] == 1)
        order = np.argsort(prob[known, au])  # so that the sums do not depend on the order of the rows
        chosen, came_true = prob[known, au][order], target[known, au][order]
        place = np.minimum((chosen * num_bins).astype(np.int64), num_bins - 1)
        rows = np.bincount(place, minlength=num_bins)
        filled = np.where(rows > 0, rows, np.nan)
        bins[au, :, 0] = np.bincount(place, chosen, num_bins) / filled
        bins[au, :, 1] = np.bincount(place, came_true, num_bins) / filled
        bins[au, :, 2] = rows
    return bins


def expected_calibration_error(bins: Any) -> np.ndarray:
    """Mean distance between probability and rate, weighted by rows, from bins `(..., M, 3)` to `(...)`; nan without rows.

    Example:
        >>> expected_calibration_error([[0.15, 0.0, 2.0], [0.95, 1.0, 1.0]]).round(4).tolist()
        0.1167
    """
    bins = np.asarray(bins, dtype=np.float64)
    rows = bins[..., 2]
    apart = np.where(rows > 0, np.abs(bins[..., 0] - bins[..., 1]) * rows, 0.0).sum(-1)
    total = rows.sum(-1)
    return np.where(total > 0, apart / np.where(total > 0, total, 1), np.nan)


def add_bins(parts: Iterable[Any]) -> np.ndarray:
    """Bins `(..., M, 3)` of several groups of rows as those of all rows together.

    Example:
        >>> add_bins([[[0.1, 0.0, 1.0]], [[0.2, 0.5, 3.0]]]).round(4).tolist()
        [[0.175, 0.375, 4.0]]
    """
    stacked = np.stack([np.asarray(part, dtype=np.float64) for part in parts])
    rows = stacked[..., 2]
    total = rows.sum(0)
    sums = np.where(rows[..., None] > 0, stacked[..., :2] * rows[..., None], 0.0).sum(0)
    means = np.where(total[..., None] > 0, sums / np.where(total[..., None] > 0, total[..., None], 1), np.nan)
    return np.concatenate([means, total[..., None]], -1)


def plain_bins(bins: np.ndarray) -> list[list[float | None]]:
    """Bins of one AU `(M, 3)` as plain JSON: None for nan, rows as whole numbers."""
    return [[None, None, 0] if rows == 0 else [round(float(mean), 6), round(float(rate), 6), int(rows)] for mean, rate, rows in bins]


def read_bins(bins: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Bins of one AU `(M, 3)` from what `plain_bins` gives.

    Example:
        >>> read_bins([[None, None, 0], [0.75, 1.0, 4]])[1].tolist()
        [0.75, 1.0, 4.0]
    """
    return np.array(bins, dtype=np.float64)

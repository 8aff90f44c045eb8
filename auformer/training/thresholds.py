"""The probability from which an action unit counts as active, chosen on validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LOWEST, HIGHEST = 0.05, 0.95  # a threshold outside says that the validation rows are too few to choose one [ours]


def tune_thresholds(target: Any, prob: Any, au_names: Sequence[str]) -> dict[str, float]:
    """Choose the threshold with the highest F1 for each action unit [ours].

    Candidates lie halfway between neighbouring probabilities; of several equally good ones the one nearest 0.5 is taken.

    Args:
        target: Labels `(n, N)`: 1, 0, and -1 or NaN where not annotated.
        prob: Predicted probabilities `(n, N)`.
        au_names: Names of the action units, `N`.

    Returns:
        Threshold per name in [0.05, 0.95]; 0.5 for an action unit without a positive or without a negative row.

    >>> tune_thresholds([[1], [1], [0], [0]], [[0.4], [0.3], [0.2], [0.1]], ["AU12"])
    {'AU12': 0.25}
    """
    labels, probs = np.asarray(target, dtype=np.float64), np.asarray(prob, dtype=np.float64)
    if labels.shape != probs.shape or labels.ndim != 2 or labels.shape[1] != len(au_names):
        raise ValueError(f"Expected `target` and `prob` to have shape (n, {len(au_names)}), but got {labels.shape} and {probs.shape}")
    return {name: _best(labels[:, i], probs[:, i]) for i, name in enumerate(au_names)}


def _best(target: np.ndarray, prob: np.ndarray) -> float:
    """Best threshold of one action unit."""
    known = (target == 0) | (target == 1)
    order = np.argsort(-prob[known], kind="stable")
    ranked, labels = prob[known][order], target[known][order]
    positives = labels.sum()
    if positives in (0, len(labels)):
        return 0.5
    edges = np.concatenate([[0.0], np.unique(ranked), [1.0]])
    candidates = np.clip((edges[1:] + edges[:-1]) / 2, LOWEST, HIGHEST)
    called = np.searchsorted(-ranked, -candidates, side="right")  # rows with a probability of at least the candidate
    hits = np.concatenate([[0.0], np.cumsum(labels)])[called]
    f1 = 2 * hits / (called + positives)  # 2 TP / (2 TP + FP + FN)
    best = candidates[f1 >= f1.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])

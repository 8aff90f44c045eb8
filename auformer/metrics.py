"""Scores of occurrence predictions, from counts and from ranks, and their calibration, on plain arrays.

The field's score is F1 per action unit at a threshold of 0.5, from true and false positives and negatives summed over a
whole test fold (never averaged over batches), then the mean over folds, then the mean over AUs. What is undefined is
nan, never 0 or 1 in silence, and every mean says how many values it rests on. Labels are 1, 0, and -1 or nan where an
AU is not annotated; those entries count nowhere.

Calibration: ten bins of equal width, and the error as the mean distance between probability and rate, weighted by rows
(Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arxiv.org/abs/1706.04599; there for the class that
was chosen, here for each action unit by itself [ours]). Bins are sums over rows: those of several runs can be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

THRESHOLD = 0.5


class Mean(NamedTuple):
    """A mean and what it rests on.

    Attributes:
        value: Mean over the values that are not nan; nan where there is none.
        num: How many those are.
    """

    value: float
    num: int


def confusion_counts(target: Any, prob: Any, threshold: Any = THRESHOLD) -> np.ndarray:
    """Count true and false positives and negatives per AU.

    Args:
        target: Labels ``(n, N)``: 1, 0, and -1 or nan where not annotated.
        prob: Probabilities ``(n, N)`` in [0, 1]; anything where not annotated.
        threshold: An AU is predicted where its probability is at least this; one number, or one per AU ``(N,)``.

    Returns:
        Counts ``(4, N)``, int64, in the order TP, FP, FN, TN. Counts of parts of a test fold may be added.

    Raises:
        ValueError: If shapes differ, a label is none of the above, or a probability of an annotated entry is outside
            [0, 1] or nan.

    Example:
        >>> confusion_counts([[1], [1], [0], [-1]], [[0.5], [0.2], [0.1], [0.9]])[:, 0].tolist()
        [1, 0, 1, 1]
    """
    target, prob = _checked(target, prob)
    active = prob >= np.asarray(threshold)
    present, absent = target == 1, target == 0
    cells = (present & active, absent & active, present & ~active, absent & ~active)
    return np.stack([cell.sum(0, dtype=np.int64) for cell in cells])


def f1_from_counts(counts: Any) -> np.ndarray:
    """F1 ``2 TP / (2 TP + FP + FN)`` from counts ``(4, ...)`` to ``(...)``; nan where there is no positive.

    Example:
        >>> f1_from_counts([[2, 0, 0], [1, 0, 5], [1, 3, 0], [6, 7, 5]]).round(4).tolist()
        [0.6667, 0.0, nan]
    """
    tp, fp, fn, _ = _cells(counts)
    return _ratio(2 * tp, np.where(tp + fn > 0, 2 * tp + fp + fn, 0))


def macro_f1_from_counts(counts: Any) -> np.ndarray:
    """Mean of the F1 of "present" and of "absent", from counts ``(4, ...)`` to ``(...)``; nan without either.

    Papers on micro-expressions report it, and it is far higher than F1 where an AU is rare ("Data Leakage and
    Evaluation Issues in Micro-Expression Analysis", Varanka et al., 2022, there beside the F1 of
    :func:`f1_from_counts`).

    Example:
        >>> macro_f1_from_counts([[1], [1], [1], [5]]).round(4).tolist()  # (0.5 + 10 / 12) / 2
        [0.6667]
    """
    tp, fp, fn, tn = _cells(counts)
    return (f1_from_counts(counts) + f1_from_counts(np.stack([tn, fn, fp, tp]))) / 2


def accuracy_from_counts(counts: Any) -> np.ndarray:
    """Share of annotated rows predicted right, from counts ``(4, ...)`` to ``(...)``; nan where none is annotated."""
    tp, fp, fn, tn = _cells(counts)
    return _ratio(tp + tn, tp + fp + fn + tn)


def always_positive_f1(counts: Any) -> np.ndarray:
    """F1 of always saying yes, the floor of the score, from counts ``(4, ...)``; nan where there is no positive.

    Example:
        >>> always_positive_f1([[10], [0], [10], [60]]).tolist()  # 20 of 80 rows are positive: 2 * 20 / (20 + 80)
        [0.4]
    """
    tp, fp, fn, tn = _cells(counts)
    return f1_from_counts(np.stack([tp + fn, fp + tn, np.zeros_like(tp), np.zeros_like(tp)]))


def positives(counts: Any) -> np.ndarray:
    """Annotated rows in which each AU is present, from counts ``(4, ...)`` to ``(...)``."""
    tp, _, fn, _ = _cells(counts)
    return tp + fn


def auroc(target: Any, prob: Any) -> np.ndarray:
    """Area under the ROC curve per AU ``(N,)``, of arguments as above; nan without both positives and negatives."""
    return _per_au(target, prob, roc_auc_score, needs_negatives=True)


def average_precision(target: Any, prob: Any) -> np.ndarray:
    """Average precision per AU ``(N,)``; nan without positives. Arguments as of :func:`confusion_counts`."""
    return _per_au(target, prob, average_precision_score, needs_negatives=False)


def mean_over_aus(values: Any) -> Mean:
    """Mean of scores ``(N,)`` over the AUs where they are defined (not nan), with their number.

    Example:
        >>> mean_over_aus([0.5, float("nan"), 0.7])
        Mean(value=0.6, num=2)
    """
    values = np.asarray(values, dtype=np.float64)
    defined = values[~np.isnan(values)]
    return Mean(float(defined.mean()) if defined.size else float("nan"), int(defined.size))


def mean_f1(counts: Any) -> Mean:
    """Mean F1 over the AUs that have positives, with their number, from counts ``(4, N)``.

    Example:
        >>> mean_f1([[2, 0], [1, 5], [1, 0], [6, 5]])
        Mean(value=0.6666666666666666, num=1)
    """
    return mean_over_aus(f1_from_counts(counts))


def mean_over_folds(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean of scores ``(folds, N)`` over the folds in which they are defined (not nan).

    Returns:
        Means ``(N,)``, nan where no fold defines the score, and the number of folds that each rests on ``(N,)``, int64.

    Example:
        >>> mean, folds = mean_over_folds([[0.5, float("nan")], [0.7, 0.2], [0.6, 0.4]])
        >>> mean.round(4).tolist(), folds.tolist()
        ([0.6, 0.3], [3, 2])
    """
    values = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(values)
    folds = defined.sum(0, dtype=np.int64)
    return _ratio(np.where(defined, values, 0).sum(0), folds), folds


def _checked(target: Any, prob: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int8 ``(n, N)`` with -1 for not annotated, and probabilities as float64 ``(n, N)``."""
    target, prob = np.asarray(target), np.asarray(prob, dtype=np.float64)
    if target.ndim != 2 or target.shape != prob.shape:
        raise ValueError(
            f"Expected `target` and `prob` to have one shape (n, N), but got {target.shape} and {prob.shape}."
        )
    unknown = np.isnan(target) | (target == -1) if target.dtype.kind == "f" else target == -1
    wrong = ~(unknown | (target == 0) | (target == 1))
    if wrong.any():
        raise ValueError(f"Expected `target` to hold 1, 0 or -1 (not annotated), but got {target[wrong][0]}.")
    outside = ~unknown & ~((prob >= 0) & (prob <= 1))
    if outside.any():
        row, au = np.argwhere(outside)[0]
        raise ValueError(
            f"Expected `prob` to be in [0, 1] where `target` is annotated, but got {prob[row, au]} in row {row}, "
            f"column {au}."
        )
    return np.where(unknown, -1, target).astype(np.int8), prob


def _cells(counts: Any) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim == 0 or counts.shape[0] != 4:
        raise ValueError(f"Expected `counts` to have shape (4, ...): TP, FP, FN, TN, but got {counts.shape}.")
    return counts


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient as float64, nan where the denominator is 0."""
    filled = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, np.nan, numerator / filled)


def _per_au(target: Any, prob: Any, score: Any, *, needs_negatives: bool) -> np.ndarray:
    """Apply a scikit-learn score to the annotated rows of each AU."""
    target, prob = _checked(target, prob)
    values = np.full(target.shape[1], np.nan)
    for au in range(target.shape[1]):
        known = target[:, au] >= 0
        truth = target[known, au]
        if (truth == 1).any() and not (needs_negatives and truth.all()):
            values[au] = score(truth, prob[known, au])
    return values


NUM_BINS = 10


def reliability_bins(target: Any, prob: Any, num_bins: int = NUM_BINS) -> np.ndarray:
    """Sort the annotated rows of each AU into bins of equal width by their probability.

    Labels and probabilities as of `confusion_counts`. A probability on an edge belongs to the bin above it, 1 to the
    last of the `M` bins.

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
        raise ValueError(
            f"Expected `target` and `prob` to have one shape (n, N), but got {target.shape} and {prob.shape}."
        )
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
    """Expected calibration error, from bins `(..., M, 3)` to `(...)`; nan without rows.

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
    return [
        [None, None, 0] if rows == 0 else [round(float(mean), 6), round(float(rate), 6), int(rows)]
        for mean, rate, rows in bins
    ]


def read_bins(bins: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Bins of one AU `(M, 3)` from what `plain_bins` gives.

    Example:
        >>> read_bins([[None, None, 0], [0.75, 1.0, 4]])[1].tolist()
        [0.75, 1.0, 4.0]
    """
    return np.array(bins, dtype=np.float64)

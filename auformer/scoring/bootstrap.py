"""How sure a score is: subjects drawn again and again, and the spread of what they give.

Frames of one person are alike, so people are drawn and not frames (the cluster bootstrap: Field and Welsh,
"Bootstrapping clustered data", 2007), and a draw only weighs the counts that each subject has: nothing is predicted
again. Within each test fold as many subjects are drawn as it has, with replacement, so that the folds stay what they
are [ours]; where every fold tests one subject (leave-one-subject-out), the folds themselves are drawn. Intervals are
percentiles (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). The training is not repeated:
what another training would change is the spread over seeds. The same subjects give the same draws: two methods on the
same subjects are compared draw by draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
Score = Callable[[np.ndarray], np.ndarray]
"""From counts `(4, ...)` to a score `(...)`, nan where undefined."""


class Interval(NamedTuple):
    """The middle 95 % of a score over the draws."""

    low: float  # lower end; nan where there is nothing to draw from
    high: float  # upper end
    num: int  # draws in which the score is defined


class Difference(NamedTuple):
    """Two methods compared on the same subjects."""

    value: float  # score of the first less that of the second
    interval: Interval  # of that
    # how often draws speak against the sign of the difference, two-sided; nan where there is nothing to draw from
    p: float
    num_aus: int  # AUs that both are scored on


def draw_subjects(subjects: Mapping[str, Sequence[str]], draws: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw subjects with replacement: fold -> how often each was drawn `(B, S)`, float64.

    The same folds, subjects and seed give the same draws, in whatever order the folds come. With a single subject there
    is nothing to draw: all 1.

    Raises:
        ValueError: `draws`, B, is below 1.
    """
    if draws < 1:
        raise ValueError(f"Expected the number of bootstrap draws to be at least 1, but got {draws}.")
    names = sorted(subjects)
    text = "\n".join(f"{name}\t{subject}" for name in names for subject in subjects[name])
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")])

    def drawn(num: int) -> np.ndarray:
        return rng.multinomial(num, np.full(num, 1 / num), size=draws).astype(np.float64)

    if len(names) > 1 and all(len(subjects[name]) == 1 for name in names):
        weights = drawn(len(names))
        return {name: weights[:, [i]] for i, name in enumerate(names)}
    return {name: drawn(len(subjects[name])) for name in names}


def everybody(subjects: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """The one draw in which every subject comes once: Fold -> `(1, S)`; it gives the score itself."""
    return {name: np.ones((1, len(members))) for name, members in subjects.items()}


def can_draw(subjects: Mapping[str, Sequence[str]]) -> bool:
    """Whether draws can differ at all: more than one subject."""
    return sum(map(len, subjects.values())) > 1


def fold_mean(score: Score, counts: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over folds of the score in each, for every draw `(B, N)`; nan where it is defined in no fold.

    `counts` are counts per subject `(S, 4, N)` of each fold, `weights` how often each subject was drawn `(B, S)`. A
    fold that is drawn twice counts twice.
    """
    parts = [score(_weighted(weights[fold], counts[fold])) for fold in sorted(counts)]
    shares = [weights[fold].sum(1, keepdims=True) / weights[fold].shape[1] for fold in sorted(counts)]
    return mean_of_defined(parts, shares)


def pooled(score: Score, counts: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """The score of all folds' counts together, for every draw `(B, N)`; arguments as of `fold_mean`."""
    return score(np.sum([_weighted(weights[fold], counts[fold]) for fold in sorted(counts)], axis=0))


def mean_of_defined(parts: Sequence[np.ndarray], shares: Sequence[Any] | None = None) -> np.ndarray:
    """Mean over the parts that are not nan, weighted by their shares; nan where there is none."""
    total, weight = np.zeros(np.shape(parts[0])), np.zeros(np.shape(parts[0]))
    for part, share in zip(parts, [1.0] * len(parts) if shares is None else shares, strict=True):
        defined = ~np.isnan(part) * share
        total += np.where(defined > 0, part, 0.0) * defined
        weight += defined
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)


def interval(values: np.ndarray) -> Interval:
    """The middle 95 % of the draws `(B,)` in which a score is defined.

    Example:
        >>> interval(np.array([0.0, 1.0, 2.0, 3.0, 4.0, float("nan")]))
        Interval(low=0.1, high=3.9, num=5)
    """
    defined = values[~np.isnan(values)]
    if not defined.size:
        return Interval(np.nan, np.nan, 0)
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(round(float(low), 12), round(float(high), 12), int(defined.size))


def difference(points: tuple[np.ndarray, np.ndarray], draws: tuple[np.ndarray, np.ndarray]) -> Difference:
    """Compare two methods, draw by draw, over the AUs that both are scored on.

    `points` are the scores per AU `(N,)` of either, `draws` the same for every draw of the same subjects `(B, N)`, `(0,
    N)` where nothing can be drawn.
    """
    apart, drawn = points[0] - points[1], draws[0] - draws[1]
    num = int((~np.isnan(apart)).sum())
    value = float(mean_of_defined(list(apart)))
    means = mean_of_defined(list(drawn[:, ~np.isnan(apart)].T)) if num else np.empty(0)
    defined = means[~np.isnan(means)]
    sides = [(1 + np.sum(defined <= 0)) / (1 + defined.size), (1 + np.sum(defined >= 0)) / (1 + defined.size)]
    return Difference(value, interval(means), min(1.0, 2 * min(sides)) if defined.size else float("nan"), num)


def _weighted(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Counts `(4, B, N)` of every draw from weights `(B, S)` and counts `(S, 4, N)`."""
    subjects, cells, num = counts.shape
    return np.moveaxis((weights @ counts.reshape(subjects, cells * num)).reshape(len(weights), cells, num), 1, 0)

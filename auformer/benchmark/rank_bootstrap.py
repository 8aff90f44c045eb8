"""Bootstrap draws of the scores that rest on the order of probabilities: AUROC and average precision.

Counts per subject are not enough for them, so the predictions themselves are read. A draw weighs rows by how often their subject was
drawn. AUROC is then a sum over pairs of subjects (how often a positive of the one stands above a negative of the other), counted once;
average precision is summed along the sorted rows in every draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from auformer.benchmark.fold_scores import AUScore, GroupScorer, MethodScores
from auformer.benchmark.groups import Line
from auformer.benchmark.record import counts_by_subject
from auformer.data.manifest import read_predictions
from auformer.scoring.bootstrap import mean_of_defined
from auformer.scoring.scores import truth_and_probs

CHUNK = 4_000_000  # weights held at a time: 32 MB


def drawn_auroc(true: np.ndarray, prob: np.ndarray, whose: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of one AU for every draw `(B,)`; nan in draws without positives or negatives.

    Args:
        true: Labels `(n,)`, 1 or 0.
        prob: Probabilities `(n,)`.
        whose: Number of each row's subject `(n,)`, in `range(S)`.
        weights: How often each subject was drawn `(B, S)`.

    Example:
        >>> rows = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.7]), np.array([0, 0, 1, 1])
        >>> drawn_auroc(*rows, np.array([[1.0, 1.0], [2.0, 0.0]])).tolist()
        [0.625, 1.0]
    """
    num = weights.shape[1]
    positive = [np.sort(prob[(true == 1) & (whose == s)]) for s in range(num)]
    negative = [np.sort(prob[(true == 0) & (whose == s)]) for s in range(num)]
    above = np.zeros((num, num))
    for t, low in enumerate(negative):
        for s, high in enumerate(positive):
            below = np.searchsorted(low, high, side="left").sum()
            above[s, t] = (below + np.searchsorted(low, high, side="right").sum()) / 2  # a tie is half a success
    pairs = (weights @ [len(part) for part in positive]) * (weights @ [len(part) for part in negative])
    won = ((weights @ above) * weights).sum(1)
    return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)


def drawn_average_precision(true: np.ndarray, prob: np.ndarray, whose: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one AU for every draw `(B,)`; nan in draws without positives. Arguments as of `drawn_auroc`.

    Example:
        >>> rows = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.7]), np.array([0, 0, 1, 1])
        >>> drawn_average_precision(*rows, np.array([[1.0, 1.0], [2.0, 0.0]])).tolist()
        [0.75, 1.0]
    """
    order = np.argsort(-prob, kind="stable")
    if not len(order):
        return np.full(len(weights), np.nan)
    ranked, hits, owner = prob[order], true[order] == 1, whose[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # rows of equal probability are called together
    values = np.empty(len(weights))
    step = max(1, CHUNK // len(order))
    for first in range(0, len(weights), step):
        drawn = weights[first : first + step][:, owner]
        found = np.cumsum(drawn * hits, axis=1)[:, ends]
        called = np.cumsum(drawn, axis=1)[:, ends]
        precision = found / np.where(called > 0, called, 1)
        gained = np.diff(found, axis=1, prepend=0.0)
        total = found[:, -1]
        values[first : first + step] = np.where(total > 0, (gained * precision).sum(1) / np.where(total > 0, total, 1), np.nan)
    return values


def add_rank_draws(scorer: GroupScorer, scored: Sequence[MethodScores], predictions: Mapping[str, Path]) -> None:
    """Give AUROC and average precision of each method their draws, on the subjects that its other scores were drawn on.

    Args:
        scorer: Scorer of the group.
        scored: Its methods; those for which a run's predictions are not named stay without.
        predictions: Key of a line -> its predictions file.

    Raises:
        ManifestError: A file is missing or is no predictions file.
        ValueError: A file's counts are not those of its line.
    """
    if scorer.weights is None:
        return
    for scores in scored:
        runs = scores.method.runs
        if any(line["key"] not in predictions for line in runs.values()):
            continue
        drawn = {place: _draw_line(scorer, line, Path(predictions[line["key"]])) for place, line in runs.items()}
        for k, name in enumerate(("auroc", "ap")):
            by_seed = [[(fold, drawn[s, fold][k]) for s, fold in runs if s == seed] for seed in scores.method.seeds]
            means = [_over_folds(scorer, parts) for parts in by_seed]
            old = scores.scores[name]
            scores.scores[name] = AUScore(old.values, old.num_folds, mean_of_defined(means))


def _over_folds(scorer: GroupScorer, parts: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Mean over folds of draws `(B, N)`; a fold that is drawn twice counts twice."""
    weights = scorer.weights or {}
    shares = [weights[fold].sum(1, keepdims=True) / weights[fold].shape[1] for fold, _ in parts]
    return mean_of_defined([part for _, part in parts], shares)


def _draw_line(scorer: GroupScorer, line: Line, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision of a run for every draw, `(B, N)` each."""
    table = read_predictions(path)
    ok = table[table["status"] == "ok"]
    aus = [au for au in line["aus"] if f"{au}_true" in ok and f"{au}_prob" in ok]
    true, prob = truth_and_probs(ok, aus)
    names = (ok["dataset"].astype(str) + "/" + ok["subject"].astype(str)).to_numpy()
    if counts_by_subject(true, prob, names, aus) != line["counts"]:
        told = f"the predictions of run {line['key'][:12]}, but it gives other counts: do the run again with --no-resume"
        raise ValueError(f"Expected {path} to hold {told}.")
    subjects = scorer.subjects[str(line["fold"])]
    whose = np.searchsorted(subjects, names)
    weights = (scorer.weights or {})[str(line["fold"])]
    values = np.full((2, len(weights), len(scorer.group.au_names)), np.nan)
    for i, au in enumerate(aus):
        known = (true[:, i] == 0) | (true[:, i] == 1)
        rows = true[known, i], prob[known, i], whose[known]
        values[:, :, scorer.group.au_names.index(au)] = drawn_auroc(*rows, weights), drawn_average_precision(*rows, weights)
    return values[0], values[1]

"""Scores of a method over its folds and seeds, from the lines of its runs alone, and their bootstrap draws.

A score of counts is taken per fold and averaged over the folds in which it is defined (the field's number), or of all
folds' counts together; then averaged over seeds, then over AUs. What each mean rests on is kept beside it.

For draws of AUROC and average precision counts per subject are not enough, so the predictions themselves are read. A
draw weighs rows by how often their subject was drawn. AUROC is then a sum over pairs of subjects (how often a positive
of the one stands above a negative of the other), counted once; average precision is summed along the sorted rows in
every draw.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from auformer import metrics
from auformer.benchmark.groups import Group, Line, Method, subset_order
from auformer.benchmark.protocols import subject_names
from auformer.benchmark.record import counts_by_subject
from auformer.data.manifest import read_predictions
from auformer.metrics import add_bins, expected_calibration_error, read_bins
from auformer.scoring.bootstrap import (
    Interval,
    Score,
    can_draw,
    draw_subjects,
    everybody,
    fold_mean,
    interval,
    mean_of_defined,
    pooled,
)
from auformer.scoring.scores import truth_and_probs

# Name -> where its counts stand in a line, the score, and whether it is averaged over folds; None: as the group's main
# score.
_COUNTED: dict[str, tuple[str, Score, bool | None]] = {
    "f1_folds": ("counts", metrics.f1_from_counts, True),
    "f1_pooled": ("counts", metrics.f1_from_counts, False),
    "f1_tuned": ("counts_tuned", metrics.f1_from_counts, None),
    "macro_f1": ("counts", metrics.macro_f1_from_counts, None),
    "accuracy": ("counts", metrics.accuracy_from_counts, None),
    "floor": ("counts", metrics.always_positive_f1, None),
}
RANKS = ("auroc", "ap")
_PER_LINE = (*RANKS, "ece")


@dataclass
class AUScore:
    """One score of a method."""

    values: np.ndarray  # per AU `(N,)`, nan where undefined
    # folds that each rests on `(N,)`: those that define it, or, of all folds together, those with annotated rows;
    # None: all
    num_folds: np.ndarray | None = None
    draws: np.ndarray | None = None  # the score for every bootstrap draw `(B, N)`; None where there is nothing to draw

    @property
    def mean(self) -> metrics.Mean:
        """Mean over the AUs in which it is defined, and their number."""
        return metrics.mean_over_aus(self.values)

    def intervals(self) -> list[Interval | None]:
        """Of each AU, `N`; None where there is nothing to draw or the score is undefined."""
        drawn = [None] * len(self.values) if self.draws is None else self.draws.T
        return [
            None if column is None or np.isnan(value) else interval(column)
            for value, column in zip(self.values, drawn, strict=True)
        ]

    def mean_interval(self) -> Interval | None:
        """Of the mean, in every draw over the AUs that are defined in it."""
        defined = ~np.isnan(self.values)
        if self.draws is None or not defined.any():
            return None
        return interval(mean_of_defined(list(self.draws[:, defined].T)))


@dataclass
class MethodScores:
    """All scores of a method."""

    method: Method
    # name -> score: `f1_folds`, `f1_pooled`, `f1_tuned`, `macro_f1`, `accuracy`, `floor`, `auroc`, `ap`, `ece`;
    # `f1_tuned` only where every run has tuned thresholds
    scores: dict[str, AUScore]
    main: str  # name of the score that tables are sorted by
    seed_means: list[float]  # mean of the main score of each seed, in the order of the seeds
    bins: np.ndarray  # reliability bins of all runs `(N, M, 3)`
    truth: dict[str, np.ndarray]  # fold -> positives and negatives per subject `(S, 2, N)`
    unknown: np.ndarray  # rows in which each AU is not annotated `(N,)`, of one seed
    rows: int  # rows scored, of one seed
    unscored: dict[str, int] = field(default_factory=dict)  # rows left out by status, of one seed

    @property
    def f1(self) -> AUScore:
        """The main score."""
        return self.scores[self.main]

    def positives(self) -> np.ndarray:
        """Positives per AU `(N,)`."""
        return np.sum([part[:, 0].sum(0) for part in self.truth.values()], axis=0)

    def annotated(self) -> np.ndarray:
        """Annotated rows per AU `(N,)`."""
        return np.sum([part.sum((0, 1)) for part in self.truth.values()], axis=0)


class GroupScorer:
    """Scores the methods of a group, all on the same bootstrap draws of subjects."""

    def __init__(self, group: Group, *, draws: int, seed: int = 0):
        self.group, self.draws = group, draws
        # fold -> the subjects that any of its runs was tested on
        tested: dict[str, set[str]] = {}
        for line in (line for method in group.methods for line in method.runs.values()):
            names = {name for au in line["aus"] for name in line["counts"][au]}
            tested.setdefault(str(line["fold"]), set()).update(names)
        self.subjects = {fold: tuple(sorted(names)) for fold, names in sorted(tested.items())}
        self.single = len(tested) > 1 and all(len(names) == 1 for names in tested.values())
        # the score that tables are sorted by
        together = self.single or group.one_data_set_left_out
        self.main = "f1_pooled" if together else "f1_folds"
        self.once = everybody(self.subjects)
        # fold -> how often each subject was drawn `(B, S)`; None where there is nothing to draw
        self.weights = draw_subjects(self.subjects, draws, seed) if can_draw(self.subjects) else None

    @cached_property
    def ranked(self) -> list[MethodScores]:
        """Scores of all methods: by size of the training set, then by mean F1, the best first; without one last."""
        scored = [self.score(method) for method in self.group.methods]
        return sorted(
            scored, key=lambda one: (subset_order(one.method.subset), *descending(one.f1.mean.value), one.method.label)
        )

    @property
    def fullest(self) -> MethodScores:
        """The method with the most annotated rows: what a table says about the rows is said of it."""
        return max(self.ranked, key=lambda scores: scores.annotated().sum())

    def score(self, method: Method) -> MethodScores:
        """All scores of one method."""
        by_seed = {seed: {fold: line for (s, fold), line in method.runs.items() if s == seed} for seed in method.seeds}
        tuned = all(line["counts_tuned"] is not None for line in method.runs.values())
        keys = ("counts", "counts_tuned") if tuned else ("counts",)
        counts = {key: [self._counts(lines, key) for lines in by_seed.values()] for key in keys}
        scores: dict[str, AUScore] = {}
        for name, (key, score, over_folds) in _COUNTED.items():
            if key in counts:
                over_folds = self.main == "f1_folds" if over_folds is None else over_folds
                scores[name] = self._counted(counts[key], score, over_folds)
        scores |= {name: self._per_line(list(by_seed.values()), name) for name in _PER_LINE}
        bins = add_bins(self._bins(line) for line in method.runs.values())
        if self.main == "f1_pooled":
            scores["ece"] = AUScore(expected_calibration_error(bins))
        _, main, over_folds = _COUNTED[self.main]
        how = fold_mean if over_folds else pooled
        points = [how(main, cells, self.once)[0] for cells in counts["counts"]]
        fullest, most = max(by_seed.values(), key=len), max(counts["counts"], key=len)
        truth = {fold: np.stack([c[:, 0] + c[:, 2], c[:, 1] + c[:, 3]], 1) for fold, c in most.items()}
        unknown = [[line["unknown"].get(au, 0) for au in self.group.au_names] for line in fullest.values()]
        unscored: Counter[str] = Counter()
        for line in fullest.values():
            unscored.update(line["unscored"])
        return MethodScores(
            method, scores, self.main, [metrics.mean_over_aus(values).value for values in points], bins, truth,
            np.sum(unknown, axis=0), sum(line["rows"] for line in fullest.values()), dict(sorted(unscored.items())),
        )  # fmt: skip

    def _counts(self, lines: Mapping[str, Line], key: str) -> dict[str, np.ndarray]:
        """Fold -> counts per subject `(S, 4, N)` float64; 0 where a line has not the AU or the subject."""
        none, arrays = [0, 0, 0, 0], {}
        for fold, line in lines.items():
            counts, subjects, aus = line[key], self.subjects[fold], self.group.au_names
            rows = [[counts[au].get(subject, none) if au in counts else none for au in aus] for subject in subjects]
            arrays[fold] = np.moveaxis(np.array(rows, dtype=np.float64).reshape(len(subjects), len(aus), 4), 2, 1)
        return arrays

    def _counted(self, seeds: Sequence[Mapping[str, np.ndarray]], score: Score, over_folds: bool) -> AUScore:
        """A score of counts."""
        how, weights = fold_mean if over_folds else pooled, self.weights
        values = mean_of_defined([how(score, counts, self.once)[0] for counts in seeds])
        draws = None if weights is None else mean_of_defined([how(score, counts, weights) for counts in seeds])
        rests = (lambda c: ~np.isnan(score(c.sum(0)))) if over_folds else (lambda c: c.sum((0, 1)) > 0)
        defined = [{fold: rests(c) for fold, c in counts.items()} for counts in seeds]
        return AUScore(values, folds_defined(defined, len(self.group.au_names)), draws)

    def _per_line(self, seeds: Sequence[Mapping[str, Line]], name: str) -> AUScore:
        """A score that lines hold ready, averaged over folds."""
        aus = self.group.au_names
        tables = [
            {fold: np.array([line[name].get(au) for au in aus], dtype=np.float64) for fold, line in lines.items()}
            for lines in seeds
        ]
        values = mean_of_defined([mean_of_defined(list(table.values())) for table in tables])
        defined = [{fold: ~np.isnan(row) for fold, row in table.items()} for table in tables]
        return AUScore(values, folds_defined(defined, len(aus)))

    def _bins(self, line: Line) -> np.ndarray:
        """Reliability bins of a line `(N, M, 3)`; without rows where it has not the AU."""
        empty = [[None, None, 0]] * len(next(iter(line["reliability"].values())))
        return np.stack([read_bins(line["reliability"].get(au, empty)) for au in self.group.au_names])


def descending(value: float) -> tuple[bool, float]:
    """Sort key: high values first, nan last."""
    return math.isnan(value), 0.0 if math.isnan(value) else -value


def not_comparable(first: MethodScores, second: MethodScores) -> str:
    """Why two methods of a group cannot be compared draw by draw; empty where they can."""
    folds = {
        frozenset(fold for s, fold in scores.method.runs if s == seed)
        for scores in (first, second)
        for seed in scores.method.seeds
    }
    if len(folds) > 1:
        return "runs are missing"
    if any(not np.array_equal(first.truth[fold], second.truth[fold]) for fold in first.truth):
        return "not on the same rows of the same subjects"
    return ""


def folds_defined(seeds: Sequence[Mapping[str, np.ndarray]], num: int) -> np.ndarray:
    """In how many different folds a score is defined in any seed `(num,)`."""
    total = np.zeros(num, dtype=np.int64)
    for fold in {fold for seed in seeds for fold in seed}:
        total += np.any([seed[fold] for seed in seeds if fold in seed], axis=0)
    return total


CHUNK = 4_000_000  # weights held at a time: 32 MB


def drawn_auroc(true: np.ndarray, prob: np.ndarray, whose: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of one AU for every draw `(B,)`; nan in draws without positives or negatives.

    Labels `true`, 1 or 0, probabilities and the number of each row's subject, in `range(S)`, are `(n,)`; `weights` say
    how often each subject was drawn `(B, S)`.

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
        won, total = (np.diff(found, axis=1, prepend=0.0) * precision).sum(1), found[:, -1]
        values[first : first + step] = np.where(total > 0, won / np.where(total > 0, total, 1), np.nan)
    return values


def add_rank_draws(scorer: GroupScorer, predictions: Mapping[str, Path]) -> None:
    """Give AUROC and average precision of each method their draws, on the subjects that its other scores were drawn on.

    `predictions` are the files by the keys of lines; methods of which one is not named stay without.

    Raises:
        ManifestError: A file is missing or is no predictions file.
        ValueError: A file's counts are not those of its line.
    """
    if scorer.weights is None:
        return
    for scores in scorer.ranked:
        runs = scores.method.runs
        if any(line["key"] not in predictions for line in runs.values()):
            continue
        drawn = {place: _draw_line(scorer, line, Path(predictions[line["key"]])) for place, line in runs.items()}
        for k, name in enumerate(RANKS):
            means = []
            for seed in scores.method.seeds:
                parts = [(scorer.weights[fold], drawn[s, fold][k]) for s, fold in runs if s == seed]
                shares = [weights.sum(1, keepdims=True) / weights.shape[1] for weights, _ in parts]
                # a fold that is drawn twice counts twice
                means.append(mean_of_defined([part for _, part in parts], shares))
            scores.scores[name] = replace(scores.scores[name], draws=mean_of_defined(means))


def _draw_line(scorer: GroupScorer, line: Line, path: Path) -> np.ndarray:
    """AUROC and average precision of a run for every draw `(2, B, N)`."""
    table = read_predictions(path)
    ok = table[table["status"] == "ok"]
    aus = [au for au in line["aus"] if f"{au}_true" in ok and f"{au}_prob" in ok]
    true, prob = truth_and_probs(ok, aus)
    names = subject_names(ok).to_numpy()
    if counts_by_subject(true, prob, names, aus) != line["counts"]:
        raise ValueError(
            f"Expected {path} to hold the predictions of run {line['key'][:12]}, but it gives other counts: do the run "
            "again with --no-resume."
        )
    fold = str(line["fold"])
    whose, weights = np.searchsorted(scorer.subjects[fold], names), (scorer.weights or {})[fold]
    values = np.full((2, len(weights), len(scorer.group.au_names)), np.nan)
    for i, au in enumerate(aus):
        known = (true[:, i] == 0) | (true[:, i] == 1)
        rows = true[known, i], prob[known, i], whose[known]
        drawn = drawn_auroc(*rows, weights), drawn_average_precision(*rows, weights)
        values[:, :, scorer.group.au_names.index(au)] = drawn
    return values

"""Scores of a method over its folds and seeds, and their bootstrap draws.

Scores of a method over its folds and seeds, from the lines of its runs alone.

A score of counts is taken per fold and averaged over the folds in which it is defined (the field's number), or of all folds' counts
together; then averaged over seeds, then over AUs. What each mean rests on is kept beside it.

Bootstrap draws of the scores that rest on the order of probabilities: AUROC and average precision.

Counts per subject are not enough for them, so the predictions themselves are read. A draw weighs rows by how often their subject was
drawn. AUROC is then a sum over pairs of subjects (how often a positive of the one stands above a negative of the other), counted once;
average precision is summed along the sorted rows in every draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from auformer import metrics
from auformer.benchmark.groups import Group, Line, Method
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

# Name -> where its counts stand in a line, the score, and whether it is averaged over folds; None: as the group's main score.
_COUNTED: dict[str, tuple[str, Score, bool | None]] = {
    "f1_folds": ("counts", metrics.f1_from_counts, True),
    "f1_pooled": ("counts", metrics.f1_from_counts, False),
    "f1_tuned": ("counts_tuned", metrics.f1_from_counts, None),
    "macro_f1": ("counts", metrics.macro_f1_from_counts, None),
    "accuracy": ("counts", metrics.accuracy_from_counts, None),
    "floor": ("counts", metrics.always_positive_f1, None),
}
_PER_LINE = ("auroc", "ap", "ece")


@dataclass
class AUScore:
    """One score of a method.

    Attributes:
        values: Per AU `(N,)`, nan where undefined.
        num_folds: Folds that each rests on `(N,)`: those that define it, or, of all folds together, those with annotated rows; None: all.
        draws: The score for every bootstrap draw `(B, N)`; None where there is nothing to draw.
    """

    values: np.ndarray
    num_folds: np.ndarray | None = None
    draws: np.ndarray | None = None

    @property
    def mean(self) -> metrics.Mean:
        """Mean over the AUs in which it is defined, and their number."""
        return metrics.mean_over_aus(self.values)

    def intervals(self) -> list[Interval | None]:
        """Of each AU, `N`; None where there is nothing to draw or the score is undefined."""
        if self.draws is None:
            return [None] * len(self.values)
        return [
            None if np.isnan(value) else interval(draws) for value, draws in zip(self.values, self.draws.T, strict=True)
        ]

    def mean_interval(self) -> Interval | None:
        """Of the mean, in every draw over the AUs that are defined in it."""
        defined = ~np.isnan(self.values)
        return (
            None
            if self.draws is None or not defined.any()
            else interval(mean_of_defined(list(self.draws[:, defined].T)))
        )


@dataclass
class MethodScores:
    """All scores of a method.

    Attributes:
        method: Whose.
        scores: Name -> score: `f1_folds`, `f1_pooled`, `f1_tuned`, `macro_f1`, `accuracy`, `floor`, `auroc`, `ap`, `ece`; `f1_tuned`
            only where every run has tuned thresholds.
        main: Name of the score that tables are sorted by.
        seed_means: Mean of the main score of each seed, in the order of the seeds.
        bins: Reliability bins of all runs `(N, M, 3)`.
        truth: Fold -> positives and negatives per subject `(S, 2, N)`.
        unknown: Rows in which each AU is not annotated `(N,)`, of one seed.
        rows: Rows scored, of one seed.
        unscored: Rows left out by status, of one seed.
    """

    method: Method
    scores: dict[str, AUScore]
    main: str
    seed_means: list[float]
    bins: np.ndarray
    truth: dict[str, np.ndarray]
    unknown: np.ndarray
    rows: int
    unscored: dict[str, int] = field(default_factory=dict)

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
    """Scores the methods of a group, all on the same draws of subjects.

    Args:
        group: The group.
        draws: Bootstrap draws.
        seed: Of the draws.
    """

    def __init__(self, group: Group, *, draws: int, seed: int = 0):
        self.group = group
        lines = [line for method in group.methods for line in method.runs.values()]
        tested: dict[str, set[str]] = {}
        for line in lines:
            tested.setdefault(str(line["fold"]), set()).update(
                name for au in line["aus"] for name in line["counts"][au]
            )
        self.subjects = {fold: tuple(sorted(names)) for fold, names in sorted(tested.items())}
        self.single = len(tested) > 1 and all(len(names) == 1 for names in tested.values())
        self.main = (
            "f1_pooled" if group.protocol == "micro" and (self.single or group.one_data_set_left_out) else "f1_folds"
        )
        self.once = everybody(self.subjects)
        self.weights = draw_subjects(self.subjects, draws, seed) if can_draw(self.subjects) else None

    def score(self, method: Method) -> MethodScores:
        """All scores of one method."""
        scores: dict[str, AUScore] = {}
        by_seed = {seed: {fold: line for (s, fold), line in method.runs.items() if s == seed} for seed in method.seeds}
        tuned = all(line["counts_tuned"] is not None for line in method.runs.values())
        for name, (key, score, over_folds) in _COUNTED.items():
            if key == "counts" or tuned:
                over_folds = self.main == "f1_folds" if over_folds is None else over_folds
                scores[name] = self._counted(
                    [self._arrays(lines, key) for lines in by_seed.values()], score, over_folds
                )
        for name in _PER_LINE:
            scores[name] = self._per_line(list(by_seed.values()), name)
        bins = add_bins(self._bins(line) for line in method.runs.values())
        if self.main == "f1_pooled":
            scores["ece"] = AUScore(expected_calibration_error(bins))
        seed_means = [self._main_mean(lines) for lines in by_seed.values()]
        fullest = max(by_seed.values(), key=len)
        truth = {fold: self._truth(line, fold) for fold, line in fullest.items()}
        unknown = np.sum(
            [[line["unknown"].get(au, 0) for au in self.group.au_names] for line in fullest.values()], axis=0
        )
        unscored: dict[str, int] = {}
        for line in fullest.values():
            for status, num in line["unscored"].items():
                unscored[status] = unscored.get(status, 0) + num
        rows = sum(line["rows"] for line in fullest.values())
        return MethodScores(
            method, scores, self.main, seed_means, bins, truth, unknown, rows, dict(sorted(unscored.items()))
        )

    def _arrays(self, lines: Mapping[str, Line], key: str) -> dict[str, np.ndarray]:
        """Fold -> counts per subject `(S, 4, N)`; 0 where a line has not the AU or the subject."""
        return {fold: _count_array(line[key], self.subjects[fold], self.group.au_names) for fold, line in lines.items()}

    def _truth(self, line: Line, fold: str) -> np.ndarray:
        """Positives and negatives per subject `(S, 2, N)`."""
        counts = _count_array(line["counts"], self.subjects[fold], self.group.au_names)
        return np.stack([counts[:, 0] + counts[:, 2], counts[:, 1] + counts[:, 3]], 1)

    def _counted(self, seeds: Sequence[Mapping[str, np.ndarray]], score: Score, over_folds: bool) -> AUScore:
        """A score of counts."""
        how = fold_mean if over_folds else pooled
        values = mean_of_defined([how(score, counts, self.once)[0] for counts in seeds])
        draws = (
            None if self.weights is None else mean_of_defined([how(score, counts, self.weights) for counts in seeds])
        )
        rests = (lambda c: ~np.isnan(score(c.sum(0)))) if over_folds else (lambda c: c.sum((0, 1)) > 0)
        defined = [{fold: rests(c) for fold, c in counts.items()} for counts in seeds]
        return AUScore(values, _folds_defined(defined, len(self.group.au_names)), draws)

    def _per_line(self, seeds: Sequence[Mapping[str, Line]], name: str) -> AUScore:
        """A score that lines hold ready, averaged over folds."""
        tables = [{fold: self._row(line, name) for fold, line in lines.items()} for lines in seeds]
        values = mean_of_defined([mean_of_defined(list(table.values())) for table in tables])
        defined = [{fold: ~np.isnan(row) for fold, row in table.items()} for table in tables]
        return AUScore(values, _folds_defined(defined, len(self.group.au_names)))

    def _row(self, line: Line, name: str) -> np.ndarray:
        """A score of a line per AU `(N,)`."""
        return np.array(
            [np.nan if line[name].get(au) is None else line[name][au] for au in self.group.au_names], dtype=np.float64
        )

    def _bins(self, line: Line) -> np.ndarray:
        """Reliability bins of a line `(N, M, 3)`; without rows where it has not the AU."""
        width = len(next(iter(line["reliability"].values())))
        empty = [[None, None, 0]] * width
        return np.stack([read_bins(line["reliability"].get(au, empty)) for au in self.group.au_names])

    def _main_mean(self, lines: Mapping[str, Line]) -> float:
        """Mean over AUs of the main score of one seed."""
        _, score, over_folds = _COUNTED[self.main]
        return self._counted_once(self._arrays(lines, "counts"), score, bool(over_folds))

    def _counted_once(self, counts: Mapping[str, np.ndarray], score: Score, over_folds: bool) -> float:
        """Mean over AUs of a score of counts, without draws."""
        return metrics.mean_over_aus((fold_mean if over_folds else pooled)(score, counts, self.once)[0]).value


def not_comparable(first: MethodScores, second: MethodScores) -> str:
    """Why two methods cannot be compared draw by draw; empty where they can.

    Args:
        first: A method.
        second: Another one of the same group.
    """
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


def _count_array(counts: Mapping[str, Any], subjects: Sequence[str], au_names: Sequence[str]) -> np.ndarray:
    """Counts `(S, 4, N)` as float64; 0 where the line has not the AU or the subject."""
    none = [0, 0, 0, 0]
    rows = [[counts[au].get(subject, none) if au in counts else none for au in au_names] for subject in subjects]
    return np.moveaxis(np.array(rows, dtype=np.float64).reshape(len(subjects), len(au_names), 4), 2, 1)


def _folds_defined(seeds: Sequence[Mapping[str, np.ndarray]], num: int) -> np.ndarray:
    """In how many different folds a score is defined in any seed `(num,)`."""
    total = np.zeros(num, dtype=np.int64)
    for fold in {fold for seed in seeds for fold in seed}:
        total += np.any([seed[fold] for seed in seeds if fold in seed], axis=0)
    return total


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
        values[first : first + step] = np.where(
            total > 0, (gained * precision).sum(1) / np.where(total > 0, total, 1), np.nan
        )
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
        told = (
            f"the predictions of run {line['key'][:12]}, but it gives other counts: do the run again with --no-resume"
        )
        raise ValueError(f"Expected {path} to hold {told}.")
    subjects = scorer.subjects[str(line["fold"])]
    whose = np.searchsorted(subjects, names)
    weights = (scorer.weights or {})[str(line["fold"])]
    values = np.full((2, len(weights), len(scorer.group.au_names)), np.nan)
    for i, au in enumerate(aus):
        known = (true[:, i] == 0) | (true[:, i] == 1)
        rows = true[known, i], prob[known, i], whose[known]
        values[:, :, scorer.group.au_names.index(au)] = (
            drawn_auroc(*rows, weights),
            drawn_average_precision(*rows, weights),
        )
    return values[0], values[1]

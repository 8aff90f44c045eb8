"""Scores of a method over its folds and seeds, from the lines of its runs alone.

A score of counts is taken per fold and averaged over the folds in which it is defined (the field's number), or of all folds' counts
together; then averaged over seeds, then over AUs. What each mean rests on is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auformer import metrics
from auformer.benchmark.groups import Group, Line, Method
from auformer.scoring.bootstrap import Interval, Score, can_draw, draw_subjects, everybody, fold_mean, interval, mean_of_defined, pooled
from auformer.scoring.calibration import add_bins, expected_calibration_error, read_bins

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
        return [None if np.isnan(value) else interval(draws) for value, draws in zip(self.values, self.draws.T, strict=True)]

    def mean_interval(self) -> Interval | None:
        """Of the mean, in every draw over the AUs that are defined in it."""
        defined = ~np.isnan(self.values)
        return None if self.draws is None or not defined.any() else interval(mean_of_defined(list(self.draws[:, defined].T)))


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
            tested.setdefault(str(line["fold"]), set()).update(name for au in line["aus"] for name in line["counts"][au])
        self.subjects = {fold: tuple(sorted(names)) for fold, names in sorted(tested.items())}
        self.single = len(tested) > 1 and all(len(names) == 1 for names in tested.values())
        self.main = "f1_pooled" if group.protocol == "micro" and (self.single or group.one_data_set_left_out) else "f1_folds"
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
                scores[name] = self._counted([self._arrays(lines, key) for lines in by_seed.values()], score, over_folds)
        for name in _PER_LINE:
            scores[name] = self._per_line(list(by_seed.values()), name)
        bins = add_bins(self._bins(line) for line in method.runs.values())
        if self.main == "f1_pooled":
            scores["ece"] = AUScore(expected_calibration_error(bins))
        seed_means = [self._main_mean(lines) for lines in by_seed.values()]
        fullest = max(by_seed.values(), key=len)
        truth = {fold: self._truth(line, fold) for fold, line in fullest.items()}
        unknown = np.sum([[line["unknown"].get(au, 0) for au in self.group.au_names] for line in fullest.values()], axis=0)
        unscored: dict[str, int] = {}
        for line in fullest.values():
            for status, num in line["unscored"].items():
                unscored[status] = unscored.get(status, 0) + num
        rows = sum(line["rows"] for line in fullest.values())
        return MethodScores(method, scores, self.main, seed_means, bins, truth, unknown, rows, dict(sorted(unscored.items())))

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
        draws = None if self.weights is None else mean_of_defined([how(score, counts, self.weights) for counts in seeds])
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
        return np.array([np.nan if line[name].get(au) is None else line[name][au] for au in self.group.au_names], dtype=np.float64)

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
    folds = {frozenset(fold for s, fold in scores.method.runs if s == seed) for scores in (first, second) for seed in scores.method.seeds}
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

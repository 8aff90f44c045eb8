"""Scores of a method's intensities over its folds and seeds, from the lines of its runs alone, and their draws.

The field's number is ICC(3,1) of the rows of all folds together, then the mean over seeds, then over AUs; beside it
stands the mean over folds of the ICC in each. A line holds the sums of `auformer.agreement` per AU and subject, so that
a bootstrap draw only weighs them, on the same draws of subjects as the scores of occurrence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auformer import agreement, metrics
from auformer.benchmark.fold_scores import AUScore, GroupScorer, descending, folds_defined
from auformer.benchmark.groups import Line, Method, subset_order
from auformer.scoring.bootstrap import fold_mean, mean_of_defined, pooled
from auformer.scoring.intensity import SCORES
from auformer.scoring.pain import PSPI


@dataclass
class IntensityScores:
    """All scores of a method's intensities."""

    method: Method
    # name -> score: `icc`, `mae`, `mse`, `pcc`, `ccc` of all folds together, and with `_folds` the mean over folds
    scores: dict[str, AUScore]
    pain: dict[str, AUScore]  # the same of PSPI, of one value; empty where no line has it
    seed_means: list[float]  # mean ICC of each seed, in the order of the seeds
    rows: np.ndarray  # coded rows per AU `(N,)`, of one seed
    reasons: list[str]  # why ICC of each AU is undefined, empty where it is not

    @property
    def icc(self) -> AUScore:
        """The score that tables are sorted by."""
        return self.scores["icc"]


class IntensityScorer:
    """Scores the intensities of the methods of a group that have any, on the draws of its other scores."""

    def __init__(self, scorer: GroupScorer) -> None:
        self.scorer = scorer
        lines = [line for method in scorer.group.methods for line in method.runs.values()]
        found = {str(au) for line in lines for au in (line.get("intensity") or {}).get("aus", ())}
        self.au_names = tuple(sorted(found, key=lambda au: int(au[2:])))
        graded = [one for one in scorer.group.methods if all(line.get("intensity") for line in one.runs.values())]
        self.without = [one.label for one in scorer.group.methods if one not in graded]
        self.ranked = sorted(
            map(self._score, graded),
            key=lambda one: (subset_order(one.method.subset), *descending(one.icc.mean.value), one.method.label),
        )

    def _score(self, method: Method) -> IntensityScores:
        """All scores of one method."""
        seeds = [{fold: line for (s, fold), line in method.runs.items() if s == seed} for seed in method.seeds]
        sums = [self._sums(lines, self.au_names) for lines in seeds]
        has_pain = all(PSPI in line["intensity"]["sums"] for lines in seeds for line in lines.values())
        pain = self._scores([self._sums(lines, (PSPI,)) for lines in seeds]) if has_pain else {}
        means = [pooled(SCORES["icc"], one, self.scorer.once)[0] for one in sums]
        whole = np.sum([one.sum(0) for one in max(sums, key=len).values()], axis=0)
        seed_means = [metrics.mean_over_aus(one).value for one in means]
        reasons = agreement.undefined_reasons(whole)
        return IntensityScores(method, self._scores(sums), pain, seed_means, whole[0], reasons)

    def _sums(self, lines: Mapping[str, Line], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Fold -> sums per subject `(S, 7, N)`; 0 where a line has not the AU or the subject."""
        arrays, none = {}, [0.0] * len(agreement.SUMS)
        for fold, line in lines.items():
            sums, subjects = line["intensity"]["sums"], self.scorer.subjects[fold]
            rows = [[sums.get(name, {}).get(subject, none) for name in names] for subject in subjects]
            arrays[fold] = np.moveaxis(np.array(rows, dtype=np.float64), 2, 1)
        return arrays

    def _scores(self, seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, AUScore]:
        """Every score, of all folds together and as the mean over folds."""
        found, weights = {}, self.scorer.weights
        num = next(iter(seeds[0].values())).shape[2]
        for name, score in SCORES.items():
            for end, how in (("", pooled), ("_folds", fold_mean)):
                values = mean_of_defined([how(score, sums, self.scorer.once)[0] for sums in seeds])
                draws = None if weights is None else mean_of_defined([how(score, sums, weights) for sums in seeds])
                defined = [{fold: ~np.isnan(score(one.sum(0))) for fold, one in sums.items()} for sums in seeds]
                found[f"{name}{end}"] = AUScore(values, folds_defined(defined, num) if end else None, draws)
        return found

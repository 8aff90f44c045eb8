"""Scores of the methods of one comparison, and how far each is from AUFormer, paired by seed, fold and subject."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from auformer.benchmark.fold_scores import GroupScorer, MethodScores, not_comparable
from auformer.benchmark.groups import Method, group_lines
from auformer.scoring.bootstrap import Difference, difference
from experiments.ablations.lines import REFERENCE, Line

DRAWS = 1000  # as the tables of the benchmark (auformer.benchmark.report)


class Compared(NamedTuple):
    """A method of a comparison: its scores over all seeds and folds, and trained parameters.

    `apart` is its main score less AUFormer's, on the seeds and folds that both have; None without such.
    """

    method: str
    scores: MethodScores
    apart: Difference | None
    trained: int

    label = property(lambda self: self.scores.method.label)  # with the configuration where two have one name
    seeds = property(lambda self: self.scores.method.seeds)

    @property
    def mean(self) -> float:
        """Mean over seeds and AUs of the main score, in [0, 1]."""
        return self.scores.f1.mean.value

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds' means; nan with fewer than two."""
        known = [value for value in self.scores.seed_means if not math.isnan(value)]
        return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def compare(lines: Sequence[Line], *, draws: int = DRAWS) -> list[Compared]:
    """Score what was trained on the same data and tested on the same rows: a method each, and a training size each.

    Of two configurations under one name, the label of each says which it is.

    Raises:
        ValueError: The lines are of several data sets.
    """
    if not lines:
        return []
    groups = group_lines([{**line, "name": "ablations"} for line in lines])  # lines of all entries meet in one group
    if len(groups) != 1:
        raise ValueError(
            f"Expected lines of one data set and test, but got {', '.join(group.title for group in groups)}"
        )
    group = groups[0]
    scorer = GroupScorer(group, draws=draws)
    references = {method.subset: method for method in reversed(group.methods) if _name(method) == REFERENCE}
    found = []
    for method in group.methods:
        reference = references.get(method.subset)
        apart = None if reference is None or reference is method else _apart(scorer, method, reference)
        trained = next(iter(method.runs.values()))["trainable_parameters"]
        found.append(Compared(_name(method), scorer.score(method), apart, trained))
    return found


def _name(method: Method) -> str:
    return str(next(iter(method.runs.values()))["method"])


def _apart(scorer: GroupScorer, method: Method, reference: Method) -> Difference | None:
    """A method less the reference, on the runs that both have."""
    both = sorted(method.runs.keys() & reference.runs.keys())
    if not both:
        return None
    one, other = (
        scorer.score(dataclasses.replace(each, runs={place: each.runs[place] for place in both}))
        for each in (method, reference)
    )
    if not_comparable(one, other):
        return None
    nothing = np.empty((0, len(scorer.group.au_names)))
    draws = [nothing if each.f1.draws is None else each.f1.draws for each in (one, other)]
    return difference((one.f1.values, other.f1.values), (draws[0], draws[1]))

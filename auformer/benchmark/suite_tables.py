"""Tables over all groups of a benchmark: one line per method and data, and train × test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from auformer import metrics
from auformer.benchmark.cells import INTERVAL, TEST_NOTE, interval_cell, marked, mean_cell, optional, seeds_cell, size_text
from auformer.benchmark.detail_tables import trained
from auformer.benchmark.fold_scores import GroupScorer, MethodScores
from auformer.benchmark.forms import BenchmarkTable, best_cells
from auformer.benchmark.group_tables import sort_scores
from auformer.benchmark.groups import Group
from auformer.scoring.tables import percent

Scored = Sequence[tuple[GroupScorer, Sequence[MethodScores]]]


class Matrix(NamedTuple):
    """Mean F1 by what was trained on and what was tested on.

    Attributes:
        au_names: AUs that every cell has, over which the means are.
        train: Names of the rows.
        test: Names of the columns.
        values: Method -> mean F1 `(rows, columns)`, nan where there is no run.
        on_test: Methods whose epoch was chosen on the test part.
    """

    au_names: list[str]
    train: list[str]
    test: list[str]
    values: Mapping[str, np.ndarray]
    on_test: set[str]


def summary_table(groups: Scored) -> BenchmarkTable:
    """A row per method of every group: its mean F1 and what else a reader asks first.

    Args:
        groups: Each group's scorer and scored methods.
    """
    names = ("auroc", "ap", "ece")
    rows, values, blocks = [], [], []
    for scorer, scored in groups:
        for scores in sort_scores(scored):
            dagger, size = scores.method.on_test, scores.method.subset
            where = scorer.group.title + (f", {size_text(size)} frames" if scorer.group.protocol == "efficiency" else "")
            f1 = [mean_cell(scores.f1, dagger=dagger), interval_cell(scores.f1.mean_interval(), dagger=dagger), seeds_cell(scores)]
            others = [mean_cell(scores.scores[name], dagger=dagger) for name in names]
            rows.append([where, scores.method.label, *f1, *others, trained(scores.method), str(len(scores.method.runs))])
            means = [scores.f1.mean.value, None, None, *(scores.scores[name].mean.value for name in names)]
            values.append([None if dagger or value is None else optional(value) for value in means])
            blocks.append((scorer.group.name, size))
    bold = {(i, 2 + k) for i, k in best_cells(values, blocks, lowest=[5])}
    header = ["experiment", "method", "mean F1", INTERVAL, "seeds", "AUROC", "AP", "ECE", "trained", "runs"]
    notes = [
        "Means over AUs × 100, (k/n) behind them where they rest on k of n; the rest stands in the table of each experiment. Bold (* in "
        "plain text): best of the experiment; ECE: lower is better. Trained: number of trained parameters."
    ]
    notes += [TEST_NOTE] if any(scores.method.on_test for _, scored in groups for scores in scored) else []
    return BenchmarkTable("summary", "Every experiment, means × 100", header, rows, bold, notes, text_columns=2)


def cross_matrix_of(groups: Scored) -> Matrix | None:
    """Train × test of all cross-domain groups, with the same methods' within-domain scores where train and test are the same.

    Args:
        groups: Each group's scorer and scored methods.

    Returns:
        None where there are fewer than two pairs of data, or no AU that all have.
    """
    cross = [(scorer.group, scored) for scorer, scored in groups if scorer.group.protocol == "cross"]
    if len({(group.data, group.test) for group, _ in cross}) < 2:
        return None
    train, test = (sorted({getattr(group, name) for group, _ in cross}) for name in ("data", "test"))
    labels = {scores.method.label for _, scored in cross for scores in scored}
    within = [(scorer.group, scored) for scorer, scored in groups if scorer.group.protocol == "within"]
    chosen = [*cross, *((group, scored) for group, scored in within if group.data in train and group.data in test)]
    shared = set.intersection(*(set(group.au_names) for group, _ in chosen))
    au_names = [au for au in chosen[0][0].au_names if au in shared]
    if not au_names:
        return None
    values = {label: np.full((len(train), len(test)), np.nan) for label in sorted(labels)}
    for group, scored in reversed(chosen):  # a pair that occurs twice: the first stands
        for scores in scored:
            if scores.method.label in values:
                values[scores.method.label][train.index(group.data), test.index(group.test)] = _mean_f1(group, scores, au_names)
    on_test = {scores.method.label for _, scored in chosen for scores in scored if scores.method.on_test} & labels
    return Matrix(au_names, train, test, values, on_test)


def matrix_table(matrix: Matrix) -> BenchmarkTable:
    """Train × test, a block of rows per training data.

    Args:
        matrix: As `cross_matrix_of` gives it.
    """
    rows, values, blocks = [], [], []
    for i, train in enumerate(matrix.train):
        for label, table in matrix.values.items():
            if np.isnan(table[i]).all():
                continue
            dagger = label in matrix.on_test
            rows.append([train, label, *("" if np.isnan(value) else marked(percent(value), dagger) for value in table[i])])
            values.append([None if dagger else optional(value) for value in table[i]])
            blocks.append(train)
    bold = {(i, 2 + k) for i, k in best_cells(values, blocks)}
    notes = [
        f"Mean F1 × 100 over the AUs that every cell has ({', '.join(matrix.au_names)}). Where train and test are the same: mean over "
        "subject-exclusive folds. Bold (* in plain text): best of the same training and test data.",
        *([TEST_NOTE] if matrix.on_test else []),
    ]
    return BenchmarkTable(
        "cross-matrix", "Trained on (rows), tested on (columns), mean F1 × 100", ["train", "method", *matrix.test], rows, bold, notes, 2
    )


def _mean_f1(group: Group, scores: MethodScores, au_names: Sequence[str]) -> float:
    """Mean main score over some AUs."""
    return metrics.mean_over_aus([scores.f1.values[group.au_names.index(au)] for au in au_names]).value

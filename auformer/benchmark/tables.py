"""The tables of a benchmark: of one group, and over all groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from auformer import metrics
from auformer.aus import ACTION_UNITS
from auformer.benchmark.cells import (
    INTERVAL,
    NAMES,
    TEST_NOTE,
    au_cells,
    interval_cell,
    marked,
    mean_cell,
    seeds_cell,
    shared_notes,
    size_text,
)
from auformer.benchmark.fold_scores import AUScore, GroupScorer, MethodScores, not_comparable
from auformer.benchmark.groups import Group, Method, subset_order
from auformer.report.table import Table, best_cells
from auformer.scoring.bootstrap import difference
from auformer.scoring.published import FLOOR_METHOD, MARK, Published, published_rows
from auformer.scoring.scores import optional
from auformer.scoring.tables import percent

UNREAD = "AUFormer"  # its within-domain tables: nothing is filled in from memory


class Row(NamedTuple):
    """One row in the making.

    Attributes:
        cells: Its texts.
        values: What competes for the best of each column, AUs and mean; empty where nothing does.
        mean: What it is sorted by; nan where undefined.
        block: Rows of the same block compete.
    """

    cells: list[str]
    values: list[float | None]
    mean: float
    block: object = None


def sort_scores(scored: Sequence[MethodScores]) -> list[MethodScores]:
    """By size of the training set, then by mean F1, the best first; without one last."""
    return sorted(
        scored,
        key=lambda scores: (
            subset_order(scores.method.subset),
            *_descending(scores.f1.mean.value),
            scores.method.label,
        ),
    )


def main_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> Table:
    """F1 per AU and their mean, a row per method.

    Args:
        scorer: Scorer of the group.
        scored: Its methods.
        draws: Bootstrap draws that the intervals were made with.
    """
    group = scorer.group
    sizes = group.protocol == "efficiency"
    papers = [] if sizes else published_rows(group.protocol, group.data, group.test)
    rows = [_method_row(group, scores, sizes) for scores in sort_scores(scored)]
    rows += [_published_row(group, paper) for paper in papers if paper.method != FLOOR_METHOD]
    if not sizes:
        rows.sort(key=lambda row: _descending(row.mean))
    floors = [
        _floor_row(group, scored, sizes),
        *(_published_row(group, paper) for paper in papers if paper.method == FLOOR_METHOD),
    ]
    first = 2 if sizes else 1
    bold = {(i, first + k) for i, k in best_cells([row.values for row in rows], [row.block for row in rows])}
    header = [
        "method",
        *(["frames"] if sizes else []),
        *group.au_names,
        f"mean of {len(group.au_names)}",
        INTERVAL,
        "seeds",
    ]
    notes = [_rule(scorer, draws), *shared_notes(group, scored, draws=draws), *_paper_notes(papers)]
    cells = [row.cells for row in [*rows, *floors]]
    return Table(header, cells, title=f"{group.title}, F1 × 100", notes=notes, bold=bold, name=group.name)


def _method_row(group: Group, scores: MethodScores, sizes: bool) -> Row:
    """One of our methods."""
    dagger, score = scores.method.on_test, scores.f1
    cells = [scores.method.label, *([size_text(scores.method.subset)] if sizes else [])]
    cells += [*au_cells(score, len(group.folds), dagger=dagger), mean_cell(score, dagger=dagger)]
    cells += [interval_cell(score.mean_interval(), dagger=dagger), seeds_cell(scores)]
    competing = [None if dagger else optional(value) for value in (*score.values, score.mean.value)]
    return Row(cells, competing, score.mean.value, scores.method.subset)


def _published_row(group: Group, paper: Published) -> Row:
    """One row of a paper; empty where it gives nothing. A mean over other AUs than ours says so and does not compete."""
    values = [paper.f1.get(au) for au in group.au_names]
    shown = ["" if value is None else percent(value) for value in values]
    whose = f"{paper.method} ({MARK})" if paper.method != FLOOR_METHOD else f"{FLOOR_METHOD} (published labels)"
    alike = paper.num_aus == len(group.au_names) and set(paper.f1) <= set(group.au_names)
    mean = percent(paper.mean) + ("" if alike else f" ({paper.num_aus} AUs)")
    return Row([whose, *shown, mean, "", ""], [*values, paper.mean if alike else None], paper.mean)


def _floor_row(group: Group, scored: Sequence[MethodScores], sizes: bool) -> Row:
    """F1 of a detector that calls every AU active in every row."""
    fullest = max(scored, key=lambda scores: scores.annotated().sum())
    floor = fullest.scores["floor"]
    cells = [FLOOR_METHOD, *([""] if sizes else []), *au_cells(floor, len(group.folds)), mean_cell(floor), "", ""]
    return Row(cells, [], floor.mean.value)


def _rule(scorer: GroupScorer, draws: int) -> str:
    """What the numbers are."""
    group = scorer.group
    if scorer.main == "f1_pooled":
        how = f"of the predictions of all {len(group.folds)} folds together"
    elif len(group.folds) > 1:
        how = f"mean over {len(group.folds)} folds of the F1 in each"
    else:
        how = "over all test rows"
    people = [len(names) for names in scorer.subjects.values()]
    drawn = (
        f"{sum(people)} folds of one subject each"
        if scorer.single
        else f"{' + '.join(map(str, people))} subjects, within folds"
    )
    drawn = drawn if len(people) > 1 else f"{people[0]} subjects"
    parts = [
        f"Active from a probability of 0.5 on; {how}; then the mean over AUs, (k/n) behind it where it rests on k of n."
    ]
    parts.append(
        f"{INTERVAL}: {draws:,} bootstrap draws of {drawn}. Seeds: how many, ± standard deviation of their means."
    )
    parts.append(
        f"'{FLOOR_METHOD}': F1 of a detector that always says yes. Bold (* in plain text): best of its column."
    )
    return " ".join(parts)


def _paper_notes(papers: Sequence[Published]) -> list[str]:
    """Where the rows of papers are from."""
    if not papers:
        return []
    sources: dict[str, list[str]] = {}
    for paper in papers:
        sources.setdefault(paper.source, []).append(paper.method)
    texts = "; ".join(f"{', '.join(methods)}: {source}" for source, methods in sources.items())
    over = sorted({paper.num_aus for paper in papers})
    return [
        f"{MARK[0].upper()}{MARK[1:]} ({texts}). Their means are over {' or '.join(map(str, over))} AUs; cells that nobody published are "
        "empty. They were not made by this package: faces, frames and the choice of the epoch differ.",
        *(
            []
            if any(paper.method == UNREAD for paper in papers)
            else [f"{UNREAD}'s own numbers here are in no source that we could read."]
        ),
    ]


def _descending(value: float) -> tuple[bool, float]:
    """Sort key: high values first, nan last."""
    return math.isnan(value), 0.0 if math.isnan(value) else -value


RANKS = ("auroc", "ap")
SCORES_NOTE = (
    "Means over AUs × 100, (k/n) behind them where they rest on k of n. 'F1, folds': mean over folds of the F1 in each; 'F1, pooled': of "
    "all predictions together; 'F1, tuned thresholds': thresholds per AU chosen on validation rows instead of 0.5; AUROC and AP: mean "
    "over folds; ECE: expected calibration error in ten bins, lower is better."
)


def shown_scores(scorer: GroupScorer, scored: Sequence[MethodScores]) -> list[str]:
    """Names of the scores that the tables of a group have columns for."""
    return [
        name
        for name in NAMES
        if any(name in scores.scores for scores in scored) and (name != "macro_f1" or scorer.group.protocol == "micro")
    ]


def scores_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> Table:
    """A row per method: the mean of every score, trained parameters and runs.

    Args:
        scorer: Scorer of the group.
        scored: Its methods.
        draws: Bootstrap draws that the intervals were made with.
    """
    group, ranked, names = scorer.group, sort_scores(scored), shown_scores(scorer, scored)
    sizes = group.protocol == "efficiency"
    columns = [(name, False) for name in names]
    for name in RANKS:
        if any(scores.scores[name].draws is not None for scores in scored):
            columns.insert(columns.index((name, False)) + 1, (name, True))
    rows, values = [], []
    for scores in ranked:
        dagger = scores.method.on_test
        cells = [scores.method.label, *([size_text(scores.method.subset)] if sizes else [])]
        means: list[float | None] = []
        for name, with_interval in columns:
            score = scores.scores.get(name)
            if score is None:
                cells.append("")
            else:
                cells.append(
                    interval_cell(score.mean_interval(), dagger=dagger)
                    if with_interval
                    else mean_cell(score, dagger=dagger)
                )
            means.append(None if score is None or with_interval or dagger else optional(score.mean.value))
        rows.append([*cells, trained(scores.method), str(len(scores.method.runs))])
        values.append(means)
    lowest = [columns.index(("ece", False))]
    shift = 2 if sizes else 1
    bold = {(i, shift + k) for i, k in best_cells(values, [scores.method.subset for scores in ranked], lowest=lowest)}
    header = [
        "method",
        *(["frames"] if sizes else []),
        *(f"{NAMES[n]} {INTERVAL}" if b else NAMES[n] for n, b in columns),
    ]
    notes = [SCORES_NOTE, *shared_notes(group, scored, draws=draws)]
    title = f"{group.title}, all scores"
    return Table([*header, "trained", "runs"], rows, title=title, notes=notes, bold=bold, name=f"{group.name}-scores")


def au_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> Table:
    """A row per AU and method: every score, the interval of the main one, positives, annotated rows and those that are not.

    Args:
        scorer: Scorer of the group.
        scored: Its methods.
        draws: Bootstrap draws that the intervals were made with.
    """
    group, ranked, names = scorer.group, sort_scores(scored), shown_scores(scorer, scored)
    columns: dict[str, dict[tuple[int, int], str]] = {}
    values: dict[tuple[int, int], list[float | None]] = {}
    for row, scores in enumerate(ranked):
        dagger = scores.method.on_test
        for name in names:
            score = scores.scores.get(name, AUScore(np.full(len(group.au_names), np.nan)))
            shown = (
                au_cells(score, len(group.folds), dagger=dagger)
                if name in scores.scores
                else [""] * len(group.au_names)
            )
            _fill(columns.setdefault(NAMES[name], {}), row, shown)
            if name == scorer.main or (score.draws is not None and name in RANKS):
                shown = [interval_cell(found, dagger=dagger) for found in score.intervals()]
                _fill(columns.setdefault(f"{NAMES[name]} {INTERVAL}", {}), row, shown)
        for i in range(len(group.au_names)):
            values[i, row] = [
                None if dagger or name not in scores.scores else optional(scores.scores[name].values[i])
                for name in names
            ]
    places = list(itertools.product(range(len(group.au_names)), range(len(ranked))))
    rows = []
    for i, row in places:
        au, scores = group.au_names[i], ranked[row]
        label = scores.method.label + (f", {size_text(scores.method.subset)}" if group.protocol == "efficiency" else "")
        counts = f"{int(scores.positives()[i]):,} / {int(scores.annotated()[i]):,}"
        rows.append([f"{au} {ACTION_UNITS[au].name}", label, *(column.get((i, row), "") for column in columns.values()), counts,
                     f"{int(scores.unknown[i]):,}"])  # fmt: skip
    where = [2 + list(columns).index(NAMES[name]) for name in names]
    blocks = [(i, ranked[row].method.subset) for i, row in places]
    best = best_cells([values[place] for place in places], blocks, lowest=[names.index("ece")])
    header = ["AU", "method", *columns, "positives / annotated", "not annotated"]
    bold = {(i, where[k]) for i, k in best}
    notes = [SCORES_NOTE, *shared_notes(group, scored, draws=draws)]
    title = f"{group.title}, every AU"
    return Table(header, rows, title=title, notes=notes, text_columns=2, bold=bold, name=f"{group.name}-aus")


def difference_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> Table | None:
    """A row per pair of methods: how much better the first is, and how sure that is; None with one method only.

    Args:
        scorer: Scorer of the group.
        scored: Its methods.
        draws: Bootstrap draws.
    """
    group, rows, refused = scorer.group, [], []
    sizes = group.protocol == "efficiency"
    for first, second in itertools.combinations(sort_scores(scored), 2):
        if first.method.subset != second.method.subset:
            continue
        names = [first.method.label, second.method.label, *([size_text(first.method.subset)] if sizes else [])]
        reason = not_comparable(first, second)
        if reason:
            refused.append(f"{names[0]} and {names[1]}{f' on {names[2]} frames' if sizes else ''}: {reason}")
            continue
        none = np.empty((0, len(group.au_names)))
        drawn = [none if scores.f1.draws is None else scores.f1.draws for scores in (first, second)]
        found = difference((first.f1.values, second.f1.values), (drawn[0], drawn[1]))
        dagger = first.method.on_test or second.method.on_test
        value = "nan" if math.isnan(found.value) else marked(f"{100 * found.value:+.1f}", dagger)
        p = "" if math.isnan(found.p) else marked(f"{found.p:.3f}", dagger)
        rows.append([*names, value, interval_cell(found.interval, dagger=dagger), p, str(found.num_aus)])
    if not rows and not refused:
        return None
    notes = [
        "Mean F1 × 100 of the first method less that of the second, over the AUs that both are scored on. Both are weighed by the same "
        f"{draws:,} draws of subjects; p: two-sided, how often draws contradict the sign of the difference; not corrected for the number "
        "of pairs."
    ]
    notes += [f"Not compared: {'; '.join(refused)}."] if refused else []
    notes += [TEST_NOTE] if any(scores.method.on_test for scores in scored) else []
    header = ["method", "less", *(["frames"] if sizes else []), "difference", INTERVAL, "p", "AUs"]
    title = f"{group.title}, differences between methods"
    return Table(header, rows, title=title, notes=notes, text_columns=2, name=f"{group.name}-differences")


def trained(method: Method) -> str:
    """Number of trained parameters of a method; empty where its lines do not say."""
    numbers = {
        int(line["trainable_parameters"])
        for line in method.runs.values()
        if line.get("trainable_parameters") is not None
    }
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)})) if numbers else ""


def _fill(column: dict[tuple[int, int], str], row: int, cells: Sequence[str]) -> None:
    """Put the cells of a method into a column."""
    column.update({(i, row): cell for i, cell in enumerate(cells)})


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


def summary_table(groups: Scored) -> Table:
    """A row per method of every group: its mean F1 and what else a reader asks first.

    Args:
        groups: Each group's scorer and scored methods.
    """
    names = ("auroc", "ap", "ece")
    rows, values, blocks = [], [], []
    for scorer, scored in groups:
        for scores in sort_scores(scored):
            dagger, size = scores.method.on_test, scores.method.subset
            where = scorer.group.title + (
                f", {size_text(size)} frames" if scorer.group.protocol == "efficiency" else ""
            )
            f1 = [
                mean_cell(scores.f1, dagger=dagger),
                interval_cell(scores.f1.mean_interval(), dagger=dagger),
                seeds_cell(scores),
            ]
            others = [mean_cell(scores.scores[name], dagger=dagger) for name in names]
            rows.append(
                [where, scores.method.label, *f1, *others, trained(scores.method), str(len(scores.method.runs))]
            )
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
    title = "Every experiment, means × 100"
    return Table(header, rows, title=title, notes=notes, text_columns=2, bold=bold, name="summary")


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
                values[scores.method.label][train.index(group.data), test.index(group.test)] = _mean_f1(
                    group, scores, au_names
                )
    on_test = {scores.method.label for _, scored in chosen for scores in scored if scores.method.on_test} & labels
    return Matrix(au_names, train, test, values, on_test)


def matrix_table(matrix: Matrix) -> Table:
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
            rows.append(
                [train, label, *("" if np.isnan(value) else marked(percent(value), dagger) for value in table[i])]
            )
            values.append([None if dagger else optional(value) for value in table[i]])
            blocks.append(train)
    bold = {(i, 2 + k) for i, k in best_cells(values, blocks)}
    notes = [
        f"Mean F1 × 100 over the AUs that every cell has ({', '.join(matrix.au_names)}). Where train and test are the same: mean over "
        "subject-exclusive folds. Bold (* in plain text): best of the same training and test data.",
        *([TEST_NOTE] if matrix.on_test else []),
    ]
    return Table(
        ["train", "method", *matrix.test], rows, title="Trained on (rows), tested on (columns), mean F1 × 100", notes=notes,
        text_columns=2, bold=bold, name="cross-matrix",
    )  # fmt: skip


def _mean_f1(group: Group, scores: MethodScores, au_names: Sequence[str]) -> float:
    """Mean main score over some AUs."""
    return metrics.mean_over_aus([scores.f1.values[group.au_names.index(au)] for au in au_names]).value

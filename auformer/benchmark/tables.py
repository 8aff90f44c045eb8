"""The tables of a benchmark: of one group, and over all groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
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
    trained_cell,
)
from auformer.benchmark.fold_scores import RANKS, GroupScorer, MethodScores, descending, not_comparable
from auformer.benchmark.groups import Group
from auformer.benchmark.intensity import IntensityScorer
from auformer.report.table import Table, best_cells
from auformer.scoring.bootstrap import difference
from auformer.scoring.published import FLOOR_METHOD, MARK, Published, published_rows
from auformer.scoring.scores import optional
from auformer.scoring.tables import agreement_cell, percent

UNREAD = "AUFormer"  # its within-domain tables: nothing is filled in from memory
SCORES_NOTE = (
    "Means over AUs × 100, (k/n) behind them where they rest on k of n. 'F1, folds': mean over folds of the F1 in "
    "each; 'F1, pooled': of all predictions together; 'F1, tuned thresholds': thresholds per AU chosen on validation "
    "rows instead of 0.5; AUROC and AP: mean over folds; ECE: expected calibration error in ten bins, lower is better."
)


def name_cells(scores: MethodScores, sizes: bool) -> list[str]:
    """What a row begins with: the method, and the size of its training set where a group has several."""
    return [scores.method.label, *([size_text(scores.method.subset)] if sizes else [])]


def dagger_notes(scores: Iterable[MethodScores]) -> list[str]:
    """The note on the dagger, where any method needs it."""
    return [TEST_NOTE] if any(one.method.on_test for one in scores) else []


class Row(NamedTuple):
    """One row in the making."""

    cells: list[str]
    values: list[float | None]  # what competes for the best of each column, AUs and mean; empty where nothing does
    mean: float  # what it is sorted by; nan where undefined
    block: object = None  # rows of the same block compete


def group_tables(scorer: GroupScorer) -> list[Table]:
    """All tables of a group, the main one first."""
    made = [main_table(scorer), scores_table(scorer), difference_table(scorer), au_table(scorer)]
    return [table for table in made if table is not None]


def main_table(scorer: GroupScorer) -> Table:
    """F1 per AU and their mean, a row per method, with those of papers, and the floor below."""
    group = scorer.group
    sizes = group.protocol == "efficiency"
    papers = [] if sizes else published_rows(group.protocol, group.data, group.test)
    rows = [_method_row(group, scores, sizes) for scores in scorer.ranked]
    rows += [_published_row(group, paper) for paper in papers if paper.method != FLOOR_METHOD]
    if not sizes:
        rows.sort(key=lambda row: descending(row.mean))
    floor = scorer.fullest.scores["floor"]
    own = [FLOOR_METHOD, *([""] if sizes else []), *au_cells(floor, len(group.folds)), mean_cell(floor), "", ""]
    floors = [own, *(_published_row(group, paper).cells for paper in papers if paper.method == FLOOR_METHOD)]
    first = 1 + sizes
    bold = {(i, first + k) for i, k in best_cells([row.values for row in rows], [row.block for row in rows])}
    header = ["method", *["frames"] * sizes, *group.au_names, f"mean of {len(group.au_names)}", INTERVAL, "seeds"]
    notes = [_rule(scorer), *shared_notes(scorer), *_paper_notes(papers)]
    cells = [*(row.cells for row in rows), *floors]
    return Table(header, cells, title=f"{group.title}, F1 × 100", notes=notes, bold=bold, name=group.name)


def _method_row(group: Group, scores: MethodScores, sizes: bool) -> Row:
    """One of our methods."""
    dagger, score = scores.method.on_test, scores.f1
    cells = [*name_cells(scores, sizes), *au_cells(score, len(group.folds), dagger=dagger)]
    cells += [mean_cell(score, dagger=dagger), interval_cell(score.mean_interval(), dagger=dagger), seeds_cell(scores)]
    competing = [None if dagger else optional(value) for value in (*score.values, score.mean.value)]
    return Row(cells, competing, score.mean.value, scores.method.subset)


def _published_row(group: Group, paper: Published) -> Row:
    """One row of a paper, empty where it gives nothing; a mean over other AUs says so and does not compete."""
    values = [paper.f1.get(au) for au in group.au_names]
    shown = ["" if value is None else percent(value) for value in values]
    whose = f"{paper.method} ({MARK})" if paper.method != FLOOR_METHOD else f"{FLOOR_METHOD} (published labels)"
    alike = paper.num_aus == len(group.au_names) and set(paper.f1) <= set(group.au_names)
    mean = percent(paper.mean) + ("" if alike else f" ({paper.num_aus} AUs)")
    return Row([whose, *shown, mean, "", ""], [*values, paper.mean if alike else None], paper.mean)


def _rule(scorer: GroupScorer) -> str:
    """What the numbers are."""
    num_folds, people = len(scorer.group.folds), [len(names) for names in scorer.subjects.values()]
    how = f"mean over {num_folds} folds of the F1 in each" if num_folds > 1 else "over all test rows"
    if scorer.main == "f1_pooled":
        how = f"of the predictions of all {num_folds} folds together"
    drawn = f"{' + '.join(map(str, people))} subjects{', within folds' if len(people) > 1 else ''}"
    drawn = f"{sum(people)} folds of one subject each" if scorer.single else drawn
    return (
        f"Active from a probability of 0.5 on; {how}; then the mean over AUs, (k/n) behind it where it rests on k of "
        f"n. {INTERVAL}: {scorer.draws:,} bootstrap draws of {drawn}. Seeds: how many, ± standard deviation of their "
        f"means. '{FLOOR_METHOD}': F1 of a detector that always says yes. Bold (* in plain text): best of its column."
    )


def _paper_notes(papers: Sequence[Published]) -> list[str]:
    """Where the rows of papers are from."""
    if not papers:
        return []
    sources: dict[str, list[str]] = {}
    for paper in papers:
        sources.setdefault(paper.source, []).append(paper.method)
    texts = "; ".join(f"{', '.join(methods)}: {source}" for source, methods in sources.items())
    over = " or ".join(map(str, sorted({paper.num_aus for paper in papers})))
    read = any(paper.method == UNREAD for paper in papers)
    return [
        f"{MARK[0].upper()}{MARK[1:]} ({texts}). Their means are over {over} AUs; cells that nobody published are "
        "empty. They were not made by this package: faces, frames and the choice of the epoch differ.",
        *([] if read else [f"{UNREAD}'s own numbers here are in no source that we could read."]),
    ]


def shown_scores(scorer: GroupScorer) -> list[str]:
    """Names of the scores that the tables of a group have columns for."""
    found = {name for scores in scorer.ranked for name in scores.scores}
    return [name for name in NAMES if name in found and (name != "macro_f1" or scorer.group.protocol == "micro")]


def scores_table(scorer: GroupScorer) -> Table:
    """A row per method: the mean of every score, trained parameters and runs."""
    group, ranked = scorer.group, scorer.ranked
    sizes = group.protocol == "efficiency"
    drawn = {name for name in RANKS if any(scores.scores[name].draws is not None for scores in ranked)}
    columns = [(name, end) for name in shown_scores(scorer) for end in ((False, True) if name in drawn else (False,))]
    rows, values = [], []
    for scores in ranked:
        dagger = scores.method.on_test
        cells, means = name_cells(scores, sizes), []
        for name, with_interval in columns:
            score = scores.scores.get(name)
            competes = score is not None and not with_interval and not dagger
            means.append(optional(score.mean.value) if score is not None and competes else None)
            if with_interval:
                cells.append("" if score is None else interval_cell(score.mean_interval(), dagger=dagger))
            else:
                cells.append("" if score is None else mean_cell(score, dagger=dagger))
        rows.append([*cells, trained_cell(scores.method), str(len(scores.method.runs))])
        values.append(means)
    best = best_cells(values, [one.method.subset for one in ranked], lowest=[columns.index(("ece", False))])
    names = [f"{NAMES[name]} {INTERVAL}" if with_interval else NAMES[name] for name, with_interval in columns]
    header = ["method", *["frames"] * sizes, *names, "trained", "runs"]
    return Table(
        header, rows, title=f"{group.title}, all scores", notes=[SCORES_NOTE, *shared_notes(scorer)],
        bold={(i, 1 + sizes + k) for i, k in best}, name=f"{group.name}-scores",
    )  # fmt: skip


def au_table(scorer: GroupScorer) -> Table:
    """A row per AU and method: every score, the interval of the main one, positives, annotated rows and the others."""
    group, ranked, names = scorer.group, scorer.ranked, shown_scores(scorer)
    columns: dict[str, dict[tuple[int, int], str]] = {}
    values: dict[tuple[int, int], list[float | None]] = {}
    numbers = range(len(group.au_names))
    for row, scores in enumerate(ranked):
        dagger = scores.method.on_test
        for name in names:
            column, score = columns.setdefault(NAMES[name], {}), scores.scores.get(name)
            if score is None:
                continue
            cells = au_cells(score, len(group.folds), dagger=dagger)
            column.update({(i, row): cells[i] for i in numbers})
            if name == scorer.main or (score.draws is not None and name in RANKS):
                cells = [interval_cell(found, dagger=dagger) for found in score.intervals()]
                columns.setdefault(f"{NAMES[name]} {INTERVAL}", {}).update({(i, row): cells[i] for i in numbers})
        competing = [None if dagger else scores.scores.get(name) for name in names]
        for i in numbers:
            values[i, row] = [None if score is None else optional(score.values[i]) for score in competing]
    places, rows = list(itertools.product(numbers, range(len(ranked)))), []
    for i, row in places:
        au, scores = group.au_names[i], ranked[row]
        label = scores.method.label + (f", {size_text(scores.method.subset)}" if group.protocol == "efficiency" else "")
        counts = f"{int(scores.positives()[i]):,} / {int(scores.annotated()[i]):,}"
        cells = [column.get((i, row), "") for column in columns.values()]
        rows.append([f"{au} {ACTION_UNITS[au].name}", label, *cells, counts, f"{int(scores.unknown[i]):,}"])
    where = [2 + list(columns).index(NAMES[name]) for name in names]
    blocks = [(i, ranked[row].method.subset) for i, row in places]
    best = best_cells([values[place] for place in places], blocks, lowest=[names.index("ece")])
    return Table(
        ["AU", "method", *columns, "positives / annotated", "not annotated"], rows, title=f"{group.title}, every AU",
        notes=[SCORES_NOTE, *shared_notes(scorer)], text_columns=2, bold={(i, where[k]) for i, k in best},
        name=f"{group.name}-aus",
    )  # fmt: skip


def difference_table(scorer: GroupScorer) -> Table | None:
    """A row per pair of methods: how much better the first is, and how sure that is; None with one method only."""
    group, rows, refused = scorer.group, [], []
    sizes = group.protocol == "efficiency"
    for first, second in itertools.combinations(scorer.ranked, 2):
        if first.method.subset != second.method.subset:
            continue
        names = [first.method.label, *name_cells(second, sizes)]
        reason = not_comparable(first, second)
        if reason:
            refused.append(f"{names[0]} and {names[1]}{f' on {names[2]} frames' if sizes else ''}: {reason}")
            continue
        none = np.empty((0, len(group.au_names)))
        one, other = (none if scores.f1.draws is None else scores.f1.draws for scores in (first, second))
        found = difference((first.f1.values, second.f1.values), (one, other))
        dagger = first.method.on_test or second.method.on_test
        value = "nan" if math.isnan(found.value) else marked(f"{100 * found.value:+.1f}", dagger)
        p = "" if math.isnan(found.p) else marked(f"{found.p:.3f}", dagger)
        rows.append([*names, value, interval_cell(found.interval, dagger=dagger), p, str(found.num_aus)])
    if not rows and not refused:
        return None
    notes = [
        "Mean F1 × 100 of the first method less that of the second, over the AUs that both are scored on. Both are "
        f"weighed by the same {scorer.draws:,} draws of subjects; p: two-sided, how often draws contradict the sign of "
        "the difference; not corrected for the number of pairs."
    ]
    notes += [f"Not compared: {'; '.join(refused)}."] if refused else []
    notes += dagger_notes(scorer.ranked)
    header = ["method", "less", *["frames"] * sizes, "difference", INTERVAL, "p", "AUs"]
    title = f"{group.title}, differences between methods"
    return Table(header, rows, title=title, notes=notes, text_columns=2, name=f"{group.name}-differences")


def summary_table(scorers: Sequence[GroupScorer]) -> Table:
    """A row per method of every group: its mean F1 and what else a reader asks first."""
    names = ("auroc", "ap", "ece")
    rows, values, blocks = [], [], []
    graded = {
        scorer.group.name: {one.method.label: one.icc for one in IntensityScorer(scorer).ranked} for scorer in scorers
    }
    has_icc = any(graded.values())
    for group, scores in ((scorer.group, scores) for scorer in scorers for scores in scorer.ranked):
        dagger, size = scores.method.on_test, scores.method.subset
        where = group.title + (f", {size_text(size)} frames" if group.protocol == "efficiency" else "")
        f1, others = scores.f1, [scores.scores[name] for name in names]
        cells = [mean_cell(f1, dagger=dagger), interval_cell(f1.mean_interval(), dagger=dagger), seeds_cell(scores)]
        cells += [mean_cell(score, dagger=dagger) for score in others]
        icc = graded[group.name].get(scores.method.label)
        if has_icc:
            shown = "" if icc is None else agreement_cell(icc.mean.value, icc.mean.num, len(icc.values))
            cells.append(marked(shown, dagger))
        rows.append([where, scores.method.label, *cells, trained_cell(scores.method), str(len(scores.method.runs))])
        means = [f1.mean.value, None, None, *(score.mean.value for score in others)]
        means += [None if icc is None else icc.mean.value] if has_icc else []
        values.append([None if dagger or value is None else optional(value) for value in means])
        blocks.append((group.name, size))
    bold = {(i, 2 + k) for i, k in best_cells(values, blocks, lowest=[5])}
    header = ["experiment", "method", "mean F1", INTERVAL, "seeds", "AUROC", "AP", "ECE"]
    header += [*(["ICC"] if has_icc else []), "trained", "runs"]
    notes = [
        "Means over AUs × 100, (k/n) behind them where they rest on k of n; the rest stands in the table of each "
        "experiment. Bold (* in plain text): best of the experiment; ECE: lower is better. Trained: number of trained "
        "parameters.",
        *(["ICC: ICC(3,1) of the intensities, as it is, mean over AUs."] if has_icc else []),
        *dagger_notes(scores for scorer in scorers for scores in scorer.ranked),
    ]
    title = "Every experiment, means × 100"
    return Table(header, rows, title=title, notes=notes, text_columns=2, bold=bold, name="summary")


class Matrix(NamedTuple):
    """Mean F1 by what was trained on and what was tested on."""

    au_names: list[str]  # AUs that every cell has, over which the means are
    train: list[str]  # names of the rows
    test: list[str]  # names of the columns
    values: Mapping[str, np.ndarray]  # method -> mean F1 `(rows, columns)`, nan where there is no run
    on_test: set[str]  # methods whose epoch was chosen on the test split


def cross_matrix_of(scorers: Sequence[GroupScorer]) -> Matrix | None:
    """Train × test of all cross-domain groups.

    Where train and test are the same, it holds the within-domain scores of the same methods. None where there are fewer
    than two pairs of data, or no AU that all have.
    """
    cross = [scorer for scorer in scorers if scorer.group.protocol == "cross"]
    if len({(scorer.group.data, scorer.group.test) for scorer in cross}) < 2:
        return None
    train, test = (sorted({getattr(scorer.group, name) for scorer in cross}) for name in ("data", "test"))
    chosen = cross + [
        one for one in scorers if one.group.protocol == "within" and one.group.data in train and one.group.data in test
    ]
    shared = set.intersection(*(set(scorer.group.au_names) for scorer in chosen))
    au_names = [au for au in chosen[0].group.au_names if au in shared]
    if not au_names:
        return None
    labels = sorted({scores.method.label for scorer in cross for scores in scorer.ranked})
    values, on_test = {label: np.full((len(train), len(test)), np.nan) for label in labels}, set()
    for scorer in reversed(chosen):  # a pair that occurs twice: the first stands
        columns = [scorer.group.au_names.index(au) for au in au_names]
        place = train.index(scorer.group.data), test.index(scorer.group.test)
        for scores in (one for one in scorer.ranked if one.method.label in values):
            values[scores.method.label][place] = metrics.mean_over_aus(scores.f1.values[columns]).value
            on_test |= {scores.method.label} if scores.method.on_test else set()
    return Matrix(au_names, train, test, values, on_test)


def matrix_table(matrix: Matrix) -> Table:
    """Train × test, a block of rows per training data."""
    rows, values, blocks = [], [], []
    for (i, train), (label, table) in itertools.product(enumerate(matrix.train), matrix.values.items()):
        if np.isnan(table[i]).all():
            continue
        dagger = label in matrix.on_test
        cells = ["" if np.isnan(value) else marked(percent(value), dagger) for value in table[i]]
        rows.append([train, label, *cells])
        values.append([None if dagger else optional(value) for value in table[i]])
        blocks.append(train)
    notes = [
        f"Mean F1 × 100 over the AUs that every cell has ({', '.join(matrix.au_names)}). Where train and test are the "
        "same: mean over subject-exclusive folds. Bold (* in plain text): best of the same training and test data.",
        *([TEST_NOTE] if matrix.on_test else []),
    ]
    return Table(
        ["train", "method", *matrix.test], rows, title="Trained on (rows), tested on (columns), mean F1 × 100",
        notes=notes, text_columns=2, bold={(i, 2 + k) for i, k in best_cells(values, blocks)}, name="cross-matrix",
    )  # fmt: skip

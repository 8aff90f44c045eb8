"""The tables of a group that stand behind the first: every score, every AU, and how sure one method is better than another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from auformer.aus import ACTION_UNITS
from auformer.benchmark.cells import (
    INTERVAL,
    NAMES,
    TEST_NOTE,
    au_cells,
    interval_cell,
    marked,
    mean_cell,
    optional,
    shared_notes,
    size_text,
)
from auformer.benchmark.fold_scores import AUScore, GroupScorer, MethodScores, not_comparable
from auformer.benchmark.forms import BenchmarkTable, best_cells
from auformer.benchmark.group_tables import sort_scores
from auformer.benchmark.groups import Method
from auformer.scoring.bootstrap import difference

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


def scores_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> BenchmarkTable:
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
                cells.append(interval_cell(score.mean_interval(), dagger=dagger) if with_interval else mean_cell(score, dagger=dagger))
            means.append(None if score is None or with_interval or dagger else optional(score.mean.value))
        rows.append([*cells, trained(scores.method), str(len(scores.method.runs))])
        values.append(means)
    lowest = [columns.index(("ece", False))]
    shift = 2 if sizes else 1
    bold = {(i, shift + k) for i, k in best_cells(values, [scores.method.subset for scores in ranked], lowest=lowest)}
    header = ["method", *(["frames"] if sizes else []), *(f"{NAMES[n]} {INTERVAL}" if b else NAMES[n] for n, b in columns)]
    notes = [SCORES_NOTE, *shared_notes(group, scored, draws=draws)]
    return BenchmarkTable(f"{group.name}-scores", f"{group.title}, all scores", [*header, "trained", "runs"], rows, bold, notes)


def au_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> BenchmarkTable:
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
            shown = au_cells(score, len(group.folds), dagger=dagger) if name in scores.scores else [""] * len(group.au_names)
            _fill(columns.setdefault(NAMES[name], {}), row, shown)
            if name == scorer.main or (score.draws is not None and name in RANKS):
                shown = [interval_cell(found, dagger=dagger) for found in score.intervals()]
                _fill(columns.setdefault(f"{NAMES[name]} {INTERVAL}", {}), row, shown)
        for i in range(len(group.au_names)):
            values[i, row] = [None if dagger or name not in scores.scores else optional(scores.scores[name].values[i]) for name in names]
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
    return BenchmarkTable(f"{group.name}-aus", f"{group.title}, every AU", header, rows, bold, notes, text_columns=2)


def difference_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> BenchmarkTable | None:
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
    return BenchmarkTable(f"{group.name}-differences", f"{group.title}, differences between methods", header, rows, set(), notes, 2)


def trained(method: Method) -> str:
    """Number of trained parameters of a method; empty where its lines do not say."""
    numbers = {int(line["trainable_parameters"]) for line in method.runs.values() if line.get("trainable_parameters") is not None}
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)})) if numbers else ""


def _fill(column: dict[tuple[int, int], str], row: int, cells: Sequence[str]) -> None:
    """Put the cells of a method into a column."""
    column.update({(i, row): cell for i, cell in enumerate(cells)})

"""The table of a group that goes into a paper: F1 per AU of our methods, of published ones, and of a detector that always says yes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from auformer.benchmark.cells import INTERVAL, au_cells, interval_cell, mean_cell, optional, seeds_cell, shared_notes, size_text
from auformer.benchmark.fold_scores import GroupScorer, MethodScores
from auformer.benchmark.forms import BenchmarkTable, best_cells
from auformer.benchmark.groups import Group
from auformer.benchmark.names import subset_order
from auformer.scoring.published import FLOOR_METHOD, MARK, Published, published_rows
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
    return sorted(scored, key=lambda scores: (subset_order(scores.method.subset), *_descending(scores.f1.mean.value), scores.method.label))


def main_table(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> BenchmarkTable:
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
    floors = [_floor_row(group, scored, sizes), *(_published_row(group, paper) for paper in papers if paper.method == FLOOR_METHOD)]
    first = 2 if sizes else 1
    bold = {(i, first + k) for i, k in best_cells([row.values for row in rows], [row.block for row in rows])}
    header = ["method", *(["frames"] if sizes else []), *group.au_names, f"mean of {len(group.au_names)}", INTERVAL, "seeds"]
    notes = [_rule(scorer, draws), *shared_notes(group, scored, draws=draws), *_paper_notes(papers)]
    cells = [row.cells for row in [*rows, *floors]]
    return BenchmarkTable(group.name, f"{group.title}, F1 × 100", header, cells, bold, notes, text_columns=1)


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
    drawn = f"{sum(people)} folds of one subject each" if scorer.single else f"{' + '.join(map(str, people))} subjects, within folds"
    drawn = drawn if len(people) > 1 else f"{people[0]} subjects"
    parts = [f"Active from a probability of 0.5 on; {how}; then the mean over AUs, (k/n) behind it where it rests on k of n."]
    parts.append(f"{INTERVAL}: {draws:,} bootstrap draws of {drawn}. Seeds: how many, ± standard deviation of their means.")
    parts.append(f"'{FLOOR_METHOD}': F1 of a detector that always says yes. Bold (* in plain text): best of its column.")
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
        *([] if any(paper.method == UNREAD for paper in papers) else [f"{UNREAD}'s own numbers here are in no source that we could read."]),
    ]


def _descending(value: float) -> tuple[bool, float]:
    """Sort key: high values first, nan last."""
    return math.isnan(value), 0.0 if math.isnan(value) else -value

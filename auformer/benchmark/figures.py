"""Which figures a benchmark has, from the scores of its groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from auformer.benchmark.cells import TEST_NOTE, size_text
from auformer.benchmark.fold_scores import GroupScorer, MethodScores
from auformer.benchmark.group_tables import sort_scores
from auformer.benchmark.names import subset_order
from auformer.benchmark.suite_tables import Matrix
from auformer.report.cross_matrix import cross_matrix
from auformer.report.reliability import reliability_diagram
from auformer.report.scores import MEAN, f1_bars
from auformer.report.training_size import training_size_curves
from auformer.scoring.calibration import add_bins

SHOWN = 6  # methods in one figure: as many as there are colours that everyone can tell apart
Draw = Callable[[str], Any]


class Figure(NamedTuple):
    """One figure.

    Attributes:
        name: Stem of its file.
        heading: What it shows.
        caption: What its marks mean.
        alt: What it shows, for those who cannot see it.
        draw: Theme -> matplotlib figure.
    """

    name: str
    heading: str
    caption: str
    alt: str
    draw: Draw


def group_figures(scorer: GroupScorer, scored: Sequence[MethodScores]) -> list[Figure]:
    """The figures of a group: F1 over training size, or per AU; and reliability.

    Args:
        scorer: Scorer of the group.
        scored: Its methods.
    """
    if scorer.group.protocol == "efficiency":
        return [_size_figure(scorer, scored)]
    return [_bars_figure(scorer, scored), _reliability_figure(scorer, scored)]


def matrix_figure(matrix: Matrix) -> Figure:
    """Train × test.

    Args:
        matrix: As `cross_matrix_of` gives it.
    """
    values = {_plain(label): table for label, table in matrix.values.items()}
    note = TEST_NOTE if matrix.on_test else None
    text = f"Mean F1 x 100 over {', '.join(matrix.au_names)}. Rows: trained on; columns: tested on."
    return Figure(
        "cross-matrix",
        "Trained on one, tested on another",
        text,
        f"{text} The values stand in the table cross-matrix.",
        lambda theme: cross_matrix(values, matrix.train, matrix.test, footnote=note, theme=theme),
    )


def _bars_figure(scorer: GroupScorer, scored: Sequence[MethodScores]) -> Figure:
    """F1 per AU of the best methods, with intervals and floor."""
    group, shown, rest = scorer.group, *_best(scored)
    scores = {_plain(one.method.label): dict(zip(group.au_names, one.f1.values.tolist(), strict=True)) for one in shown}
    ends = {}
    for one in shown:
        found = {au: value for au, value in zip(group.au_names, one.f1.intervals(), strict=True) if value is not None and value.num}
        mean = one.f1.mean_interval()
        ends[_plain(one.method.label)] = {au: (value.low, value.high) for au, value in found.items()}
        if mean is not None and mean.num:
            ends[_plain(one.method.label)][MEAN] = (mean.low, mean.high)
    fullest = max(scored, key=lambda one: one.annotated().sum())
    floor = dict(zip(group.au_names, fullest.scores["floor"].values.tolist(), strict=True))
    caption = f"F1 × 100 per action unit and their mean; thin lines: 95 % intervals over subjects; upright marks: always positive.{rest}"
    return Figure(
        group.name,
        f"{group.title}: F1 per action unit",
        caption,
        f"Bars of F1 per action unit. {_means(shown)} The values stand in the table {group.name}.",
        lambda theme: f1_bars(scores, floor=floor, intervals=ends, footnote=_note(shown), theme=theme),
    )


def _reliability_figure(scorer: GroupScorer, scored: Sequence[MethodScores]) -> Figure:
    """Reliability over all AUs of the best methods."""
    group, shown, rest = scorer.group, *_best(scored)
    bins = {_plain(one.method.label): add_bins(list(one.bins)) for one in shown}
    errors = ", ".join(f"{one.method.label} {_text(one.scores['ece'].mean.value)}" for one in shown)
    caption = f"All action units together, in ten bins; the larger a mark, the more rows. Expected calibration error × 100: {errors}.{rest}"
    return Figure(
        f"{group.name}-reliability",
        f"{group.title}: reliability",
        caption,
        f"Rate of positives over predicted probability. Expected calibration error × 100: {errors}.",
        lambda theme: reliability_diagram(bins, footnote=_note(shown), theme=theme),
    )


def _size_figure(scorer: GroupScorer, scored: Sequence[MethodScores]) -> Figure:
    """Mean F1 over the size of the training set."""
    group = scorer.group
    subsets = sorted({one.method.subset for one in scored}, key=subset_order)
    sizes = list(dict.fromkeys(map(size_text, subsets)))
    labels = list(dict.fromkeys(one.method.label for one in sort_scores(scored)))[:SHOWN]
    points: dict[str, dict[str, tuple[float, float, float]]] = {label: {} for label in labels}
    shown = [one for one in scored if one.method.label in points]
    for one in sort_scores(shown):
        found = one.f1.mean_interval()
        ends = (math.nan, math.nan) if found is None or not found.num else (found.low, found.high)
        points[one.method.label][size_text(one.method.subset)] = (one.f1.mean.value, *ends)
    fullest = max(scored, key=lambda one: one.annotated().sum())
    floor = fullest.scores["floor"].mean.value
    curves = {_plain(label): values for label, values in points.items()}
    return Figure(
        group.name,
        f"{group.title}: F1 over training frames",
        "Mean F1 × 100 on the same test folds; upright lines: 95 % intervals over subjects. The sizes are evenly spaced.",
        f"Mean F1 over the number of training frames. {_means(shown)} The values stand in the table {group.name}.",
        lambda theme: training_size_curves(curves, sizes, floor=None if math.isnan(floor) else floor, footnote=_note(shown), theme=theme),
    )


def _best(scored: Sequence[MethodScores]) -> tuple[list[MethodScores], str]:
    """The methods that one figure can show, and what it says of the others."""
    ranked = sort_scores(scored)
    return ranked[:SHOWN], f" The best {SHOWN} of {len(ranked)} methods are shown." if len(ranked) > SHOWN else ""


def _note(shown: Sequence[MethodScores]) -> str | None:
    """Footnote of a figure."""
    return TEST_NOTE if any(one.method.on_test for one in shown) else None


def _means(shown: Sequence[MethodScores]) -> str:
    """Means of the methods in words."""
    sizes = len({one.method.subset for one in shown}) > 1
    texts = [
        f"{one.method.label}{f' ({size_text(one.method.subset)} frames)' if sizes else ''} {_text(one.f1.mean.value)}"
        for one in sort_scores(shown)
    ]
    return f"Means × 100: {', '.join(texts)}."


def _text(value: float) -> str:
    """A rate × 100."""
    return "nan" if math.isnan(value) else f"{100 * value:.1f}"


def _plain(label: str) -> str:
    """A name in which matplotlib finds no mathematics."""
    return label.replace("$", r"\$")

"""What more training faces are worth: F1 over the size of the training set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.style import FONT_SIZE, MARKERS, SERIES, SMALL, THEMES, add_footnote, add_title, dress_axes, new_figure

DODGE = 0.07  # of the distance between two sizes: methods stand beside each other, so that their intervals can be told apart [ours]
Point = tuple[float, float, float]


def training_size_curves(
    scores: Mapping[str, Mapping[str, Point]],
    sizes: Sequence[str],
    *,
    floor: float | None = None,
    title: str | None = None,
    footnote: str | None = None,
    theme: str = "light",
) -> Figure:
    """Draw the mean F1 of several methods over the size of their training set, the sizes evenly spaced.

    Args:
        scores: label of a method -> size -> (F1, low, high) in [0, 1], the ends of its interval NaN where there is none.
        sizes: names of the sizes, the smallest first; a method may lack some.
        floor: F1 of an always-positive detector, drawn as a dashed line.
        title: text above the figure.
        footnote: small text below it.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: without methods, or with a size that is not among ``sizes``.
    """
    if not scores:
        raise ValueError("Expected `scores` to hold at least one method, but got none")
    unknown = sorted({size for points in scores.values() for size in points} - set(sizes))
    if unknown:
        raise ValueError(f"Expected `scores` to be at the sizes {', '.join(sizes)}, but got {', '.join(unknown)}")
    inks = THEMES[theme]
    figure = new_figure(3.9 + 0.3 * bool(title) + 0.4 * bool(footnote), theme=theme)
    axes = figure.subplots()
    dress_axes(axes, theme=theme, grid="y")
    for row, (label, points) in enumerate(scores.items()):
        shift = (row - (len(scores) - 1) / 2) * DODGE
        places = np.array([list(sizes).index(size) for size in points])
        order = np.argsort(places)
        table = 100 * np.array(list(points.values()), dtype=float).reshape(-1, 3)[order]
        _draw_curve(axes, places[order] + shift, table, row, label, theme=theme)
    if floor is not None:
        axes.axhline(100 * floor, color=inks["ink"], linewidth=1.2, linestyle=(0, (4, 3)), label="Always positive (floor)")
    axes.set_xticks(range(len(sizes)), list(sizes))
    axes.set(xlabel="Training frames", ylabel="Mean F1 x 100", xlim=(-0.3, len(sizes) - 0.55), ylim=(0, None))
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=inks["ink"], handlelength=2)
    add_title(figure, title, theme=theme)
    add_footnote(figure, footnote, theme=theme)
    return figure


def _draw_curve(axes: Axes, places: np.ndarray, table: np.ndarray, row: int, label: str, *, theme: str) -> None:
    """Draw one method's points (n, 3) with their intervals, and write the last value beside it."""
    colour = SERIES[theme][row % 6]
    axes.plot(places, table[:, 0], marker=MARKERS[row % 6], markersize=6, linewidth=1.6, label=label, color=colour)
    axes.vlines(places, table[:, 1], table[:, 2], linewidth=1.2, color=colour)
    last = table[-1, 0] if len(table) else math.nan
    if not math.isnan(last):
        ink = THEMES[theme]["ink"]
        axes.annotate(f"{last:.1f}", (places[-1], last), (7, -3), textcoords="offset points", size=SMALL, color=ink)

"""How well detectors travel: mean F1 by the data that they were trained on and the data that they were tested on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.style import FONT_SIZE, SMALL, THEMES, WIDTH, add_footnote, add_title, new_figure, printable

COLOUR_MAP = "viridis"  # perceptually even and readable with every common form of colour blindness (van der Walt & Smith, 2015)
CELL = 0.42  # inches, the height of a cell [ours]
NAME = 14  # letters of a data set's name


def cross_matrix(
    values: Mapping[str, np.ndarray],
    train: Sequence[str],
    test: Sequence[str],
    *,
    title: str | None = None,
    footnote: str | None = None,
    theme: str = "light",
) -> Figure:
    """Draw a table of cells per method: rows are what was trained on, columns what was tested on.

    Args:
        values: label of a method -> ``(rows, columns)`` F1 in [0, 1], NaN where there is none.
        train: names of the rows.
        test: names of the columns.
        title: text above the figure.
        footnote: small text below it.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide, the methods below each other; the colours run from 0 to 100 in all of them.

    Raises:
        ValueError: without methods, or if a shape does not fit.
    """
    if not values:
        raise ValueError("Expected `values` to hold at least one method, but got none")
    for label, table in values.items():
        if np.shape(table) != (len(train), len(test)):
            raise ValueError(f"Expected `values` to be ({len(train)}, {len(test)}) per method, but got {np.shape(table)} for {label!r}")
    height = len(values) * (len(train) * CELL + 0.75) + 0.3 * bool(title) + 0.4 * bool(footnote) + 0.2
    figure = new_figure(height, theme=theme, width=WIDTH)
    for axes, (label, table) in zip(figure.subplots(len(values), 1, squeeze=False)[:, 0], values.items(), strict=True):
        axes.set_title(label, size=FONT_SIZE, weight="bold", loc="left", color=THEMES[theme]["ink"])
        _draw_cells(axes, 100 * np.asarray(table, dtype=float), train, test, theme=theme)
    add_title(figure, title, theme=theme)
    add_footnote(figure, footnote, theme=theme)
    return figure


def _draw_cells(axes: Axes, table: np.ndarray, train: Sequence[str], test: Sequence[str], *, theme: str) -> None:
    """Draw coloured cells with their numbers."""
    inks, colours = THEMES[theme], colormaps[COLOUR_MAP]
    axes.imshow(table, cmap=colours, vmin=0, vmax=100, aspect="auto")
    axes.set_facecolor(inks["background"])
    for (row, column), value in np.ndenumerate(table):
        if math.isnan(value):
            axes.text(column, row, "no run", ha="center", va="center", size=SMALL, color=inks["quiet"])
        else:
            light = np.dot(colours(value / 100)[:3], (0.299, 0.587, 0.114)) > 0.5  # ITU-R BT.601 luma
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", color="#000000" if light else "#ffffff", size=FONT_SIZE)
    axes.set_xticks(range(len(test)), [f"→ {printable(name, NAME)}" for name in test])
    axes.set_yticks(range(len(train)), [printable(name, NAME) for name in train])
    axes.set_xticks(np.arange(len(test) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(train) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=inks["background"], linewidth=3)
    axes.tick_params(which="both", length=0, colors=inks["ink"], labelsize=SMALL)
    for spine in axes.spines.values():
        spine.set_visible(False)

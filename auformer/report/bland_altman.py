"""Two readings of one intensity: their difference over their mean, per AU."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.aus import MAX_INTENSITY
from auformer.report import style

COLUMNS = 3  # panels side by side [ours]
CELL = 1.6  # inches of each [ours]
_CELLS = 24  # hexagons across a panel [ours]
_FAINTEST = 0.2  # of the colour map's faint end, in faces: a single face is well above it [ours]


def bland_altman_plot(
    readings: Mapping[str, tuple[np.ndarray, np.ndarray]], limits: Mapping[str, tuple[float, float, float]], *,
    names: tuple[str, str] = ("A", "B"), title: str | None = None, theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw the difference of two readings over their mean per AU, with bias and limits of agreement.

    Many faces share a place, so the plane is cut into hexagons, the darker (lighter, in the dark theme) the more faces.

    Args:
        readings: AU -> intensities (n,) of the same faces by A and by B, 0 to 5.
        limits: AU -> bias of A - B, lower and upper limit of agreement; nan where undefined.
        names: What A and B are, for the axes.
        title: Text above the figure.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: Without AUs.
    """
    if not readings:
        raise ValueError("Expected `readings` to hold at least one action unit, but got none.")
    aus, inks = style.au_order(readings), style.THEMES[theme]
    rows = math.ceil(len(aus) / COLUMNS)
    foot = "Solid line: mean difference (bias). Dashed: limits of agreement, mean ± 1.96 standard deviations."
    figure = style.new_figure(rows * CELL + 0.5, theme=theme, title=title, footnote=foot)
    grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, au in zip(grid.flat, aus, strict=False):
        _draw(axes, *readings[au], limits[au], theme=theme)
        axes.set_title(style.au_label(au), fontsize=style.SMALL - 0.5, color=inks["ink"])
    for axes in grid.flat[len(aus) :]:
        axes.set_visible(False)
    first, second = names
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{first} - {second}", fontsize=style.SMALL - 1, parse_math=False)
    for column in range(COLUMNS):
        lowest = max((row for row in range(rows) if row * COLUMNS + column < len(aus)), default=None)
        if lowest is not None:
            grid[lowest, column].set_xlabel(f"Mean of {first} and {second}", fontsize=style.SMALL - 1, parse_math=False)
            grid[lowest, column].tick_params(labelbottom=True)
    return figure


def _draw(axes: Axes, a: np.ndarray, b: np.ndarray, limits: tuple[float, float, float], *, theme: str) -> None:
    """Draw one AU: faces in hexagons, bias, limits, and a line at no difference."""
    inks, colour, highest = style.THEMES[theme], style.SERIES[theme][5], MAX_INTENSITY
    style.dress_axes(axes, theme=theme, grid="both")
    axes.axhline(0, color=inks["quiet"], linewidth=0.8, linestyle=":")
    if len(a):
        axes.hexbin(
            (a + b) / 2, a - b, gridsize=(_CELLS, _CELLS), extent=(0, highest, -highest, highest), bins="log", mincnt=1,
            vmin=_FAINTEST, cmap="Blues" if theme == "light" else "Blues_r", linewidths=0.1,
        )  # fmt: skip
    for value, line in zip(limits, ("-", "--", "--"), strict=True):
        if not np.isnan(value):
            axes.axhline(value, color=colour, linewidth=1.3, linestyle=line)
    axes.set(xlim=(0, highest), ylim=(-highest, highest), xticks=range(int(highest) + 1), yticks=(-5, -2.5, 0, 2.5, 5))
    axes.tick_params(labelsize=style.SMALL - 1)

"""A probability is not an intensity: what a detector says against how strong an AU really is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.style import SERIES, SMALL, THEMES, add_title, au_label, au_order, dress_axes, new_figure

COLUMNS = 3  # small pictures side by side [ours]
_CELL = 1.55  # inches of each [ours]


def intensity_curves(
    levels: np.ndarray,
    probs: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
    *,
    title: str | None = None,
    theme: str = "light",
) -> Figure:
    """Draw probability against true intensity, a small picture per AU: the mean over faces, and the middle half of them as a band.

    Args:
        levels: (L,) true intensities, 0 to 5.
        probs: AU -> (n, L) probabilities of n faces.
        thresholds: AU -> probability from which on it counts as active, a dashed line.
        title: text above the figure.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide; a straight line from 0 to 1 shows what an intensity would look like.

    Raises:
        ValueError: without AUs, or if the shapes do not fit together.
    """
    if not probs or any(np.ndim(values) != 2 or np.shape(values)[1] != len(levels) for values in probs.values()):
        found = [np.shape(values) for values in probs.values()]
        raise ValueError(f"Expected `probs` to hold at least one array (n, {len(levels)}), but got {found}.")
    names, inks = au_order(probs), THEMES[theme]
    rows = math.ceil(len(names) / COLUMNS)
    figure = new_figure(rows * _CELL + 0.5 + 0.3 * bool(title), theme=theme)
    grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw(axes, np.asarray(levels, float), np.asarray(probs[name], float), thresholds[name], theme=theme)
        axes.set_title(au_label(name), fontsize=SMALL - 0.5, color=inks["ink"])
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("True intensity (0 to 5)", fontsize=SMALL, color=inks["quiet"])
    figure.supylabel("Probability of occurrence", fontsize=SMALL, color=inks["quiet"])
    add_title(figure, title, theme=theme)
    return figure


def _draw(axes: Axes, levels: np.ndarray, values: np.ndarray, threshold: float, *, theme: str) -> None:
    """Draw one AU: band, mean, threshold, and the straight line of an intensity."""
    inks, colour = THEMES[theme], SERIES[theme][0]
    dress_axes(axes, theme=theme, grid="both")
    low, high = np.percentile(values, [25, 75], axis=0)
    axes.plot(levels[[0, -1]], [levels[0] / 5, levels[-1] / 5], color=inks["quiet"], linewidth=1, linestyle=":")
    axes.axhline(threshold, color=inks["ink"], linewidth=0.9, linestyle="--")
    axes.fill_between(levels, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(levels, values.mean(0), color=colour, marker="o", markersize=3.5, linewidth=1.6)
    axes.set(xlim=(0, 5), ylim=(0, 1), xticks=(0, 1, 2, 3, 4, 5), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=SMALL - 1)

"""How far probabilities can be taken at their word: the rate of what came true over what was said."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from auformer.report.style import FONT_SIZE, MARKERS, SERIES, THEMES, WIDTH, add_footnote, add_title, dress_axes, new_figure

SMALLEST, LARGEST = 9.0, 110.0  # area of a marker in square points, without rows and with all of them [ours]


def reliability_diagram(
    bins: Mapping[str, np.ndarray], *, title: str | None = None, footnote: str | None = None, theme: str = "light"
) -> Figure:
    """Draw the rate of positives over the mean probability of each bin, and below how many rows the bins hold.

    Args:
        bins: label of a method -> ``(M, 3)``: mean probability and rate of positives in [0, 1], NaN in an empty bin, and rows.
        title: text above the figure.
        footnote: small text below it.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide; the larger a marker, the more rows it stands for. On the diagonal probabilities are true to their word.

    Raises:
        ValueError: without methods, or if bins have another shape.
    """
    if not bins:
        raise ValueError("Expected `bins` to hold at least one method, but got none")
    for label, table in bins.items():
        if np.ndim(table) != 2 or np.shape(table)[1] != 3:
            raise ValueError(f"Expected `bins` to be (M, 3) per method, but got shape {np.shape(table)} for {label!r}")
    inks = THEMES[theme]
    figure = new_figure(WIDTH + 1.1 + 0.3 * bool(title) + 0.4 * bool(footnote), theme=theme)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=inks["quiet"], linewidth=1.0, linestyle=(0, (4, 3)))
    for row, (label, table) in enumerate(bins.items()):
        colour, marker = SERIES[theme][row % 6], MARKERS[row % 6]
        filled = np.asarray(table, dtype=float)[np.asarray(table)[:, 2] > 0]
        share = filled[:, 2] / filled[:, 2].sum() if len(filled) else np.empty(0)
        upper.plot(filled[:, 0], filled[:, 1], color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)
        upper.scatter(filled[:, 0], filled[:, 1], SMALLEST + (LARGEST - SMALLEST) * share, color=colour, marker=marker, alpha=0.8)
        lower.plot(filled[:, 0], 100 * share, color=colour, marker=marker, markersize=4, linewidth=1.2)
    for axes, name in ((upper, "Rate of positives"), (lower, "Rows, %")):
        dress_axes(axes, theme=theme, grid="both")
        axes.set_ylabel(name)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    lower.set(ylim=(0, None), xlabel="Predicted probability; dashed: probabilities true to their word")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=inks["ink"], handlelength=2)
    add_title(figure, title, theme=theme)
    add_footnote(figure, footnote, theme=theme)
    return figure

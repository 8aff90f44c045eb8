"""How far two predictions of the same pictures agree, per AU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from auformer.report.style import FONT_SIZE, SERIES, SMALL, THEMES, add_title, au_label, au_order, dress_axes, new_figure

_ROW = 0.28  # inches per AU [ours]


def agreement_plot(
    au_names: Sequence[str], kappa: Sequence[float], correlation: Sequence[float], *, title: str | None = None, theme: str = "light"
) -> Figure:
    """Draw kappa and correlation per AU as two marks on one line.

    Args:
        au_names: N canonical names.
        kappa: N values in [-1, 1], nan where undefined: agreement on what is active, beyond chance.
        correlation: N values in [-1, 1], nan where undefined: of the values themselves.
        title: text above the figure.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: without AUs.
    """
    if not len(au_names):
        raise ValueError("Expected `au_names` to hold at least one action unit, but got none.")
    names = au_order(au_names)
    order = [list(au_names).index(name) for name in names]
    figure = new_figure(_ROW * len(names) + 1.3 + 0.3 * bool(title), theme=theme)
    axes, inks, places = figure.subplots(), THEMES[theme], np.arange(len(names))
    dress_axes(axes, theme=theme)
    axes.hlines(places, -1, 1, color=inks["grid"], linewidth=0.8)
    axes.axvline(0, color=inks["quiet"], linewidth=1)
    for values, marker, label, colour in ((kappa, "o", "Kappa of activity", 0), (correlation, "s", "Correlation of values", 1)):
        shown = np.asarray(values, float)[order]
        axes.plot(
            shown, places, marker, label=label, color=SERIES[theme][colour], markersize=7, markeredgecolor=inks["ink"], markeredgewidth=0.5
        )
    for place, values in zip(places, np.column_stack([np.asarray(kappa, float), np.asarray(correlation, float)])[order], strict=True):
        if np.isnan(values).all():
            axes.text(0.03, float(place), "undefined", va="center", size=SMALL, color=inks["quiet"])
    axes.set_yticks(places, [au_label(name) for name in names])
    low = min(-0.05, float(np.nanmin([*kappa, *correlation, 0.0])) - 0.05)
    axes.set(xlim=(low, 1.05), ylim=(len(names) - 0.4, -0.6), xlabel="0: no more than chance, 1: complete")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=inks["ink"])
    add_title(figure, title, theme=theme)
    return figure

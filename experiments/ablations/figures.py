"""The two figures of the ablation page: F1 over trained parameters, and F1 over flipped labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from auformer.report.style import FONT_SIZE, MARKERS, SERIES, SMALL, THEMES, add_footnote, dress_axes, new_figure

THEME = "light"
Spot = tuple[int, float, float]
"""Trained parameters, mean F1 in [0, 1], standard deviation over seeds (nan with one seed)."""
_WAYS = (
    (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0.4), (-1, 0.4), (1, -0.4), (-1, -0.4),
)  # fmt: skip
_AROUND = [(radius * x, radius * y) for radius in (9, 18, 30, 44) for x, y in _WAYS]
"""Where a label may stand, in points from its mark, the nearest first [ours]."""


def parameters_figure(panels: Mapping[str, Mapping[str, Mapping[str, Spot]]], *, reference: str) -> Figure:
    """F1 over trained parameters, a panel per test set; a method's marks of several backbones are joined by a line.

    Args:
        panels: Test set -> backbone -> method -> point; the first backbone's marks are full and labelled, the others'
            hollow.
        reference: The method in a colour of its own.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not any(points for backbones in panels.values() for points in backbones.values()):
        raise ValueError("Expected `panels` to hold at least one point, but got none")
    figure = new_figure(0.5 + 4.0 * len(panels), theme=THEME)
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (test, backbones) in zip(rows, panels.items(), strict=True):
        dress_axes(axes, theme=THEME, grid="both")
        axes.set_xscale("log")
        axes.set(ylabel=f"Mean F1 x 100, {test}", xlabel="Trained parameters")
        axes.margins(x=0.16, y=0.12)
        _join(axes, backbones)
        for number, points in enumerate(backbones.values()):
            _marks(axes, points, hollow=number > 0, marker=MARKERS[number % len(MARKERS)], reference=reference)
    names = list(dict.fromkeys(name for backbones in panels.values() for name in backbones))
    for number, name in enumerate(names):
        face = "none" if number else THEMES[THEME]["ink"]
        rows[0].plot(
            [], [], MARKERS[number % len(MARKERS)], color=THEMES[THEME]["ink"], markerfacecolor=face, label=name
        )
    figure.legend(
        loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=THEMES[THEME]["ink"]
    )
    add_footnote(figure, "Upright lines: one standard deviation over seeds.", theme=THEME)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed among what stands now
    for axes, backbones in zip(rows, panels.values(), strict=True):
        _labels(axes, backbones, reference)
    return figure


def _join(axes: Axes, backbones: Mapping[str, Mapping[str, Spot]]) -> None:
    """A thin line between the marks of one method."""
    for method in dict.fromkeys(name for points in backbones.values() for name in points):
        several = [points[method] for points in backbones.values() if method in points]
        if len(several) > 1:
            axes.plot(
                [p[0] for p in several],
                [100 * p[1] for p in several],
                color=THEMES[THEME]["grid"],
                linewidth=1.6,
                zorder=1,
            )


def _marks(axes: Axes, points: Mapping[str, Spot], *, hollow: bool, marker: str, reference: str) -> None:
    """Marks of one backbone with their deviations."""
    for method, (parameters, mean, spread) in points.items():
        colour = SERIES[THEME][5 if method == reference else 0]
        size = 8.5 if method == reference else 6.5
        if not math.isnan(spread):
            axes.vlines(parameters, 100 * (mean - spread), 100 * (mean + spread), color=colour, linewidth=1.2)
        face = THEMES[THEME]["background"] if hollow else colour
        axes.plot([parameters], [100 * mean], marker, color=colour, markerfacecolor=face, markersize=size, zorder=3)


def _labels(axes: Axes, backbones: Mapping[str, Mapping[str, Spot]], reference: str) -> None:
    """Name each method once, at its first mark; neither name nor line to the mark covers another mark or name."""
    first: dict[str, Spot] = {}
    for points in reversed(list(backbones.values())):
        first |= points
    scale = axes.figure.dpi / 72
    marks = [axes.transData.transform((p[0], 100 * p[1])) for points in backbones.values() for p in points.values()]
    taken = [Bbox.from_extents(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale) for x, y in marks]
    frame = axes.get_window_extent()
    for method, (parameters, mean, _) in sorted(first.items(), key=lambda item: (item[0] != reference, -item[1][1])):
        mark, ink = (parameters, 100 * mean), THEMES[THEME]["ink"]
        here = axes.transData.transform(mark)
        others = [box for box in taken if not box.contains(*here)]
        text = axes.annotate(
            method.replace("_", " "), mark, _AROUND[0], textcoords="offset points", size=SMALL, color=ink, zorder=4
        )
        for across, up in _AROUND:
            text.set(x=across, y=up, va="center", ha="left" if across > 0 else "right" if across < 0 else "center")
            box, line = text.get_window_extent(), Path([here, here + scale * np.array((across, up))])
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if (
                inside
                and not any(box.overlaps(other) for other in taken)
                and not any(line.intersects_bbox(other) for other in others)
            ):
                break
        taken.append(text.get_window_extent())
        if abs(text.get_position()[0]) + abs(text.get_position()[1]) > _AROUND[0][0]:
            line_style = {
                "arrowstyle": "-",
                "color": THEMES[THEME]["quiet"],
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 4,
            }
            axes.annotate("", mark, text.get_position(), textcoords="offset points", arrowprops=line_style)


def noise_figure(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> Figure:
    """F1 over the share of flipped training labels, a line per loss.

    Args:
        curves: Loss -> (share in [0, 1], mean F1 in [0, 1], standard deviation over seeds, nan with one seed), by
            share.

    Raises:
        ValueError: There is nothing to draw, or more losses than there are colours.
    """
    if not any(curves.values()) or len(curves) > len(SERIES[THEME]):
        raise ValueError(
            f"Expected `curves` to be of 1 to {len(SERIES[THEME])} losses with points, but got {len(curves)}"
        )
    figure = new_figure(4.2, theme=THEME)
    axes = figure.subplots()
    dress_axes(axes, theme=THEME, grid="y")
    for number, (name, points) in enumerate(curves.items()):
        colour = SERIES[THEME][number]
        shares, means = [100 * p[0] for p in points], [100 * p[1] for p in points]
        axes.plot(
            shares,
            means,
            marker=MARKERS[number],
            markersize=6,
            linewidth=1.6,
            color=colour,
            label=name.replace("_", " "),
        )
        for share, mean, spread in points:
            if not math.isnan(spread):
                axes.vlines(100 * share, 100 * (mean - spread), 100 * (mean + spread), color=colour, linewidth=1.2)
    axes.set(xlabel="Flipped training labels, %", ylabel="Mean F1 x 100")
    axes.set_xticks(sorted({100 * p[0] for p in itertools.chain.from_iterable(curves.values())}))
    figure.legend(
        loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=THEMES[THEME]["ink"]
    )
    add_footnote(
        figure, "Labels of the test set are not flipped. Upright lines: one standard deviation over seeds.", theme=THEME
    )
    return figure

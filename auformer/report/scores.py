"""Figures of numbers: F1 per AU, training curves, reliability, agreement, training size, train x test.

Rates come in as 0 to 1 and are shown times 100, as the field does and as the tables of `auformer.scoring` do. Each
figure is 5.2 inches wide and takes a `title` above it, where it can a `footnote` below it, and the `theme`, "light" or
"dark".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report import style

BAR = 0.145  # inches per bar [ours]: twelve AUs with three methods stay on one phone screen and a half
GAP = 0.13  # inches between AUs [ours]
HATCH = "////"  # bars whose numbers were not made in this run
FLOOR = "Always positive (floor)"
NUMBER = 7  # width of a mean's number on the axis of 0 to 100
MEAN = "Mean"  # label of the last group
F1_AXIS = "F1 x 100, at a probability of 0.5"
ROW = 0.28  # inches per AU of the agreement [ours]
CELL = 0.42  # inches, the height of a cell of the matrix [ours]
NAME = 14  # letters of a data set's name
SMALLEST, LARGEST = 9.0, 110.0  # area of a marker in square points, without rows and with all of them [ours]
DODGE = 0.07  # of the distance between two sizes: methods stand beside each other, so that intervals can be told apart
DASHED = (0, (4, 3))
Rates = Mapping[str, "float | None"]
Point = tuple[float, float, float]


def f1_bars(
    scores: Mapping[str, Rates], *, floor: Rates | None = None, hatched: Collection[str] = (),
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None, axis: str = F1_AXIS,
    undefined: str = "no positives", title: str | None = None, footnote: str | None = None, theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw F1 per AU, or another score, of several methods as grouped horizontal bars, and below their mean over AUs.

    Args:
        scores: Label of a method -> AU -> F1 in [0, 1], NaN or None where it is undefined; the same AUs for every
            method.
        floor: AU -> F1 of an always-positive AU detector, drawn as a mark across the group.
        hatched: Labels whose bars are hatched, because their numbers were not made in this run.
        intervals: Label of a method -> AU, or `MEAN` -> (low, high) in [0, 1], a line across the end of the bar.
        axis: Name of the score; one below 0 has no bar.
        undefined: What stands in place of a bar where the score is undefined.
        title: See the module.
        footnote: See the module.
        theme: See the module.

    Returns:
        The figure; the axes' y labels are the AUs in numerical order, then the mean.

    Raises:
        ValueError: Without methods, or if the methods (or the floor) are not over the same AUs.
    """
    _require(scores, "scores", "method")
    names = style.au_order(next(iter(scores.values())))
    for label, values in [*scores.items(), *([("floor", floor)] if floor is not None else [])]:
        if set(values) != set(names):
            wanted, found = ", ".join(names), ", ".join(values)
            raise ValueError(
                f"Expected `scores` to be over the AUs {wanted} for every method, but got {found} for {label!r}"
            )
    pitch = len(scores) * BAR + GAP
    centres = np.append(np.arange(len(names)), len(names) + GAP / pitch) * pitch  # the mean stands a little apart
    figure = style.new_figure(centres[-1] + pitch + 1.0, theme=theme, title=title, footnote=footnote)
    axes, ink = figure.subplots(), style.THEMES[theme]["ink"]
    style.dress_axes(axes, theme=theme)
    marks = np.full(len(centres), math.nan) if floor is None else _with_mean(floor, names)
    for row, (label, rates) in enumerate(scores.items()):
        places = centres + (row - (len(scores) - 1) / 2) * BAR
        nowhere = (math.nan, math.nan)
        ends = [(intervals or {}).get(label, {}).get(name, nowhere) for name in (*names, MEAN)]
        shown, colour = _with_mean(rates, names), style.series(theme, row)[0]
        lengths = np.nan_to_num(shown).clip(0)
        bars = axes.barh(places, lengths, BAR * 0.86, label=label, color=colour, edgecolor=colour, linewidth=0.8)
        if label in hatched:
            for bar in bars:
                bar.set(facecolor=style.THEMES[theme]["background"], hatch=HATCH)
        spans = 100 * np.array(ends, dtype=float).clip(0)
        _label_bars(axes, places, shown, spans, mark=marks[-1], undefined=undefined, theme=theme)
    if floor is not None:
        reach = len(scores) * BAR / 2 + 0.03
        axes.vlines(marks, centres - reach, centres + reach, color=ink, linewidth=2.0, label=FLOOR)
    axes.axhline((centres[-2] + centres[-1]) / 2, color=style.THEMES[theme]["quiet"], linewidth=0.8)
    axes.set_yticks(centres, [*(style.au_label(name) for name in names), MEAN])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set(xlim=(0, 100), xlabel=axis)
    axes.set(ylim=(centres[-1] + pitch / 2 + 0.05, centres[0] - pitch / 2))
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] == FLOOR)  # the methods in the order of the bars
    style.add_legend(figure, theme, [handles[i] for i in order], [labels[i] for i in order], handlelength=1.4)
    return figure


def _require(values: Mapping[str, object], name: str, what: str) -> None:
    if not values:
        raise ValueError(f"Expected `{name}` to hold at least one {what}, but got none")


def _with_mean(values: Rates, names: list[str]) -> np.ndarray:
    """The rates x 100 in the order of `names` and their mean over the defined ones, `(N + 1,)`, NaN where undefined."""
    row = 100 * np.array([values[name] for name in names], dtype=float)  # None becomes NaN
    defined = row[~np.isnan(row)]
    return np.append(row, defined.mean() if defined.size else math.nan)


def _label_bars(
    axes: Axes, places: np.ndarray, values: np.ndarray, ends: np.ndarray, *, mark: float, undefined: str, theme: str
) -> None:
    """Intervals `(N + 1, 2)` of bars, words at undefined ones, the number of the mean, beside its floor's `mark`."""
    inks = style.THEMES[theme]
    for place, value in zip(places, values, strict=True):
        if math.isnan(value):
            axes.text(1, place, undefined, va="center", size=style.SMALL, color=inks["quiet"])
    if not np.isnan(ends).all():
        axes.hlines(places, ends[:, 0], ends[:, 1], color=inks["ink"], linewidth=1.0)
    if not math.isnan(values[-1]):
        start = values[-1] if math.isnan(ends[-1, 1]) else max(values[-1], ends[-1, 1])
        start = mark if start - 1 < mark < start + NUMBER else start
        left = min(max(start, 0) + 1.2, 100 - NUMBER)
        axes.text(left, places[-1], f"{values[-1]:.1f}", va="center", size=style.SMALL, color=inks["ink"])


def read_training_log(path: str | Path) -> pd.DataFrame:
    """Read the CSV log of a training (`metrics.csv` of Lightning's CSV logger): one row per epoch.

    The logger writes training and validation figures of an epoch on rows of their own; here they are joined. Of an
    epoch that stands there twice, because its training was interrupted, the last figures count.

    Returns:
        A table indexed by `epoch` (from 0) with the columns of the log that hold numbers, without `step`.

    Raises:
        ValueError: There is no column `epoch`.
    """
    table = pd.read_csv(path)
    if "epoch" not in table:
        found = ", ".join(table)
        raise ValueError(f"Expected `path` to be a training log with a column epoch, but got {found} in {path}")
    numbers = table.apply(pd.to_numeric, errors="coerce").dropna(subset="epoch").astype({"epoch": int}).groupby("epoch")
    return numbers.last().drop(columns="step", errors="ignore").dropna(axis=1, how="all")


def training_curves(logs: Mapping[str, pd.DataFrame], *, title: str | None = None, theme: str = "light") -> Figure:
    """Draw loss (above) and validation F1 (below) over the epochs of trainings; the best epoch is ringed.

    `logs`: label of a method -> table of `read_training_log`, of which `train/loss`, `val/loss` and `val/f1` are drawn.

    Raises:
        ValueError: Without logs.
    """
    _require(logs, "logs", "training")
    figure, ink = style.new_figure(5.2, theme=theme, title=title), style.THEMES[theme]["ink"]
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.set_ylabel("Loss: solid in training,\ndashed on validation subjects")
    lower.set_ylabel("Mean F1 x 100,\nvalidation subjects")
    for axes in (upper, lower):
        style.dress_axes(axes, theme=theme, grid="both")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for row, (label, log) in enumerate(logs.items()):
        colour, marker = style.series(theme, row)
        looks = {"color": colour, "marker": marker, "linewidth": 1.6}
        epochs = log.index.to_numpy() + 1
        for column, line in (("train/loss", "-"), ("val/loss", (0, (4, 2)))):
            if column in log:
                upper.plot(epochs, log[column], linestyle=line, markersize=3.5, **looks)
        scores = 100 * log["val/f1"] if "val/f1" in log else pd.Series(math.nan, log.index)
        lower.plot(epochs, scores, linestyle="-", label=label, markersize=5, **looks)
        if scores.notna().any():
            best, value = scores.idxmax() + 1, scores.max()
            lower.plot([best], [value], "o", markersize=11, fillstyle="none", color=ink)
            below: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "size": style.SMALL, "color": ink}
            lower.annotate(f"{value:.1f}", (best, value), (0, -17), **below)
    lower.set_xlabel("Epoch; a ring marks the best, which is kept")
    lower.margins(y=0.12)
    style.add_legend(figure, theme, ncols=3)
    return figure


def agreement_plot(
    au_names: Sequence[str], kappa: Sequence[float], correlation: Sequence[float], *, title: str | None = None,
    theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw kappa (of activity, beyond chance) and correlation (of values) of N AUs as two marks on one line.

    Both are in [-1, 1], nan where undefined.

    Raises:
        ValueError: Without AUs.
    """
    if not len(au_names):
        raise ValueError("Expected `au_names` to hold at least one action unit, but got none.")
    names = style.au_order(au_names)
    order = [list(au_names).index(name) for name in names]
    values = np.stack([np.asarray(kappa, float), np.asarray(correlation, float)])[:, order]
    figure = style.new_figure(ROW * len(names) + 1.3, theme=theme, title=title)
    axes, inks, places = figure.subplots(), style.THEMES[theme], np.arange(len(names))
    style.dress_axes(axes, theme=theme)
    axes.hlines(places, -1, 1, color=inks["grid"], linewidth=0.8)
    axes.axvline(0, color=inks["quiet"], linewidth=1)
    edge: dict[str, Any] = {"markersize": 7, "markeredgecolor": inks["ink"], "markeredgewidth": 0.5}
    for row, label in enumerate(("Kappa of activity", "Correlation of values")):
        colour, marker = style.series(theme, row)
        axes.plot(values[row], places, marker, label=label, color=colour, **edge)
    for place in places[np.isnan(values).all(0)]:
        axes.text(0.03, float(place), "undefined", va="center", size=style.SMALL, color=inks["quiet"])
    axes.set_yticks(places, [style.au_label(name) for name in names])
    low = min(-0.05, float(np.nanmin([*values.ravel(), 0.0])) - 0.05)
    axes.set(xlim=(low, 1.05), ylim=(len(names) - 0.4, -0.6), xlabel="0: no more than chance, 1: complete")
    style.add_legend(axes, theme, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return figure


def cross_matrix(
    values: Mapping[str, np.ndarray], train: Sequence[str], test: Sequence[str], *, title: str | None = None,
    footnote: str | None = None, theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw a table of cells per method, below each other: rows were trained on, columns tested on.

    `values`: label of a method -> `(rows, columns)` F1 in [0, 1], NaN where there is none; `train` and `test` name rows
    and columns. The colours run from 0 to 100 in all tables.

    Raises:
        ValueError: Without methods, or if a shape does not fit.
    """
    _require(values, "values", "method")
    for label, table in values.items():
        if np.shape(table) != (len(train), len(test)):
            wanted, found = (len(train), len(test)), np.shape(table)
            raise ValueError(f"Expected `values` to be {wanted} per method, but got {found} for {label!r}")
    height = len(values) * (len(train) * CELL + 0.75) + 0.2
    figure = style.new_figure(height, theme=theme, title=title, footnote=footnote)
    for axes, (label, table) in zip(figure.subplots(len(values), 1, squeeze=False)[:, 0], values.items(), strict=True):
        axes.set_title(label, size=style.FONT_SIZE, weight="bold", loc="left", color=style.THEMES[theme]["ink"])
        _draw_cells(axes, 100 * np.asarray(table, dtype=float), train, test, theme=theme)
    return figure


def _draw_cells(axes: Axes, table: np.ndarray, train: Sequence[str], test: Sequence[str], *, theme: str) -> None:
    """Draw coloured cells with their numbers."""
    inks, colours = style.THEMES[theme], colormaps[style.COLOUR_MAP]
    axes.imshow(table, cmap=colours, vmin=0, vmax=100, aspect="auto")
    axes.set_facecolor(inks["background"])
    for (row, column), value in np.ndenumerate(table):
        text, size, ink = "no run", style.SMALL, inks["quiet"]
        if not math.isnan(value):
            light = style.luma(np.array(colours(value / 100)[:3])) > 0.5
            text, size, ink = f"{value:.1f}", style.FONT_SIZE, "#000000" if light else "#ffffff"
        axes.text(column, row, text, ha="center", va="center", size=size, color=ink)
    axes.set_xticks(range(len(test)), [f"→ {style.printable(name, NAME)}" for name in test])
    axes.set_yticks(range(len(train)), [style.printable(name, NAME) for name in train])
    axes.set_xticks(np.arange(len(test) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(train) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=inks["background"], linewidth=3)
    axes.tick_params(which="both", length=0, colors=inks["ink"], labelsize=style.SMALL)
    for spine in axes.spines.values():
        spine.set_visible(False)


def reliability_diagram(
    bins: Mapping[str, np.ndarray], *, title: str | None = None, footnote: str | None = None, theme: str = "light"
) -> Figure:
    """Draw the rate of positives over the mean probability of each bin, and below how many rows the bins hold.

    The larger a marker, the more rows it stands for. On the diagonal probabilities are true to their word. `bins`:
    label of a method -> `(M, 3)`: mean probability and rate of positives in [0, 1], NaN in an empty bin, and rows.

    Raises:
        ValueError: Without methods, or if bins have another shape.
    """
    _require(bins, "bins", "method")
    for label, table in bins.items():
        if np.ndim(table) != 2 or np.shape(table)[1] != 3:
            raise ValueError(f"Expected `bins` to be (M, 3) per method, but got shape {np.shape(table)} for {label!r}")
    figure = style.new_figure(style.WIDTH + 1.1, theme=theme, title=title, footnote=footnote)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=style.THEMES[theme]["quiet"], linewidth=1.0, linestyle=DASHED)
    for row, (label, table) in enumerate(bins.items()):
        colour, marker = style.series(theme, row)
        filled = np.asarray(table, dtype=float)[np.asarray(table)[:, 2] > 0]
        share = filled[:, 2] / filled[:, 2].sum() if len(filled) else np.empty(0)
        area = SMALLEST + (LARGEST - SMALLEST) * share
        upper.plot(filled[:, 0], filled[:, 1], color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)
        upper.scatter(filled[:, 0], filled[:, 1], area, color=colour, marker=marker, alpha=0.8)
        lower.plot(filled[:, 0], 100 * share, color=colour, marker=marker, markersize=4, linewidth=1.2)
    for axes, name in ((upper, "Rate of positives"), (lower, "Rows, %")):
        style.dress_axes(axes, theme=theme, grid="both")
        axes.set_ylabel(name)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    lower.set(ylim=(0, None), xlabel="Predicted probability; dashed: probabilities true to their word")
    style.add_legend(figure, theme)
    return figure


def training_size_curves(
    scores: Mapping[str, Mapping[str, Point]], sizes: Sequence[str], *, floor: float | None = None,
    title: str | None = None, footnote: str | None = None, theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw the mean F1 of several methods over the size of their training set, the sizes evenly spaced.

    Args:
        scores: Label of a method -> size -> (F1, low, high) in [0, 1], the ends of its interval NaN where there is
            none.
        sizes: Names of the sizes, the smallest first; a method may lack some.
        floor: F1 of an always-positive AU detector, drawn as a dashed line.
        title: See the module.
        footnote: See the module.
        theme: See the module.

    Raises:
        ValueError: Without methods, or with a size that is not among `sizes`.
    """
    _require(scores, "scores", "method")
    unknown = sorted({size for points in scores.values() for size in points} - set(sizes))
    if unknown:
        raise ValueError(f"Expected `scores` to be at the sizes {', '.join(sizes)}, but got {', '.join(unknown)}")
    figure = style.new_figure(3.9, theme=theme, title=title, footnote=footnote)
    axes, ink = figure.subplots(), style.THEMES[theme]["ink"]
    style.dress_axes(axes, theme=theme, grid="y")
    for row, (label, points) in enumerate(scores.items()):
        colour, marker = style.series(theme, row)
        at = np.array([list(sizes).index(size) for size in points])
        order = np.argsort(at)
        places = at[order] + (row - (len(scores) - 1) / 2) * DODGE
        table = 100 * np.array(list(points.values()), dtype=float).reshape(-1, 3)[order]
        axes.plot(places, table[:, 0], marker=marker, markersize=6, linewidth=1.6, label=label, color=colour)
        axes.vlines(places, table[:, 1], table[:, 2], linewidth=1.2, color=colour)
        if len(table) and not math.isnan(last := table[-1, 0]):
            beside: dict[str, Any] = {"textcoords": "offset points", "size": style.SMALL, "color": ink}
            axes.annotate(f"{last:.1f}", (places[-1], last), (7, -3), **beside)
    if floor is not None:
        axes.axhline(100 * floor, color=ink, linewidth=1.2, linestyle=DASHED, label=FLOOR)
    axes.set_xticks(range(len(sizes)), list(sizes))
    axes.set(xlabel="Training frames", ylabel="Mean F1 x 100", xlim=(-0.3, len(sizes) - 0.55), ylim=(0, None))
    style.add_legend(figure, theme)
    return figure

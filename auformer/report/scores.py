"""Figures of numbers: F1 per AU, training curves, reliability, agreement, training size, train x test.

Figures of numbers: F1 per AU of several methods above their floor, and the course of a training.

Rates come in as 0 to 1 and are shown times 100, as the field does and as the tables of `auformer.scoring` do.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.style import (
    FONT_SIZE,
    MARKERS,
    SERIES,
    SMALL,
    THEMES,
    WIDTH,
    add_footnote,
    add_title,
    au_label,
    au_order,
    dress_axes,
    new_figure,
    printable,
)

BAR = 0.145  # inches per bar [ours]: twelve AUs with three methods stay on one phone screen and a half
GAP = 0.13  # inches between AUs [ours]
HATCH = "////"  # bars whose numbers were not made in this run
FLOOR = "Always positive (floor)"
NUMBER = 7  # width of a mean's number on the axis of 0 to 100
MEAN = "Mean"  # label of the last group


def f1_bars(
    scores: Mapping[str, Mapping[str, float | None]],
    *,
    floor: Mapping[str, float | None] | None = None,
    hatched: Collection[str] = (),
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    title: str | None = None,
    footnote: str | None = None,
    theme: str = "light",
) -> Figure:
    """Draw F1 per AU of several methods as grouped horizontal bars, and under them the mean over AUs.

    Args:
        scores: label of a method -> AU -> F1 in [0, 1], NaN or None where it is undefined; the same AUs for every method.
        floor: AU -> F1 of an always-positive detector, drawn as a mark across the group.
        hatched: labels whose bars are hatched, because their numbers were not made in this run.
        intervals: label of a method -> AU, or `MEAN` -> (low, high) in [0, 1], drawn as a line across the end of the bar.
        title: text above the figure.
        footnote: small text below it.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide; the axes' y labels are the AUs in numerical order, then the mean.

    Raises:
        ValueError: without methods, or if the methods (or the floor) are not over the same AUs.
    """
    if not scores:
        raise ValueError("Expected `scores` to hold at least one method, but got none")
    names = _shared_names(scores, floor)
    table = {label: _with_mean(values, names) for label, values in scores.items()}
    pitch = len(scores) * BAR + GAP
    centres = np.append(np.arange(len(names)), len(names) + GAP / pitch) * pitch  # the mean stands a little apart
    figure = new_figure(centres[-1] + pitch + 1.0 + 0.3 * bool(title) + 0.4 * bool(footnote), theme=theme)
    axes = figure.subplots()
    dress_axes(axes, theme=theme)
    marks = np.full(len(centres), math.nan) if floor is None else _with_mean(floor, names)
    for row, (label, row_values) in enumerate(table.items()):
        places = centres + (row - (len(scores) - 1) / 2) * BAR
        ends = _interval_ends((intervals or {}).get(label, {}), names)
        style = {"mark": marks[-1], "colour": SERIES[theme][row % 6], "hatched": label in hatched, "theme": theme}
        _draw_bars(axes, places, row_values, label, ends, **style)
    if floor is not None:
        reach = len(scores) * BAR / 2 + 0.03
        axes.vlines(marks, centres - reach, centres + reach, color=THEMES[theme]["ink"], linewidth=2.0, label=FLOOR)
    _label_groups(axes, centres, pitch, names, theme=theme)
    _floor_last_legend(figure, axes, theme=theme)
    add_title(figure, title, theme=theme)
    add_footnote(figure, footnote, theme=theme)
    return figure


def _label_groups(axes: Axes, centres: np.ndarray, pitch: float, names: Sequence[str], *, theme: str) -> None:
    """Name the groups of bars, the mean in bold below a line."""
    axes.axhline((centres[-2] + centres[-1]) / 2, color=THEMES[theme]["quiet"], linewidth=0.8)
    axes.set_yticks(centres, [*(au_label(name) for name in names), MEAN])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set(
        xlim=(0, 100),
        ylim=(centres[-1] + pitch / 2 + 0.05, centres[0] - pitch / 2),
        xlabel="F1 x 100, at a probability of 0.5",
    )


def _shared_names(
    scores: Mapping[str, Mapping[str, float | None]], floor: Mapping[str, float | None] | None
) -> list[str]:
    """Return the AUs in order; a method (or the floor) over other AUs is an error."""
    names = au_order(next(iter(scores.values())))
    for label, values in [*scores.items(), *([("floor", floor)] if floor is not None else [])]:
        if set(values) != set(names):
            found = ", ".join(values)
            raise ValueError(
                f"Expected `scores` to be over the AUs {', '.join(names)} for every method, but got {found} for {label!r}"
            )
    return names


def _floor_last_legend(figure: Figure, axes: Axes, *, theme: str) -> None:
    """Put the legend above the axes: the methods in the order of the bars, the floor last."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] == FLOOR)
    style = {"frameon": False, "fontsize": FONT_SIZE - 1, "labelcolor": THEMES[theme]["ink"], "handlelength": 1.4}
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside upper left", ncols=2, **style)


def _with_mean(values: Mapping[str, float | None], names: list[str]) -> np.ndarray:
    """Return the rates x 100 in the order of ``names`` and their mean over the defined ones, ``(N + 1,)``, NaN where undefined."""
    row = 100 * np.array([values[name] for name in names], dtype=float)  # None becomes NaN
    defined = row[~np.isnan(row)]
    return np.append(row, defined.mean() if defined.size else math.nan)


def _interval_ends(intervals: Mapping[str, tuple[float, float]], names: list[str]) -> np.ndarray:
    """Return both ends x 100 in the order of ``names``, then those of the mean, ``(N + 1, 2)``, NaN where there is no interval."""
    return 100 * np.array([intervals.get(name, (math.nan, math.nan)) for name in (*names, MEAN)], dtype=float)


def _draw_bars(
    axes: Axes,
    places: np.ndarray,
    values: np.ndarray,
    label: str,
    ends: np.ndarray,
    *,
    mark: float,
    colour: str,
    hatched: bool,
    theme: str,
) -> None:
    """Draw one method's bars ``(N + 1,)``, the mean's with its number; an undefined value says so in words; ``mark``: the mean's floor."""
    inks = THEMES[theme]
    face = inks["background"] if hatched else colour
    axes.barh(
        places,
        np.nan_to_num(values),
        BAR * 0.86,
        label=label,
        color=face,
        edgecolor=colour,
        linewidth=0.8,
        hatch=HATCH if hatched else None,
    )
    for place, value in zip(places, values, strict=True):
        if math.isnan(value):
            axes.text(1, place, "no positives", va="center", size=SMALL, color=inks["quiet"])
    if not np.isnan(ends).all():
        axes.hlines(places, ends[:, 0], ends[:, 1], color=inks["ink"], linewidth=1.0)
    if not math.isnan(values[-1]):
        start = values[-1] if math.isnan(ends[-1, 1]) else max(values[-1], ends[-1, 1])
        start = (
            start if not start - 1 < mark < start + NUMBER else mark
        )  # the number stands beside the floor's mark, not on it
        axes.text(
            min(start + 1.2, 100 - NUMBER), places[-1], f"{values[-1]:.1f}", va="center", size=SMALL, color=inks["ink"]
        )


def read_training_log(path: str | Path) -> pd.DataFrame:
    """Read the CSV log of a training: one row per epoch.

    The logger writes training and validation figures of an epoch on rows of their own; here they are joined. Of an epoch that stands
    there twice, because its training was interrupted, the last figures count.

    Args:
        path: ``metrics.csv`` of Lightning's CSV logger.

    Returns:
        A table indexed by ``epoch`` (from 0) with the columns of the log that hold numbers, without ``step``.

    Raises:
        ValueError: if there is no column ``epoch``.
    """
    table = pd.read_csv(path)
    if "epoch" not in table:
        raise ValueError(
            f"Expected `path` to be a training log with a column epoch, but got {', '.join(table)} in {path}"
        )
    numbers = table.apply(pd.to_numeric, errors="coerce").dropna(subset="epoch").astype({"epoch": int}).groupby("epoch")
    return numbers.last().drop(columns="step", errors="ignore").dropna(axis=1, how="all")


def training_curves(logs: Mapping[str, pd.DataFrame], *, title: str | None = None, theme: str = "light") -> Figure:
    """Draw loss and validation F1 over the epochs of one or more trainings; the best epoch is ringed.

    Args:
        logs: label of a method -> table of `read_training_log`; ``train/loss``, ``val/loss`` and ``val/f1`` are drawn where present.
        title: text above the figure.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide: the loss above, F1 below.

    Raises:
        ValueError: without logs.
    """
    if not logs:
        raise ValueError("Expected `logs` to hold at least one training, but got none")
    figure = new_figure(5.2 + 0.3 * bool(title), theme=theme)
    inks = THEMES[theme]
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, name in (
        (upper, "Loss: solid in training,\ndashed on validation subjects"),
        (lower, "Mean F1 x 100,\nvalidation subjects"),
    ):
        dress_axes(axes, theme=theme, grid="both")
        axes.set_ylabel(name)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for row, (label, log) in enumerate(logs.items()):
        style = {"color": SERIES[theme][row % 6], "marker": MARKERS[row % 6], "linewidth": 1.6}
        epochs = log.index.to_numpy() + 1
        for column, line in (("train/loss", "-"), ("val/loss", (0, (4, 2)))):
            if column in log:
                upper.plot(epochs, log[column], linestyle=line, markersize=3.5, **style)
        scores = 100 * log["val/f1"] if "val/f1" in log else pd.Series(math.nan, log.index)
        lower.plot(epochs, scores, linestyle="-", label=label, markersize=5, **style)
        if scores.notna().any():
            best, value = scores.idxmax(), scores.max()
            lower.plot(
                [best + 1], [value], marker="o", markersize=11, fillstyle="none", color=inks["ink"], linestyle="none"
            )
            lower.annotate(
                f"{value:.1f}",
                (best + 1, value),
                (0, -17),
                textcoords="offset points",
                ha="center",
                size=SMALL,
                color=inks["ink"],
            )
    lower.set_xlabel("Epoch; a ring marks the best, which is kept")
    lower.margins(y=0.12)
    figure.legend(
        loc="outside upper left", ncols=3, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=inks["ink"], handlelength=2
    )
    add_title(figure, title, theme=theme)
    return figure


_ROW = 0.28  # inches per AU [ours]


def agreement_plot(
    au_names: Sequence[str],
    kappa: Sequence[float],
    correlation: Sequence[float],
    *,
    title: str | None = None,
    theme: str = "light",
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
    for values, marker, label, colour in (
        (kappa, "o", "Kappa of activity", 0),
        (correlation, "s", "Correlation of values", 1),
    ):
        shown = np.asarray(values, float)[order]
        axes.plot(
            shown,
            places,
            marker,
            label=label,
            color=SERIES[theme][colour],
            markersize=7,
            markeredgecolor=inks["ink"],
            markeredgewidth=0.5,
        )
    for place, values in zip(
        places, np.column_stack([np.asarray(kappa, float), np.asarray(correlation, float)])[order], strict=True
    ):
        if np.isnan(values).all():
            axes.text(0.03, float(place), "undefined", va="center", size=SMALL, color=inks["quiet"])
    axes.set_yticks(places, [au_label(name) for name in names])
    low = min(-0.05, float(np.nanmin([*kappa, *correlation, 0.0])) - 0.05)
    axes.set(xlim=(low, 1.05), ylim=(len(names) - 0.4, -0.6), xlabel="0: no more than chance, 1: complete")
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.4, 1.0),
        ncols=2,
        frameon=False,
        fontsize=FONT_SIZE - 1,
        labelcolor=inks["ink"],
    )
    add_title(figure, title, theme=theme)
    return figure


COLOUR_MAP = (
    "viridis"  # perceptually even and readable with every common form of colour blindness (van der Walt & Smith, 2015)
)
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
            raise ValueError(
                f"Expected `values` to be ({len(train)}, {len(test)}) per method, but got {np.shape(table)} for {label!r}"
            )
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
            axes.text(
                column,
                row,
                f"{value:.1f}",
                ha="center",
                va="center",
                color="#000000" if light else "#ffffff",
                size=FONT_SIZE,
            )
    axes.set_xticks(range(len(test)), [f"→ {printable(name, NAME)}" for name in test])
    axes.set_yticks(range(len(train)), [printable(name, NAME) for name in train])
    axes.set_xticks(np.arange(len(test) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(train) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=inks["background"], linewidth=3)
    axes.tick_params(which="both", length=0, colors=inks["ink"], labelsize=SMALL)
    for spine in axes.spines.values():
        spine.set_visible(False)


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
        upper.scatter(
            filled[:, 0], filled[:, 1], SMALLEST + (LARGEST - SMALLEST) * share, color=colour, marker=marker, alpha=0.8
        )
        lower.plot(filled[:, 0], 100 * share, color=colour, marker=marker, markersize=4, linewidth=1.2)
    for axes, name in ((upper, "Rate of positives"), (lower, "Rows, %")):
        dress_axes(axes, theme=theme, grid="both")
        axes.set_ylabel(name)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    lower.set(ylim=(0, None), xlabel="Predicted probability; dashed: probabilities true to their word")
    figure.legend(
        loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=inks["ink"], handlelength=2
    )
    add_title(figure, title, theme=theme)
    add_footnote(figure, footnote, theme=theme)
    return figure


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
        axes.axhline(
            100 * floor, color=inks["ink"], linewidth=1.2, linestyle=(0, (4, 3)), label="Always positive (floor)"
        )
    axes.set_xticks(range(len(sizes)), list(sizes))
    axes.set(xlabel="Training frames", ylabel="Mean F1 x 100", xlim=(-0.3, len(sizes) - 0.55), ylim=(0, None))
    figure.legend(
        loc="outside upper left", ncols=2, frameon=False, fontsize=FONT_SIZE - 1, labelcolor=inks["ink"], handlelength=2
    )
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

"""A recording as a picture: the probability of every AU over time, and when each counts as active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.faces import COLOUR_MAP
from auformer.report.style import LINE, SMALL, THEMES, add_headline, au_label, au_order, dress_axes, new_figure, place_axes, place_text

TIMELINE_WIDTH = 8.0  # inches [ours]: twice a phone's picture, for a desk
ROW = 0.26  # inches per AU [ours]
NAMES = 2.1  # inches for the longest FACS name of a rendered AU [ours]
COLUMNS = 700  # most columns of the strip; more frames are averaged [ours]
_SCALE = 0.12  # inches of the colour scale's height [ours]

Event = tuple[float, float]


def bin_times(times: np.ndarray, values: np.ndarray, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Bring a series to a number of columns that can be drawn.

    Args:
        times: (n,) rising, in seconds; each value holds until the next one, the last one for a median distance.
        values: (n, N); nan where there is none.
        columns: how many columns at most.

    Returns:
        Edges (M + 1,) in seconds and values (M, N): those given where they are few enough, else means over columns of equal length.

    >>> edges, means = bin_times(np.array([0.0, 1.0, 2.0, 3.0]), np.array([[0.0], [1.0], [0.5], [0.5]]), 2)
    >>> edges.tolist(), means.ravel().tolist()
    ([0.0, 2.0, 4.0], [0.5, 0.5])
    """
    times, values = np.asarray(times, float), np.asarray(values, float)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    ends = np.append(times, times[-1] + step)
    if len(times) <= columns:
        return ends, values
    edges = np.linspace(ends[0], ends[-1], columns + 1)
    place = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, columns - 1)
    known = ~np.isnan(values)
    sums, numbers = np.zeros((columns, values.shape[1])), np.zeros((columns, values.shape[1]))
    np.add.at(sums, place, np.where(known, values, 0.0))
    np.add.at(numbers, place, known)
    means = np.where(numbers > 0, sums / np.where(numbers > 0, numbers, 1), np.nan)
    empty = ~np.isin(np.arange(columns), place)  # longer than a column: the frame before holds on
    held = np.searchsorted(times, edges[:-1], side="right") - 1
    means[empty] = values[held[empty]]
    return edges, means


def timeline(
    times: np.ndarray,
    probs: np.ndarray,
    au_names: Sequence[str],
    events: Mapping[str, Sequence[Event]],
    *,
    title: str | None = None,
    footer: str | None = None,
    unit: str = "Time in seconds",
    theme: str = "light",
) -> Figure:
    """Draw a heat strip per AU, and under each strip a line wherever the AU counts as active.

    Args:
        times: (n,) rising: seconds, or numbers of frames.
        probs: (n, N) probabilities of one face; nan where it was not seen, which stays empty.
        au_names: N canonical names.
        events: per AU the spans (begin, end) in which it is active.
        title: text above the figure, such as the name of the recording.
        footer: small text below it; lines of at most 120 characters.
        unit: what `times` are.
        theme: "light" or "dark".

    Returns:
        The figure, 8 inches wide.

    Raises:
        ValueError: if the shapes do not fit together, or there is no time.
    """
    times, probs = np.asarray(times, float), np.asarray(probs, float)
    if times.ndim != 1 or not len(times) or probs.shape != (len(times), len(au_names)):
        raise ValueError(f"Expected `probs` to be of shape ({len(times)}, {len(au_names)}), not empty, but got {probs.shape}.")
    names = au_order(au_names)
    edges, strip = bin_times(times, probs[:, [list(au_names).index(name) for name in names]])
    header, strips = 0.45 * bool(title) + 0.1, ROW * len(names)
    notes = LINE * (1 + footer.count("\n")) + 0.1 if footer else 0.0
    height = header + strips + 0.45 + _SCALE + 0.45 + notes
    figure = new_figure(height, theme=theme, width=TIMELINE_WIDTH, layout=None)
    axes = place_axes(figure, NAMES, header, TIMELINE_WIDTH - NAMES - 0.2, strips)
    _draw_strips(axes, edges, strip, names, events, theme=theme)
    axes.set_xlabel(unit, fontsize=SMALL)
    _draw_scale(place_axes(figure, NAMES, header + strips + 0.5, 2.4, _SCALE), theme=theme)
    words = "The line under a strip: at or above the threshold.\nEmpty: no face."
    place_text(figure, NAMES + 2.7, header + strips + 0.48, words, fontsize=SMALL - 0.5, color=THEMES[theme]["quiet"], linespacing=1.3)
    add_headline(figure, title, theme=theme)
    if footer:
        place_text(figure, 0.07, height - notes, footer, fontsize=SMALL - 1, color=THEMES[theme]["quiet"], linespacing=1.4)
    return figure


def _draw_strips(
    axes: Axes, edges: np.ndarray, strip: np.ndarray, names: list[str], events: Mapping[str, Sequence[Event]], *, theme: str
) -> None:
    """Draw the strips (M, N) of all AUs with their lines."""
    inks = THEMES[theme]
    dress_axes(axes, theme=theme)
    axes.grid(False)
    colours = colormaps[COLOUR_MAP].with_extremes(bad=inks["background"])
    for row, name in enumerate(names):
        data = np.ma.masked_invalid(strip[:, row][None])
        axes.pcolormesh(edges, [row - 0.42, row + 0.22], data, cmap=colours, vmin=0, vmax=1, rasterized=True)
        spans = list(events.get(name, ()))
        axes.hlines([row + 0.33] * len(spans), [a for a, _ in spans], [b for _, b in spans], color=inks["ink"], linewidth=2.2)
    axes.set_yticks(range(len(names)), [au_label(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        seen = bool(events.get(name))
        label.set(fontsize=SMALL, fontweight="bold" if seen else "normal", color=inks["ink" if seen else "quiet"])
    axes.set(xlim=(edges[0], edges[-1]), ylim=(len(names) - 0.45, -0.55))
    axes.tick_params(axis="x", labelsize=SMALL)


def _draw_scale(axes: Axes, *, theme: str) -> None:
    """Draw what the colours mean."""
    dress_axes(axes, theme=theme)
    axes.grid(False)
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=COLOUR_MAP, aspect="auto", extent=(0, 1, 0, 1))
    axes.set(xticks=(0, 0.5, 1), yticks=[])
    axes.tick_params(axis="x", labelsize=SMALL - 0.5)
    axes.set_xlabel("Probability", fontsize=SMALL - 0.5)

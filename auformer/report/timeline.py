"""AUs over time, as a figure and as an SVG to point at, and probability against intensity."""

from __future__ import annotations

import base64
import html
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from auformer.report import style

TIMELINE_WIDTH = 8.0  # inches [ours]: twice a phone's width, for a desk
ROW = 0.26  # inches per AU [ours]
NAMES = 2.1  # inches for the longest FACS name of a rendered AU [ours]
COLUMNS = 700  # most columns of the strip; more frames are averaged [ours]
_SCALE = 0.12  # inches of the colour scale's height [ours]

Event = tuple[float, float]


def bin_times(times: np.ndarray, values: np.ndarray, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Bring a series to at most `columns` columns that can be drawn.

    Args:
        times: `(n,)` rising, in seconds; each value holds until the next one, the last one for a median distance.
        values: `(n, N)`; nan where there is none.
        columns: How many at most.

    Returns:
        Edges `(M + 1,)` in seconds and values `(M, N)`: those given where they are few enough, else means over columns
        of equal length.

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
    times: np.ndarray, probs: np.ndarray, au_names: Sequence[str], events: Mapping[str, Sequence[Event]], *,
    title: str | None = None, footer: str | None = None, unit: str = "Time in seconds", theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw a heat strip per AU, and under each strip a line wherever the AU counts as active.

    Args:
        times: (n,) rising: seconds, or numbers of frames.
        probs: (n, N) probabilities of one face; nan where it was not seen, which stays empty.
        au_names: N canonical names.
        events: Per AU the spans (begin, end) in which it is active.
        title: Text above the figure, such as the name of the video.
        footer: Small text below it; lines of at most 120 characters.
        unit: What `times` are.
        theme: "light" or "dark".

    Returns:
        The figure, 8 inches wide.

    Raises:
        ValueError: If the shapes do not fit together, or there is no time.
    """
    times, probs = np.asarray(times, float), np.asarray(probs, float)
    if times.ndim != 1 or not len(times) or probs.shape != (len(times), len(au_names)):
        wanted = (len(times), len(au_names))
        raise ValueError(f"Expected `probs` to be of shape {wanted}, not empty, but got {probs.shape}.")
    names = style.au_order(au_names)
    edges, strip = bin_times(times, probs[:, [list(au_names).index(name) for name in names]])
    header, strips = 0.45 * bool(title) + 0.1, ROW * len(names)
    height = header + strips + 0.45 + _SCALE + 0.45 + style.footer_height(footer)
    figure, quiet = style.bare_figure(height, theme=theme, width=TIMELINE_WIDTH), style.THEMES[theme]["quiet"]
    axes = style.place_axes(figure, NAMES, header, TIMELINE_WIDTH - NAMES - 0.2, strips)
    _draw_strips(axes, edges, strip, names, events, theme=theme)
    axes.set_xlabel(unit, fontsize=style.SMALL)
    _draw_scale(style.place_axes(figure, NAMES, header + strips + 0.5, 2.4, _SCALE), theme=theme)
    words = "The line under a strip: at or above the threshold.\nEmpty: no face."
    looks = {"fontsize": style.SMALL - 0.5, "color": quiet, "linespacing": 1.3}
    style.place_text(figure, NAMES + 2.7, header + strips + 0.48, words, **looks)
    style.add_headline(figure, title, theme=theme)
    style.add_footer(figure, footer, theme=theme)
    return figure


def _draw_strips(
    axes: Axes, edges: np.ndarray, strip: np.ndarray, names: list[str], events: Mapping[str, Sequence[Event]], *,
    theme: str,
) -> None:  # fmt: skip
    """Draw the strips (M, N) of all AUs with their lines."""
    inks = style.THEMES[theme]
    style.dress_axes(axes, theme=theme)
    axes.grid(False)
    colours = colormaps[style.COLOUR_MAP].with_extremes(bad=inks["background"])
    for row, name in enumerate(names):
        data = np.ma.masked_invalid(strip[:, row][None])
        axes.pcolormesh(edges, [row - 0.42, row + 0.22], data, cmap=colours, vmin=0, vmax=1, rasterized=True)
        spans = list(events.get(name, ()))
        begins, ends = [a for a, _ in spans], [b for _, b in spans]
        axes.hlines([row + 0.33] * len(spans), begins, ends, color=inks["ink"], linewidth=2.2)
    axes.set_yticks(range(len(names)), [style.au_label(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        seen = bool(events.get(name))
        label.set(fontsize=style.SMALL, fontweight="bold" if seen else "normal", color=inks["ink" if seen else "quiet"])
    axes.set(xlim=(edges[0], edges[-1]), ylim=(len(names) - 0.45, -0.55))
    axes.tick_params(axis="x", labelsize=style.SMALL)


def _draw_scale(axes: Axes, *, theme: str) -> None:
    """Draw what the colours mean."""
    style.dress_axes(axes, theme=theme)
    axes.grid(False)
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=style.COLOUR_MAP, aspect="auto", extent=(0, 1, 0, 1))
    axes.set(xticks=(0, 0.5, 1), yticks=[])
    axes.tick_params(axis="x", labelsize=style.SMALL - 0.5)
    axes.set_xlabel("Probability", fontsize=style.SMALL - 0.5)


_COLUMNS = 180  # most moments that one can point at [ours]
_LEVELS = 24  # shades of the strips [ours]
_LEFT, _WIDTH = 190, 720  # units of the drawing: names of AUs, strips [ours]
_ROW, _BAR, _THUMB = 19, 12, 78  # units: pitch of rows, height of a strip, height of a thumbnail [ours]
_STYLE = (
    ".tl text{font:11px system-ui,sans-serif;fill:var(--ink)}.tl .q{fill:var(--quiet)}"
    ".tl .e{stroke:var(--ink);stroke-width:2.5}.tl .m{fill:transparent}"
    ".tl .m:hover{fill:var(--accent);fill-opacity:.25}.tl{min-width:36rem;width:100%;height:auto;display:block}"
)


def hover_timeline(
    times: np.ndarray, probs: np.ndarray, au_names: Sequence[str], events: Mapping[str, Sequence[Event]],
    images: Sequence[tuple[float, bytes]] = (), *, label: str, seconds: bool = True,
) -> str:  # fmt: skip
    """Return the SVG of one face of a video; arguments, colours, order and names as in `timeline`.

    `images` are times and JPEG files of thumbnails, rising; `label` says what the drawing shows to those who cannot see
    it; `seconds`: whether `times` are seconds, else numbers of frames.
    """
    names = style.au_order(au_names)
    edges, strip = bin_times(times, probs[:, [list(au_names).index(name) for name in names]], _COLUMNS)
    length = edges[-1] - edges[0]
    top = _THUMB + 22 if images else 6
    bottom = top + _ROW * len(names)

    def place(time: float) -> float:
        """Where a time lies in the drawing."""
        return round(_LEFT + (time - edges[0]) / length * _WIDTH, 1)

    unit = " s" if seconds else ""
    parts = [
        f'<text x="{_LEFT - 8}" y="{top + _ROW * row + 10}" text-anchor="end">{style.au_label(name)}</text>'
        for row, name in enumerate(names)
    ]
    parts += [_strip(strip[:, row], edges, top + _ROW * row, place) for row in range(len(names))]
    for row, name in enumerate(names):
        y = top + _ROW * row + _BAR + 3
        parts += [f'<path class="e" d="M{place(a)} {y}H{place(min(b, edges[-1]))}"/>' for a, b in events.get(name, ())]
    parts += _thumbnails(images, place, unit)
    parts += [
        f'<text class="q" x="{place(time)}" y="{bottom + 14}" text-anchor="middle">{time:.4g}{unit}</text>'
        for time in np.linspace(edges[0], edges[-1], 6)
    ]
    parts += _moments(edges, strip, names, events, unit, place, (top, bottom - top))
    drawing = f"<style>{_STYLE}</style>{''.join(parts)}"
    size = f"0 0 {_LEFT + _WIDTH + 24} {bottom + 22}"
    svg = f'<svg class="tl" viewBox="{size}" role="img" aria-label="{html.escape(label)}">{drawing}</svg>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">{svg}</div>'


def _strip(values: np.ndarray, edges: np.ndarray, y: float, place: Callable[[float], float]) -> str:
    """The strip of one AU: neighbours of one shade are one rectangle, empty where there is no value."""
    shades = np.where(np.isnan(values), -1, np.floor(np.nan_to_num(values) * (_LEVELS - 1) + 0.5)).astype(int)
    borders = np.flatnonzero(np.diff(shades, prepend=-2, append=-2))
    parts = []
    for begin, end in itertools.pairwise(borders):
        if shades[begin] >= 0:
            a, b = place(edges[begin]), place(edges[end])
            colour = to_hex(colormaps[style.COLOUR_MAP](shades[begin] / (_LEVELS - 1)))
            parts.append(f'<rect x="{a}" y="{y}" width="{round(b - a, 1)}" height="{_BAR}" fill="{colour}"/>')
    return "".join(parts)


def _thumbnails(images: Sequence[tuple[float, bytes]], place: Callable[[float], float], unit: str) -> list[str]:
    """Thumbnails in a row above the strips, each near its time."""
    parts = []
    for number, (time, data) in enumerate(images):
        x = _LEFT + number * _WIDTH / len(images)
        width = _WIDTH / len(images) - 4
        uri = base64.b64encode(data).decode("ascii")
        said = f"{time:.2f}{unit}"
        parts.append(
            f'<image x="{x:.1f}" y="14" width="{width:.1f}" height="{_THUMB}" href="data:image/jpeg;base64,{uri}"/>'
            f'<text class="q" x="{x + width / 2:.1f}" y="10" text-anchor="middle">{said}</text>'
        )
    return parts


def _moments(
    edges: np.ndarray, strip: np.ndarray, names: Sequence[str], events: Mapping[str, Sequence[Event]], unit: str,
    place: Callable[[float], float], span: tuple[int, int],
) -> list[str]:  # fmt: skip
    """An invisible column per moment, over `span` (top and height), that says what it holds."""
    parts, (top, height) = [], span
    for (begin, end), values in zip(itertools.pairwise(edges), strip, strict=True):
        said = html.escape(_moment(begin, values, names, events, unit, end))
        width = round(place(end) - place(begin), 1)
        box = f'x="{place(begin)}" y="{top}" width="{width}" height="{height}"'
        parts.append(f'<rect class="m" {box}><title>{said}</title></rect>')
    return parts


def _moment(
    time: float, values: np.ndarray, names: Sequence[str], events: Mapping[str, Sequence[Event]], unit: str,
    until: float,
) -> str:  # fmt: skip
    """What to say of one moment: its time, and each AU with its probability, active ones marked."""
    if np.isnan(values).all():
        return f"{time:.2f}{unit}: no face"
    lines = [f"{time:.2f}{unit}"]
    for name, value in zip(names, values, strict=True):
        on = any(a < until and b > time for a, b in events.get(name, ()))
        lines.append(f"{style.au_label(name)} {value:.2f}{' active' if on else ''}")
    return "\n".join(lines)


CURVE_COLUMNS = 3  # thumbnails side by side [ours]
_CELL = 1.55  # inches of each [ours]


def intensity_curves(
    levels: np.ndarray, probs: Mapping[str, np.ndarray], thresholds: Mapping[str, float], *, title: str | None = None,
    theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw probability against true intensity per AU: the mean over faces, and the middle half of them as a band.

    Args:
        levels: `(L,)` true intensities, 0 to 5.
        probs: AU -> `(n, L)` probabilities of n faces.
        thresholds: AU -> probability from which on it counts as active, a dashed line.
        title: Text above the figure.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide; a straight line from 0 to 1 shows what an intensity would look like.

    Raises:
        ValueError: Without AUs, or if the shapes do not fit together.
    """
    if not probs or any(np.ndim(values) != 2 or np.shape(values)[1] != len(levels) for values in probs.values()):
        found = [np.shape(values) for values in probs.values()]
        raise ValueError(f"Expected `probs` to hold at least one array (n, {len(levels)}), but got {found}.")
    names, inks = style.au_order(probs), style.THEMES[theme]
    rows = math.ceil(len(names) / CURVE_COLUMNS)
    figure = style.new_figure(rows * _CELL + 0.5, theme=theme, title=title)
    grid = figure.subplots(rows, CURVE_COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw(axes, np.asarray(levels, float), np.asarray(probs[name], float), thresholds[name], theme=theme)
        axes.set_title(style.au_label(name), fontsize=style.SMALL - 0.5, color=inks["ink"])
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("True intensity (0 to 5)", fontsize=style.SMALL, color=inks["quiet"])
    figure.supylabel("Probability of occurrence", fontsize=style.SMALL, color=inks["quiet"])
    return figure


def _draw(axes: Axes, levels: np.ndarray, values: np.ndarray, threshold: float, *, theme: str) -> None:
    """Draw one AU: band, mean, threshold, and the straight line of an intensity."""
    inks, colour = style.THEMES[theme], style.SERIES[theme][0]
    style.dress_axes(axes, theme=theme, grid="both")
    low, high = np.percentile(values, [25, 75], axis=0)
    axes.plot(levels[[0, -1]], [levels[0] / 5, levels[-1] / 5], color=inks["quiet"], linewidth=1, linestyle=":")
    axes.axhline(threshold, color=inks["ink"], linewidth=0.9, linestyle="--")
    axes.fill_between(levels, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(levels, values.mean(0), color=colour, marker="o", markersize=3.5, linewidth=1.6)
    axes.set(xlim=(0, 5), ylim=(0, 1), xticks=(0, 1, 2, 3, 4, 5), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=style.SMALL - 1)

"""AUs over time, as a figure and as an SVG to point at, and probability against intensity.

Without intensities an AU is a strip coloured by its probability. With them it is a band: its area is the intensity on
an axis from 0 to 5, the line above it the probability on an axis from 0 to 1.
"""

from __future__ import annotations

import base64
import html
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cbook import contiguous_regions
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from auformer.aus import MAX_INTENSITY
from auformer.report import style

TIMELINE_WIDTH = 8.0  # inches [ours]: twice a phone's width, for a desk
ROW, BAND = 0.26, 0.4  # inches per AU: as a strip, and as a band with an axis of its own [ours]
NAMES = 2.1  # inches for the longest FACS name of a rendered AU [ours]
COLUMNS = 700  # most columns of the strip; more frames are averaged [ours]
_SCALE = 0.12  # inches of the colour scale's height [ours]
_FLOOR, _TALL = 0.28, 0.7  # of a band's row: its zero below the middle, and the height of its axis [ours]

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
    intensity: np.ndarray | None = None, title: str | None = None, footer: str | None = None,
    unit: str = "Time in seconds", theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw a strip or a band per AU (see the module), and under each a line wherever the AU counts as active.

    Args:
        times: (n,) rising: seconds, or numbers of frames.
        probs: (n, N) probabilities of one face; nan where it was not seen, which stays empty.
        au_names: N canonical names.
        events: Per AU the spans (begin, end) in which it is active.
        intensity: (n, N) in [0, 5], nan as in `probs`; None for a network that gives none.
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
    if intensity is not None and np.shape(intensity) != probs.shape:
        raise ValueError(f"Expected `intensity` to be of shape {probs.shape}, but got {np.shape(intensity)}.")
    names = style.au_order(au_names)
    order = [list(au_names).index(name) for name in names]
    edges, strip = bin_times(times, probs[:, order])
    levels = None if intensity is None else bin_times(times, np.asarray(intensity, float)[:, order])[1]
    header, rows = 0.45 * bool(title) + 0.1, (ROW if levels is None else BAND) * len(names)
    height = header + rows + 0.45 + _SCALE + 0.45 + style.footer_height(footer)
    figure, quiet = style.bare_figure(height, theme=theme, width=TIMELINE_WIDTH), style.THEMES[theme]["quiet"]
    axes = style.place_axes(figure, NAMES, header, TIMELINE_WIDTH - NAMES - 0.3, rows)
    _draw_rows(axes, edges, strip, levels, names, events, theme=theme)
    axes.set_xlabel(unit, fontsize=style.SMALL)
    key = style.place_axes(figure, NAMES, header + rows + 0.5, 2.4, _SCALE)
    words = "The line under a strip: at or above the threshold.\nEmpty: no face."
    if levels is None:
        _draw_scale(key, theme=theme)
    else:
        _draw_key(key, theme=theme)
        words = words.replace("a strip", "a band")
    looks = {"fontsize": style.SMALL - 0.5, "color": quiet, "linespacing": 1.3}
    style.place_text(figure, NAMES + 2.7, header + rows + 0.48, words, **looks)
    style.add_headline(figure, title, theme=theme)
    style.add_footer(figure, footer, theme=theme)
    return figure


def _draw_rows(
    axes: Axes, edges: np.ndarray, strip: np.ndarray, levels: np.ndarray | None, names: list[str],
    events: Mapping[str, Sequence[Event]], *, theme: str,
) -> None:  # fmt: skip
    """Draw the strips or bands of all AUs, (M, N) probabilities and intensities, with their lines."""
    inks = style.THEMES[theme]
    style.dress_axes(axes, theme=theme)
    axes.grid(False)
    for row, name in enumerate(names):
        if levels is None:
            _draw_strip(axes, edges, row, strip[:, row], theme=theme)
        else:
            _draw_band(axes, edges, row, strip[:, row], levels[:, row], theme=theme)
        spans = list(events.get(name, ()))
        begins, ends = [a for a, _ in spans], [b for _, b in spans]
        under = row + (0.33 if levels is None else 0.4)
        axes.hlines([under] * len(spans), begins, ends, color=inks["ink"], linewidth=2.2)
    axes.set_yticks(range(len(names)), [style.au_label(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        seen = bool(events.get(name))
        label.set(fontsize=style.SMALL, fontweight="bold" if seen else "normal", color=inks["ink" if seen else "quiet"])
    axes.set(xlim=(edges[0], edges[-1]), ylim=(len(names) - 0.45, -0.55))
    axes.tick_params(axis="x", labelsize=style.SMALL)


def _draw_strip(axes: Axes, edges: np.ndarray, row: int, probs: np.ndarray, *, theme: str) -> None:
    """Draw probabilities (M,) as colours."""
    colours = colormaps[style.COLOUR_MAP].with_extremes(bad=style.THEMES[theme]["background"])
    data = np.ma.masked_invalid(probs[None])
    axes.pcolormesh(edges, [row - 0.42, row + 0.22], data, cmap=colours, vmin=0, vmax=1, rasterized=True)


def _draw_band(axes: Axes, edges: np.ndarray, row: int, probs: np.ndarray, levels: np.ndarray, *, theme: str) -> None:
    """Draw intensities (M,) as an area and probabilities (M,) as a line, between a line at zero and one at the top."""
    inks, (line, area), floor = style.THEMES[theme], style.SERIES[theme][:2], row + _FLOOR
    axes.hlines([floor, floor - _TALL], edges[0], edges[-1], color=inks["grid"], linewidth=0.6)
    axes.stairs(
        floor - _TALL * levels / MAX_INTENSITY, edges, baseline=floor, fill=True, color=area, alpha=0.75, linewidth=0
    )
    axes.stairs(floor - _TALL * probs, edges, baseline=None, color=line, linewidth=0.9)
    for text, place in (("0", floor), (f"{MAX_INTENSITY:.0f}", floor - _TALL)):
        beside: dict[str, Any] = {
            "xytext": (3, 0),
            "textcoords": "offset points",
            "va": "center",
            "annotation_clip": False,
        }
        axes.annotate(text, (edges[-1], place), fontsize=style.SMALL - 2, color=inks["quiet"], **beside)


def _draw_key(axes: Axes, *, theme: str) -> None:
    """Draw what area and line are."""
    line, area = style.SERIES[theme][:2]
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    looks: dict[str, Any] = {"fontsize": style.SMALL - 0.5, "color": style.THEMES[theme]["quiet"], "va": "center"}
    axes.fill_between([0, 0.09], 0.3, 1.3, color=area, alpha=0.75, linewidth=0, clip_on=False)
    axes.text(0.12, 0.8, "Intensity, 0 to 5", **looks)
    axes.plot([0, 0.09], [-0.5, -0.5], color=line, linewidth=1.4, clip_on=False)
    axes.text(0.12, -0.5, "Probability, 0 to 1", **looks)


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
_BAND_ROW, _BAND_BAR = 34, 26  # units: pitch of rows, height of a band's axis [ours]
_AREA = style.SERIES["light"][1]  # of intensities, on light and dark pages
_STYLE = (
    ".tl text{font:11px system-ui,sans-serif;fill:var(--ink)}.tl .q{fill:var(--quiet)}"
    ".tl .e{stroke:var(--ink);stroke-width:2.5}.tl .m{fill:transparent}"
    ".tl .m:hover{fill:var(--accent);fill-opacity:.25}.tl .p{fill:none;stroke:var(--accent);stroke-width:1.2}"
    ".tl .g{stroke:var(--line)}.tl .s{font-size:8px}.tl{min-width:36rem;width:100%;height:auto;display:block}"
)


def hover_timeline(
    times: np.ndarray, probs: np.ndarray, au_names: Sequence[str], events: Mapping[str, Sequence[Event]],
    images: Sequence[tuple[float, bytes]] = (), *, label: str, seconds: bool = True,
    intensity: np.ndarray | None = None,
) -> str:  # fmt: skip
    """Return the SVG of one face of a video; arguments, colours, order and names as in `timeline`.

    `images` are times and JPEG files of thumbnails, rising; `label` says what the drawing shows to those who cannot see
    it; `seconds`: whether `times` are seconds, else numbers of frames.
    """
    names = style.au_order(au_names)
    order = [list(au_names).index(name) for name in names]
    edges, strip = bin_times(times, probs[:, order], _COLUMNS)
    levels = None if intensity is None else bin_times(times, np.asarray(intensity, float)[:, order], _COLUMNS)[1]
    pitch, bar = (_ROW, _BAR) if levels is None else (_BAND_ROW, _BAND_BAR)
    length = edges[-1] - edges[0]
    top = _THUMB + 22 if images else 6
    bottom = top + pitch * len(names)

    def place(time: float) -> float:
        """Where a time lies in the drawing."""
        return round(_LEFT + (time - edges[0]) / length * _WIDTH, 1)

    unit = " s" if seconds else ""
    parts = []
    for row, name in enumerate(names):
        y = top + pitch * row
        middle = y + bar / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle:g}" text-anchor="end">{style.au_label(name)}</text>')
        drawn = _strip(strip[:, row], edges, y, place)
        parts.append(drawn if levels is None else _band(strip[:, row], levels[:, row], edges, y, place))
        under, spans = y + bar + 3, events.get(name, ())
        parts += [f'<path class="e" d="M{place(a)} {under}H{place(min(b, edges[-1]))}"/>' for a, b in spans]
    parts += _thumbnails(images, place, unit)
    parts += [
        f'<text class="q" x="{place(time)}" y="{bottom + 14}" text-anchor="middle">{time:.4g}{unit}</text>'
        for time in np.linspace(edges[0], edges[-1], 6)
    ]
    parts += _moments(edges, strip, levels, names, events, unit, place, (top, bottom - top))
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


def _band(probs: np.ndarray, levels: np.ndarray, edges: np.ndarray, y: float, place: Callable[[float], float]) -> str:
    """The band of one AU: its axis, intensities as an area, probabilities as a line; both end where there is no value.

    Neighbours of one height, in tenths of a unit, are one step.
    """
    floor, right = y + _BAND_BAR, place(edges[-1])
    parts = [f'<path class="g" d="M{_LEFT} {line}H{right}"/>' for line in (y, floor)]
    for text, line in (("0", floor), (f"{MAX_INTENSITY:.0f}", y)):
        parts.append(f'<text class="q s" x="{right + 3}" y="{line + 3}">{text}</text>')
    for values, filled in ((levels / MAX_INTENSITY, True), (probs, False)):
        tops = np.where(np.isnan(values), np.nan, np.round(floor - _BAND_BAR * values, 1))
        for first, last in contiguous_regions(~np.isnan(tops)):
            changes = [first, *(k for k in range(first + 1, last) if tops[k] != tops[k - 1])]
            steps = "".join(
                f"V{tops[k]:g}H{place(edges[end])}" for k, end in zip(changes, [*changes[1:], last], strict=True)
            )
            begin = place(edges[first])
            if filled:
                parts.append(f'<path fill="{_AREA}" fill-opacity=".75" d="M{begin} {floor}{steps}V{floor}Z"/>')
            else:
                parts.append(f'<path class="p" d="M{begin} {tops[first]:g}{steps}"/>')
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
    edges: np.ndarray, strip: np.ndarray, levels: np.ndarray | None, names: Sequence[str],
    events: Mapping[str, Sequence[Event]], unit: str, place: Callable[[float], float], span: tuple[int, int],
) -> list[str]:  # fmt: skip
    """An invisible column per moment, over `span` (top and height), that says what it holds."""
    parts, (top, height) = [], span
    for column, (begin, end) in enumerate(itertools.pairwise(edges)):
        beside = None if levels is None else levels[column]
        said = html.escape(_moment(begin, strip[column], beside, names, events, unit, end))
        width = round(place(end) - place(begin), 1)
        box = f'x="{place(begin)}" y="{top}" width="{width}" height="{height}"'
        parts.append(f'<rect class="m" {box}><title>{said}</title></rect>')
    return parts


def _moment(
    time: float, values: np.ndarray, levels: np.ndarray | None, names: Sequence[str],
    events: Mapping[str, Sequence[Event]], unit: str, until: float,
) -> str:  # fmt: skip
    """What to say of one moment: its time, and each AU with its probability and intensity, active ones marked."""
    if np.isnan(values).all():
        return f"{time:.2f}{unit}: no face"
    lines = [f"{time:.2f}{unit}"]
    for row, name in enumerate(names):
        on = any(a < until and b > time for a, b in events.get(name, ()))
        level = "" if levels is None or np.isnan(levels[row]) else f", intensity {levels[row]:.1f}"
        prob = "" if np.isnan(values[row]) else f" {values[row]:.2f}"
        lines.append(f"{style.au_label(name)}{prob}{' active' if on else ''}{level}")
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

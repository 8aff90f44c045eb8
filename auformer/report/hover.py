"""A timeline for pages: an SVG that says what a moment holds when one points at it, without any script."""

from __future__ import annotations

import base64
import html
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from auformer.report.faces import COLOUR_MAP
from auformer.report.style import au_label, au_order
from auformer.report.timeline import Event, bin_times

_COLUMNS = 180  # most moments that one can point at [ours]
_LEVELS = 24  # shades of the strips [ours]
_LEFT, _WIDTH = 190, 720  # units of the drawing: names of AUs, strips [ours]
_ROW, _BAR, _THUMB = 19, 12, 78  # units: pitch of rows, height of a strip, height of a small picture [ours]
_STYLE = (
    ".tl text{font:11px system-ui,sans-serif;fill:var(--ink)}.tl .q{fill:var(--quiet)}.tl .e{stroke:var(--ink);stroke-width:2.5}"
    ".tl .m{fill:transparent}.tl .m:hover{fill:var(--accent);fill-opacity:.25}.tl{min-width:36rem;width:100%;height:auto;display:block}"
)


def hover_timeline(
    times: np.ndarray,
    probs: np.ndarray,
    au_names: Sequence[str],
    events: Mapping[str, Sequence[Event]],
    pictures: Sequence[tuple[float, bytes]] = (),
    *,
    label: str,
    seconds: bool = True,
) -> str:
    """Return the SVG of one face of a recording; colours, order and names as in `timeline`.

    Args:
        times: (n,) rising: seconds, or numbers of frames.
        probs: (n, N) probabilities; nan where the face was not seen.
        au_names: N canonical names.
        events: per AU the spans (begin, end) in which it is active.
        pictures: time and JPEG file of small pictures, rising.
        label: what the drawing shows, for those who cannot see it.
        seconds: whether `times` are seconds.
    """
    names = au_order(au_names)
    edges, strip = bin_times(times, probs[:, [list(au_names).index(name) for name in names]], _COLUMNS)
    length = edges[-1] - edges[0]
    top = _THUMB + 22 if pictures else 6
    bottom = top + _ROW * len(names)

    def place(time: float) -> float:
        """Where a time lies in the drawing."""
        return round(_LEFT + (time - edges[0]) / length * _WIDTH, 1)

    unit = " s" if seconds else ""
    parts = [
        f'<text x="{_LEFT - 8}" y="{top + _ROW * row + 10}" text-anchor="end">{au_label(name)}</text>' for row, name in enumerate(names)
    ]
    parts += [_strip(strip[:, row], edges, top + _ROW * row, place) for row in range(len(names))]
    for row, name in enumerate(names):
        y = top + _ROW * row + _BAR + 3
        parts += [f'<path class="e" d="M{place(a)} {y}H{place(min(b, edges[-1]))}"/>' for a, b in events.get(name, ())]
    parts += _pictures(pictures, place, unit)
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
            colour = to_hex(colormaps[COLOUR_MAP](shades[begin] / (_LEVELS - 1)))
            parts.append(f'<rect x="{a}" y="{y}" width="{round(b - a, 1)}" height="{_BAR}" fill="{colour}"/>')
    return "".join(parts)


def _pictures(pictures: Sequence[tuple[float, bytes]], place: Callable[[float], float], unit: str) -> list[str]:
    """Small pictures in a row above the strips, each near its time."""
    parts = []
    for number, (time, data) in enumerate(pictures):
        x = _LEFT + number * _WIDTH / len(pictures)
        width = _WIDTH / len(pictures) - 4
        uri = base64.b64encode(data).decode("ascii")
        said = f"{time:.2f}{unit}"
        parts.append(
            f'<image x="{x:.1f}" y="14" width="{width:.1f}" height="{_THUMB}" href="data:image/jpeg;base64,{uri}"/>'
            f'<text class="q" x="{x + width / 2:.1f}" y="10" text-anchor="middle">{said}</text>'
        )
    return parts


def _moments(
    edges: np.ndarray,
    strip: np.ndarray,
    names: Sequence[str],
    events: Mapping[str, Sequence[Event]],
    unit: str,
    place: Callable[[float], float],
    span: tuple[int, int],
) -> list[str]:
    """An invisible column per moment, over `span` (top and height), that says what it holds."""
    parts, (top, height) = [], span
    for (begin, end), values in zip(itertools.pairwise(edges), strip, strict=True):
        said = html.escape(_moment(begin, values, names, events, unit, end))
        width = round(place(end) - place(begin), 1)
        parts.append(f'<rect class="m" x="{place(begin)}" y="{top}" width="{width}" height="{height}"><title>{said}</title></rect>')
    return parts


def _moment(time: float, values: np.ndarray, names: Sequence[str], events: Mapping[str, Sequence[Event]], unit: str, until: float) -> str:
    """What to say of one moment: its time, and each AU with its probability, active ones marked."""
    if np.isnan(values).all():
        return f"{time:.2f}{unit}: no face"
    lines = [f"{time:.2f}{unit}"]
    for name, value in zip(names, values, strict=True):
        on = any(a < until and b > time for a, b in events.get(name, ()))
        lines.append(f"{au_label(name)} {value:.2f}{' active' if on else ''}")
    return "\n".join(lines)

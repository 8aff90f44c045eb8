"""One photo: the face, the probability of each AU against its threshold, and what each expert looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.faces import blend_evidence, show_picture
from auformer.report.style import (
    GUTTER,
    LINE,
    SERIES,
    SMALL,
    THEMES,
    WIDTH,
    add_headline,
    au_label,
    au_order,
    dress_axes,
    new_figure,
    place_axes,
    place_text,
)

FACE = 1.45  # inches: the photo [ours]; names of AUs and bars take the rest
BARS = 3.38  # inches from the left edge where the bars start [ours]: room for the longest FACS name of a rendered AU
ROW = 0.235  # inches per bar [ours]
TILES = 6  # evidence maps side by side [ours]
LEGEND = "Full bar, bold: at or\nabove the threshold\n(the upright line)."


def au_bars(
    crop: np.ndarray,
    au_names: Sequence[str],
    probs: np.ndarray,
    thresholds: np.ndarray,
    maps: np.ndarray | None = None,
    title: str | None = None,
    footer: str | None = None,
    *,
    theme: str = "light",
) -> Figure:
    """Draw one face, the probability of each AU as a bar with its threshold, and the evidence maps.

    Args:
        crop: the aligned face, uint8 RGB ``(S, S, 3)``.
        au_names: N canonical names.
        probs: ``(N,)`` in [0, 1]: probabilities of occurrence, not intensities.
        thresholds: ``(N,)``; an AU counts as present from there on: full bar and bold label, else a hollow bar.
        maps: ``(N, h, w)`` evidence maps, each shown on a scale of its own.
        title: text above the figure, such as the name of the photo.
        footer: small text below it, such as what the network was trained on; lines of at most 90 characters.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    for name, value, dims in (("probs", probs, 1), ("thresholds", thresholds, 1), ("maps", maps, 3)):
        if value is not None and (np.ndim(value) != dims or len(value) != len(au_names)):
            raise ValueError(f"Expected `{name}` to be {dims}-dimensional, first N = {len(au_names)}, but got shape {np.shape(value)}")
    order = [list(au_names).index(name) for name in au_order(au_names)]
    names, shown, cuts = [au_names[i] for i in order], np.asarray(probs, float)[order], np.asarray(thresholds, float)[order]
    header, bars = 0.5 * bool(title) + 0.08, max(ROW * len(names), FACE + 0.5)
    notes = LINE * (1 + footer.count("\n")) + 0.12 if footer else 0.0
    tiles = 0.0 if maps is None else 0.3 + math.ceil(len(names) / TILES) * (_tile_size() + 0.24)
    height = header + bars + 0.45 + tiles + notes
    figure, quiet = new_figure(height, theme=theme, layout=None), THEMES[theme]["quiet"]
    show_picture(place_axes(figure, GUTTER, header, FACE, FACE), crop)
    place_text(figure, GUTTER, header + FACE + 0.08, LEGEND, fontsize=SMALL, color=quiet, linespacing=1.4)
    _probability_bars(place_axes(figure, BARS, header, WIDTH - BARS - 0.16, bars), names, shown, cuts, theme=theme)
    if maps is not None:
        _evidence_tiles(figure, header + bars + 0.45, crop, names, np.asarray(maps)[order], shown >= cuts, theme=theme)
    add_headline(figure, title, theme=theme)
    if footer:
        place_text(figure, GUTTER, height - notes, footer, fontsize=SMALL - 1, color=quiet, linespacing=1.4)
    return figure


def _tile_size() -> float:
    """Return the side of one evidence map in inches."""
    return (WIDTH - GUTTER * (TILES + 1)) / TILES


def _probability_bars(axes: Axes, names: list[str], probs: np.ndarray, cuts: np.ndarray, *, theme: str) -> None:
    """Draw the bars; present AUs are full and bold, the others hollow."""
    inks, colour, places, seen = THEMES[theme], SERIES[theme][0], np.arange(len(names)), probs >= cuts
    dress_axes(axes, theme=theme)
    axes.barh(places, probs, 0.62, color=[colour if on else inks["background"] for on in seen], edgecolor=colour, linewidth=0.9)
    axes.vlines(cuts, places - 0.42, places + 0.42, color=inks["ink"], linewidth=1.4)
    axes.set_yticks(places, [au_label(name) for name in names])
    for label, on in zip(axes.get_yticklabels(), seen, strict=True):
        label.set(fontsize=SMALL, fontweight="bold" if on else "normal", color=inks["ink" if on else "quiet"])
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.45, -0.55), xlabel="Probability", xticks=(0, 0.5, 1))
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.xaxis.label.set_fontsize(SMALL)


def _evidence_tiles(
    figure: Figure, top: float, crop: np.ndarray, names: list[str], maps: np.ndarray, seen: np.ndarray, *, theme: str
) -> None:
    """Draw one small face per AU under its evidence map, from ``top`` inches downwards; framed and bold where the AU was seen."""
    inks, side = THEMES[theme], _tile_size()
    place_text(figure, GUTTER, top, "Evidence of each expert, every map on a scale of its own", fontsize=SMALL, color=inks["quiet"])
    for index, (name, evidence, on) in enumerate(zip(names, maps, seen, strict=True)):
        left, down = GUTTER + index % TILES * (side + GUTTER), top + 0.46 + index // TILES * (side + 0.24)
        axes = place_axes(figure, left, down, side, side)
        axes.imshow(blend_evidence(crop, evidence), interpolation="lanczos", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=SMALL, pad=3, color=inks["ink" if on else "quiet"], fontweight="bold" if on else "normal")
        for spine in axes.spines.values():
            spine.set(visible=bool(on), color=SERIES[theme][0], linewidth=2)

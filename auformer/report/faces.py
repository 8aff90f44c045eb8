"""Faces with what was found on them: a grid, evidence maps, one photo with its bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.aus import ACTION_UNITS, MAX_INTENSITY
from auformer.report import style

OPACITY = 0.75  # of the strongest evidence over the face [ours]
COLUMN = 2.6  # inches per face and its map where there are more than two columns [ours]
# Ink, sign, word: never colour alone.
SIGNS = (("right", "✓", "found"), ("wrong", "○", "missed"), ("wrong", "✗", "false"))
COLUMNS = 4  # faces of an evidence grid side by side [ours]
FACE = 1.45  # inches: the photo beside its bars [ours]; names of AUs and bars take the rest
BARS = 3.38  # inches from the left edge where the bars start [ours]: room for the longest FACS name of a rendered AU
ROW = 0.235  # inches per bar [ours]
HALF = 0.75  # inches: probability bars where intensity bars stand beside them, and those [ours]
TILES = 6  # evidence maps side by side [ours]
TILE = (style.WIDTH - style.GUTTER * (TILES + 1)) / TILES  # inches
LEGEND = "Full bar, bold: at or\nabove the threshold\n(the upright line)."


def blend_evidence(image: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Lay an evidence map over a face: grey where there is none, the more opaque the stronger.

    The map is scaled by its own smallest and largest value, so maps of different AUs or photos say where, not how much.

    Args:
        image: uint8 RGB `(H, W, 3)`.
        evidence: `(h, w)` floats, one value per patch, the patches covering the whole image; a constant map shows
            nothing.

    Returns:
        uint8 RGB `(H, W, 3)`.

    Raises:
        ValueError: If the shapes are others, or the map holds NaN or infinity.
    """
    image, evidence = np.asarray(image), np.asarray(evidence, dtype=float)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"Expected `image` to be uint8 (H, W, 3), but got {image.dtype} {image.shape}")
    if evidence.ndim != 2 or not np.isfinite(evidence).all():
        raise ValueError(f"Expected `evidence` to be (h, w) finite numbers, but got shape {evidence.shape}")
    low, high = evidence.min(), evidence.max()
    strength = _spread((evidence - low) / (high - low), *image.shape[:2]) if high > low else np.zeros(image.shape[:2])
    grey = style.luma(image)
    colours = colormaps[style.COLOUR_MAP](strength)[..., :3] * 255
    alpha = (OPACITY * strength)[..., None]
    return np.round((1 - alpha) * grey[..., None] + alpha * colours).astype(np.uint8)


def _spread(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Spread patch values `(h, w)` over pixels `(height, width)`: means weighted by a Gaussian of half a patch."""
    weights = []
    for size, count in ((height, values.shape[0]), (width, values.shape[1])):
        pixels = (np.arange(size) + 0.5) / size * count - 0.5  # pixel centres in units of patches
        bells = np.exp(-0.5 * ((pixels[:, None] - np.arange(count)) / 0.5) ** 2)
        weights.append(bells / bells.sum(axis=1, keepdims=True))
    return weights[0] @ values @ weights[1].T


def face_grid(
    images: np.ndarray, au_names: Sequence[str], truth: np.ndarray, probs: np.ndarray, *,
    thresholds: np.ndarray | None = None, maps: np.ndarray | None = None, captions: Sequence[str] | None = None,
    columns: int = 2, title: str | None = None, theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw faces with the AUs that were found, missed and falsely seen on them, and beside each an evidence map.

    Args:
        images: uint8 RGB `(K, S, S, 3)`.
        au_names: N canonical names.
        truth: `(K, N)` labels, 1, 0 or -1 (not annotated: not judged, not shown).
        probs: `(K, N)` in [0, 1].
        thresholds: `(N,)`, default 0.5; an AU counts as seen from there on.
        maps: `(K, h, w)`, one evidence map per face.
        captions: K lines above the faces, such as the AU of the map.
        columns: Faces side by side; two are 5.2 inches wide, each one more adds 2.6.
        title: Text above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: Without faces, or if shapes do not fit.
    """
    _check_grid(len(images), len(au_names), truth, probs, maps, captions)
    width, columns = max(style.WIDTH, COLUMN * columns), min(columns, len(images))
    cell = (width - style.GUTTER * (columns + 1)) / columns  # inches
    side = cell if maps is None else (cell - 0.05) / 2
    header, head = 0.4 * bool(title), 0.2 * (captions is not None)
    pitch = head + side + style.LINE * len(SIGNS) + 0.17
    figure = style.bare_figure(header + math.ceil(len(images) / columns) * pitch + 0.03, theme=theme, width=width)
    inks, seen = style.THEMES[theme], np.asarray(probs) >= (0.5 if thresholds is None else np.asarray(thresholds))
    for index, image in enumerate(images):
        left, top = style.GUTTER + index % columns * (cell + style.GUTTER), header + index // columns * pitch + 0.04
        if captions is not None:
            style.place_text(figure, left, top, captions[index], fontsize=style.SMALL, weight="bold", color=inks["ink"])
        show_image(style.place_axes(figure, left, top + head, side, side), image)
        if maps is not None:
            beside = style.place_axes(figure, left + side + 0.05, top + head, side, side)
            show_image(beside, blend_evidence(image, maps[index]))
        for line, (ink, text) in enumerate(_verdicts(au_names, np.asarray(truth)[index], seen[index])):
            style.place_text(
                figure, left, top + head + side + 0.05 + style.LINE * line, text, fontsize=style.SMALL, color=inks[ink]
            )
    style.add_headline(figure, title, theme=theme)
    return figure


def _check_grid(
    count: int, number: int, truth: np.ndarray, probs: np.ndarray, *per_face: Sequence | np.ndarray | None
) -> None:
    """Refuse arguments of `face_grid` whose shapes do not fit together."""
    for name, value in (("truth", truth), ("probs", probs)):
        if np.shape(value) != (count, number) or not count:
            wanted = f"(K, N) = ({count}, {number}) with K > 0"
            raise ValueError(f"Expected `{name}` to be {wanted}, but got shape {np.shape(value)}")
    for name, entries in zip(("maps", "captions"), per_face, strict=True):
        if entries is not None and len(entries) != count:
            raise ValueError(f"Expected `{name}` to hold one entry per face, {count}, but got {len(entries)}")


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Show an image that fills its axes, without ticks or frame."""
    axes.imshow(image, interpolation="lanczos", aspect="auto")
    axes.set_axis_off()


def _verdicts(au_names: Sequence[str], truth: np.ndarray, seen: np.ndarray) -> list[tuple[str, str]]:
    """Return (ink, text) of the AUs `(N,)` that were found, missed and falsely seen, a line with its sign each."""
    order = [list(au_names).index(name) for name in style.au_order(au_names)]
    kinds = (truth == 1) & seen, (truth == 1) & ~seen, (truth == 0) & seen
    lines = []
    for (ink, sign, word), chosen in zip(SIGNS, kinds, strict=True):
        numbers = " ".join(au_names[i].removeprefix("AU") for i in order if chosen[i])
        lines.append((ink if numbers else "quiet", f"{sign} {word} {numbers or '–'}"))
    return lines


class Evidence(NamedTuple):
    """One AU on one face.

    Args:
        crop: The aligned face, uint8 RGB `(S, S, 3)`.
        evidence: `(h, w)` map, 0 or more.
        note: One short line below it, such as probability and time.
    """

    crop: np.ndarray
    evidence: np.ndarray
    note: str


def evidence_grid(
    faces: Mapping[str, Evidence], *, title: str | None = None, footer: str | None = None, theme: str = "light"
) -> Figure:
    """Draw a face with its evidence map per AU, every map on a scale of its own.

    Args:
        faces: AU -> face and map.
        title: Text above the figure.
        footer: Small text below it; lines of at most 90 characters.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: Without faces.
    """
    if not faces:
        raise ValueError("Expected `faces` to hold at least one action unit, but got none.")
    names, side = style.au_order(faces), (style.WIDTH - style.GUTTER * (COLUMNS + 1)) / COLUMNS
    header, cell = 0.45 * bool(title) + 0.1, side + 0.58
    height = header + math.ceil(len(names) / COLUMNS) * cell + style.footer_height(footer)
    figure, inks = style.bare_figure(height, theme=theme), style.THEMES[theme]
    for place, name in enumerate(names):
        left, top = style.GUTTER + place % COLUMNS * (side + style.GUTTER), header + place // COLUMNS * cell
        shown = blend_evidence(faces[name].crop, faces[name].evidence)
        show_image(style.place_axes(figure, left, top + 0.2, side, side), shown)
        style.place_text(figure, left, top + 0.02, name, fontsize=style.SMALL, color=inks["ink"], weight="bold")
        words = f"{ACTION_UNITS[name].name}\n{faces[name].note}"
        style.place_text(
            figure, left, top + 0.22 + side, words, fontsize=style.SMALL - 1.5, color=inks["quiet"], linespacing=1.25
        )
    style.add_headline(figure, title, theme=theme)
    style.add_footer(figure, footer, theme=theme)
    return figure


def au_bars(
    crop: np.ndarray, au_names: Sequence[str], probs: np.ndarray, thresholds: np.ndarray,
    maps: np.ndarray | None = None, title: str | None = None, footer: str | None = None, *,
    intensity: np.ndarray | None = None, map_words: str = "", theme: str = "light",
) -> Figure:  # fmt: skip
    """Draw one face, the probability of each AU as a bar with its threshold, its intensity, and the evidence maps.

    Args:
        crop: The aligned face, uint8 RGB `(S, S, 3)`.
        au_names: N canonical names.
        probs: `(N,)` in [0, 1]: probabilities of occurrence, not intensities.
        thresholds: `(N,)`; an AU counts as present from there on: full bar and bold label, else a hollow bar.
        maps: `(N, h, w)` evidence maps, each shown on a scale of its own.
        title: Text above the figure, such as the name of the photo.
        footer: Small text below it, such as what the network was trained on; lines of at most 90 characters.
        intensity: `(N,)` in [0, 5], nan for an AU without one; bars with their values beside those of `probs`.
        map_words: What the maps are, above them.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: If the shapes do not fit together.
    """
    given = (("probs", probs, 1), ("thresholds", thresholds, 1), ("maps", maps, 3), ("intensity", intensity, 1))
    for name, value, dims in given:
        if value is not None and (np.ndim(value) != dims or len(value) != len(au_names)):
            wanted = f"{dims}-dimensional, first N = {len(au_names)}"
            raise ValueError(f"Expected `{name}` to be {wanted}, but got shape {np.shape(value)}")
    order = [list(au_names).index(name) for name in style.au_order(au_names)]
    names = [au_names[i] for i in order]
    shown, cuts = np.asarray(probs, float)[order], np.asarray(thresholds, float)[order]
    header, bars = 0.5 * bool(title) + 0.08, max(ROW * len(names), FACE + 0.5)
    tiles = 0.0 if maps is None else 0.3 + math.ceil(len(names) / TILES) * (TILE + 0.24)
    figure = style.bare_figure(header + bars + 0.45 + tiles + style.footer_height(footer, 0.12), theme=theme)
    show_image(style.place_axes(figure, style.GUTTER, header, FACE, FACE), crop)
    quiet = style.THEMES[theme]["quiet"]
    style.place_text(
        figure, style.GUTTER, header + FACE + 0.08, LEGEND, fontsize=style.SMALL, color=quiet, linespacing=1.4
    )
    room = style.WIDTH - BARS - 0.16
    whole = room if intensity is None else HALF
    _probability_bars(style.place_axes(figure, BARS, header, whole, bars), names, shown, cuts, theme=theme)
    if intensity is not None:
        axes = style.place_axes(figure, BARS + room - HALF, header, HALF, bars)
        _intensity_bars(axes, np.asarray(intensity, float)[order], theme=theme)
    if maps is not None:
        top = header + bars + 0.45
        style.place_text(figure, style.GUTTER, top, map_words, fontsize=style.SMALL, color=quiet)
        _evidence_tiles(figure, top, crop, names, np.asarray(maps)[order], shown >= cuts, theme=theme)
    style.add_headline(figure, title, theme=theme)
    style.add_footer(figure, footer, theme=theme, margin=0.12)
    return figure


def _probability_bars(axes: Axes, names: list[str], probs: np.ndarray, cuts: np.ndarray, *, theme: str) -> None:
    """Draw the bars; present AUs are full and bold, the others hollow."""
    inks, colour, places, seen = style.THEMES[theme], style.SERIES[theme][0], np.arange(len(names)), probs >= cuts
    style.dress_axes(axes, theme=theme)
    fills = [colour if on else inks["background"] for on in seen]
    axes.barh(places, probs, 0.62, color=fills, edgecolor=colour, linewidth=0.9)
    axes.vlines(cuts, places - 0.42, places + 0.42, color=inks["ink"], linewidth=1.4)
    axes.set_yticks(places, [style.au_label(name) for name in names])
    for label, on in zip(axes.get_yticklabels(), seen, strict=True):
        label.set(fontsize=style.SMALL, fontweight="bold" if on else "normal", color=inks["ink" if on else "quiet"])
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.45, -0.55), xlabel="Probability")
    axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
    axes.tick_params(axis="x", labelsize=style.SMALL)
    axes.xaxis.label.set_fontsize(style.SMALL)


def _intensity_bars(axes: Axes, levels: np.ndarray, *, theme: str) -> None:
    """Draw intensities (N,) as bars with their values, in the rows of the probabilities beside them."""
    inks, places = style.THEMES[theme], np.arange(len(levels))
    style.dress_axes(axes, theme=theme)
    axes.barh(places, np.nan_to_num(levels), 0.62, color=style.SERIES[theme][1])
    for place, level in zip(places.tolist(), levels.tolist(), strict=True):
        if not np.isnan(level):
            inside = level > MAX_INTENSITY / 2
            beside: dict[str, Any] = {
                "ha": "right" if inside else "left",
                "va": "center",
                "fontsize": style.SMALL - 1.5,
            }
            ink = style.THEMES["light"]["ink"] if inside else inks["ink"]
            axes.text(level + (-0.1 if inside else 0.1), place, f"{level:.1f}", color=ink, **beside)
    axes.set(xlim=(0, MAX_INTENSITY), ylim=(len(levels) - 0.45, -0.55), xlabel="Intensity", yticks=[])
    axes.set_xticks(range(int(MAX_INTENSITY) + 1))
    axes.tick_params(axis="x", labelsize=style.SMALL)
    axes.xaxis.label.set_fontsize(style.SMALL)


def _evidence_tiles(
    figure: Figure, top: float, crop: np.ndarray, names: list[str], maps: np.ndarray, seen: np.ndarray, *, theme: str
) -> None:
    """Draw one small face per AU under its evidence map; framed and bold where the AU was seen."""
    inks = style.THEMES[theme]
    for index, (name, evidence, on) in enumerate(zip(names, maps, seen, strict=True)):
        left, down = style.GUTTER + index % TILES * (TILE + style.GUTTER), top + 0.46 + index // TILES * (TILE + 0.24)
        axes = style.place_axes(figure, left, down, TILE, TILE)
        axes.imshow(blend_evidence(crop, evidence), interpolation="lanczos", aspect="auto")
        axes.set(xticks=[], yticks=[])
        weight, ink = ("bold", "ink") if on else ("normal", "quiet")
        axes.set_title(name, fontsize=style.SMALL, pad=3, color=inks[ink], fontweight=weight)
        for spine in axes.spines.values():
            spine.set(visible=bool(on), color=style.SERIES[theme][0], linewidth=2)

"""Faces with what was found on them: a grid, evidence maps, one photo with its bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.aus import ACTION_UNITS
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

COLOUR_MAP = (
    "viridis"  # perceptually even and readable with every common form of colour blindness (van der Walt & Smith, 2015)
)
OPACITY = 0.75  # of the strongest evidence over the face [ours]
COLUMN = 2.6  # inches per face and its map where there are more than two columns [ours]
SIGNS = (
    ("right", "✓", "found"),
    ("wrong", "○", "missed"),
    ("wrong", "✗", "false"),
)  # ink, sign, word: never colour alone


def blend_evidence(image: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Lay an evidence map over a face: grey where there is none, the more opaque the stronger.

    The map is scaled by its own smallest and largest value, so maps of different AUs or photos say where, not how much.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        evidence: ``(h, w)`` floats, one value per patch, the patches covering the whole image; a constant map shows nothing.

    Returns:
        uint8 RGB ``(H, W, 3)``.

    Raises:
        ValueError: if the shapes are others, or the map holds NaN or infinity.
    """
    image, evidence = np.asarray(image), np.asarray(evidence, dtype=float)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"Expected `image` to be uint8 (H, W, 3), but got {image.dtype} {image.shape}")
    if evidence.ndim != 2 or not np.isfinite(evidence).all():
        raise ValueError(f"Expected `evidence` to be (h, w) finite numbers, but got shape {evidence.shape}")
    low, high = evidence.min(), evidence.max()
    strength = _spread((evidence - low) / (high - low), *image.shape[:2]) if high > low else np.zeros(image.shape[:2])
    grey = image @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
    colours = colormaps[COLOUR_MAP](strength)[..., :3] * 255
    alpha = (OPACITY * strength)[..., None]
    return np.round((1 - alpha) * grey[..., None] + alpha * colours).astype(np.uint8)


def _spread(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Spread patch values ``(h, w)`` smoothly over pixels ``(height, width)``: the mean weighted by a Gaussian of half a patch."""
    weights = []
    for size, count in ((height, values.shape[0]), (width, values.shape[1])):
        pixels = (np.arange(size) + 0.5) / size * count - 0.5  # pixel centres in units of patches
        bells = np.exp(-0.5 * ((pixels[:, None] - np.arange(count)) / 0.5) ** 2)
        weights.append(bells / bells.sum(axis=1, keepdims=True))
    return weights[0] @ values @ weights[1].T


def face_grid(
    images: np.ndarray,
    au_names: Sequence[str],
    truth: np.ndarray,
    probs: np.ndarray,
    *,
    thresholds: np.ndarray | None = None,
    maps: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    columns: int = 2,
    title: str | None = None,
    theme: str = "light",
) -> Figure:
    """Draw faces with the AUs that were found, missed and falsely seen on them, and beside each an evidence map.

    Args:
        images: uint8 RGB ``(K, S, S, 3)``.
        au_names: N canonical names.
        truth: ``(K, N)`` labels, 1, 0 or -1 (not annotated: not judged, not shown).
        probs: ``(K, N)`` in [0, 1].
        thresholds: ``(N,)``, default 0.5; an AU counts as seen from there on.
        maps: ``(K, h, w)``, one evidence map per face.
        captions: K lines above the faces, such as the AU of the map.
        columns: faces side by side; two are 5.2 inches wide, each one more adds 2.6.
        title: text above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: without faces, or if shapes do not fit.
    """
    _check_grid(len(images), len(au_names), truth, probs, maps, captions)
    width, columns = max(WIDTH, COLUMN * columns), min(columns, len(images))
    cell = (width - GUTTER * (columns + 1)) / columns  # inches
    picture = cell if maps is None else (cell - 0.05) / 2
    header, head = 0.4 * bool(title), 0.2 * (captions is not None)
    pitch = head + picture + LINE * len(SIGNS) + 0.17
    figure = new_figure(header + math.ceil(len(images) / columns) * pitch + 0.03, theme=theme, width=width, layout=None)
    seen = np.asarray(probs) >= (0.5 if thresholds is None else np.asarray(thresholds))
    for index, image in enumerate(images):
        left, top = GUTTER + index % columns * (cell + GUTTER), header + index // columns * pitch + 0.04
        if captions is not None:
            place_text(figure, left, top, captions[index], fontsize=SMALL, weight="bold", color=THEMES[theme]["ink"])
        pictures = [image] if maps is None else [image, blend_evidence(image, maps[index])]
        for number, shown in enumerate(pictures):
            show_picture(place_axes(figure, left + number * (picture + 0.05), top + head, picture, picture), shown)
        for line, (ink, text) in enumerate(_verdicts(au_names, np.asarray(truth)[index], seen[index])):
            place_text(
                figure, left, top + head + picture + 0.05 + LINE * line, text, fontsize=SMALL, color=THEMES[theme][ink]
            )
    add_headline(figure, title, theme=theme)
    return figure


def _check_grid(
    count: int, number: int, truth: np.ndarray, probs: np.ndarray, *per_face: Sequence | np.ndarray | None
) -> None:
    """Refuse arguments of `face_grid` whose shapes do not fit together."""
    for name, value in (("truth", truth), ("probs", probs)):
        if np.shape(value) != (count, number) or not count:
            raise ValueError(
                f"Expected `{name}` to be (K, N) = ({count}, {number}) with K > 0, but got shape {np.shape(value)}"
            )
    for name, parts in zip(("maps", "captions"), per_face, strict=True):
        if parts is not None and len(parts) != count:
            raise ValueError(f"Expected `{name}` to hold one entry per face, {count}, but got {len(parts)}")


def show_picture(axes: Axes, picture: np.ndarray) -> None:
    """Show a picture that fills its axes, without ticks or frame."""
    axes.imshow(picture, interpolation="lanczos", aspect="auto")
    axes.set_axis_off()


def _verdicts(au_names: Sequence[str], truth: np.ndarray, seen: np.ndarray) -> list[tuple[str, str]]:
    """Return (ink, text) of the AUs ``(N,)`` that were found, missed and falsely seen, each kind a line with its own sign."""
    order = [list(au_names).index(name) for name in au_order(au_names)]
    kinds = (truth == 1) & seen, (truth == 1) & ~seen, (truth == 0) & seen
    lines = []
    for (ink, sign, word), chosen in zip(SIGNS, kinds, strict=True):
        numbers = " ".join(au_names[i].removeprefix("AU") for i in order if chosen[i])
        lines.append((ink if numbers else "quiet", f"{sign} {word} {numbers or '–'}"))
    return lines


COLUMNS = 4  # faces side by side [ours]


class Evidence(NamedTuple):
    """One AU on one face.

    Args:
        crop: the aligned face, uint8 RGB ``(S, S, 3)``.
        evidence: ``(h, w)`` map, 0 or more.
        note: one short line below it, such as probability and time.
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
        title: text above the figure.
        footer: small text below it; lines of at most 90 characters.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: without faces.
    """
    if not faces:
        raise ValueError("Expected `faces` to hold at least one action unit, but got none.")
    inks, names, side = THEMES[theme], au_order(faces), (WIDTH - GUTTER * (COLUMNS + 1)) / COLUMNS
    header, cell = 0.45 * bool(title) + 0.1, side + 0.58
    notes = LINE * (1 + footer.count("\n")) + 0.1 if footer else 0.0
    height = header + math.ceil(len(names) / COLUMNS) * cell + notes
    figure = new_figure(height, theme=theme, layout=None)
    for place, name in enumerate(names):
        left, top = GUTTER + place % COLUMNS * (side + GUTTER), header + place // COLUMNS * cell
        axes = place_axes(figure, left, top + 0.2, side, side)
        axes.imshow(blend_evidence(faces[name].crop, faces[name].evidence), interpolation="lanczos", aspect="auto")
        axes.axis("off")
        place_text(figure, left, top + 0.02, name, fontsize=SMALL, color=inks["ink"], weight="bold")
        words = f"{ACTION_UNITS[name].name}\n{faces[name].note}"
        place_text(figure, left, top + 0.22 + side, words, fontsize=SMALL - 1.5, color=inks["quiet"], linespacing=1.25)
    add_headline(figure, title, theme=theme)
    if footer:
        place_text(figure, GUTTER, height - notes, footer, fontsize=SMALL - 1, color=inks["quiet"], linespacing=1.4)
    return figure


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
            raise ValueError(
                f"Expected `{name}` to be {dims}-dimensional, first N = {len(au_names)}, but got shape {np.shape(value)}"
            )
    order = [list(au_names).index(name) for name in au_order(au_names)]
    names, shown, cuts = (
        [au_names[i] for i in order],
        np.asarray(probs, float)[order],
        np.asarray(thresholds, float)[order],
    )
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
    axes.barh(
        places,
        probs,
        0.62,
        color=[colour if on else inks["background"] for on in seen],
        edgecolor=colour,
        linewidth=0.9,
    )
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
    place_text(
        figure,
        GUTTER,
        top,
        "Evidence of each expert, every map on a scale of its own",
        fontsize=SMALL,
        color=inks["quiet"],
    )
    for index, (name, evidence, on) in enumerate(zip(names, maps, seen, strict=True)):
        left, down = GUTTER + index % TILES * (side + GUTTER), top + 0.46 + index // TILES * (side + 0.24)
        axes = place_axes(figure, left, down, side, side)
        axes.imshow(blend_evidence(crop, evidence), interpolation="lanczos", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_title(
            name, fontsize=SMALL, pad=3, color=inks["ink" if on else "quiet"], fontweight="bold" if on else "normal"
        )
        for spine in axes.spines.values():
            spine.set(visible=bool(on), color=SERIES[theme][0], linewidth=2)

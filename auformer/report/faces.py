"""Faces in a grid: what a network found on them, what is true, and where an expert looked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auformer.report.style import GUTTER, LINE, SMALL, THEMES, WIDTH, add_headline, au_order, new_figure, place_axes, place_text

COLOUR_MAP = "viridis"  # perceptually even and readable with every common form of colour blindness (van der Walt & Smith, 2015)
OPACITY = 0.75  # of the strongest evidence over the face [ours]
COLUMN = 2.6  # inches per face and its map where there are more than two columns [ours]
SIGNS = (("right", "✓", "found"), ("wrong", "○", "missed"), ("wrong", "✗", "false"))  # ink, sign, word: never colour alone


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
            place_text(figure, left, top + head + picture + 0.05 + LINE * line, text, fontsize=SMALL, color=THEMES[theme][ink])
    add_headline(figure, title, theme=theme)
    return figure


def _check_grid(count: int, number: int, truth: np.ndarray, probs: np.ndarray, *per_face: Sequence | np.ndarray | None) -> None:
    """Refuse arguments of `face_grid` whose shapes do not fit together."""
    for name, value in (("truth", truth), ("probs", probs)):
        if np.shape(value) != (count, number) or not count:
            raise ValueError(f"Expected `{name}` to be (K, N) = ({count}, {number}) with K > 0, but got shape {np.shape(value)}")
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

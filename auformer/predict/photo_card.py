"""The figure of a photo, drawn by Pillow: a twentieth of the time that matplotlib takes, its import aside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from auformer.aus import MAX_INTENSITY
from auformer.files import atomic_path
from auformer.predict.figures import wrap
from auformer.predict.types import ImagePrediction
from auformer.report.inks import SERIES, THEMES, au_label, au_order

WIDTH, MARGIN, FACE = 936, 16, 256  # pixels; as wide as matplotlib's figures [ours]
ROW, BAR = 30, 18  # pixels of a row, and of the bar in it [ours]
LABEL, TEXT, SMALL, TITLE = 17, 16, 14, 22  # sizes of letters [ours]
NAMES, BARS, GAP, NUMBER = (
    290,
    600,
    20,
    46,
)  # left edge of names and bars, room between two bars and for a number [ours]
COLOURS = 256
LEGEND = ("Full bar, dark: at or above", "the threshold (upright line).")


def photo_card(
    photo: ImagePrediction, au_names: Sequence[str], thresholds: np.ndarray, *, notice: str | None = None
) -> np.ndarray:
    """Draw the largest face of a photo with its action units.

    Args:
        photo: With at least one face.
        au_names: The N action units of the network.
        thresholds: (N,) their decision thresholds.
        notice: What the footer says; None for what the values are.

    Returns:
        (H, 936, 3) uint8 RGB.
    """
    largest, inks = photo.faces[0], THEMES["light"]
    order = [list(au_names).index(au) for au in au_order(au_names)]
    footer = wrap(notice, 120, intensity=largest.intensity is not None).splitlines()
    top = MARGIN + TITLE + 18
    below = top + max(ROW * len(order), FACE + 60) + 34
    image = Image.new("RGB", (WIDTH, below + 20 * len(footer) + MARGIN), inks["background"])
    draw = ImageDraw.Draw(image)
    several = f", largest of {len(photo.faces)} faces" if len(photo.faces) > 1 else ""
    title = _fitting(draw, f"{PurePosixPath(photo.name).name}{several}")
    draw.text((MARGIN, MARGIN), title, inks["ink"], font(TITLE))
    face = cv2.resize(largest.crop, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
    image.paste(Image.fromarray(face), (MARGIN, top))
    for line, words in enumerate(LEGEND):
        draw.text((MARGIN, top + FACE + 10 + 20 * line), words, inks["quiet"], font(SMALL))
    for row, place in enumerate(order):
        level = None if largest.intensity is None else float(largest.intensity[place])
        values = (float(largest.probs[place]), float(thresholds[place]), level)
        _draw_row(draw, top + ROW * row, au_label(au_names[place]), *values)
    _draw_scales(draw, top + ROW * len(order) + 4, intensity=largest.intensity is not None)
    for line, words in enumerate(footer):
        draw.text((MARGIN, below + 20 * line), words, inks["quiet"], font(SMALL))
    return np.asarray(image)


def save_card(path: Path, card: np.ndarray) -> None:
    """Write a card as a PNG file of 256 colours, a quarter of the size of one with all, atomically."""
    image = Image.fromarray(card).quantize(COLOURS, Image.Quantize.FASTOCTREE)
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG")


def _spans(*, intensity: bool) -> list[tuple[int, int]]:
    """Left and right edge of the bars of probability and, where there are any, of intensity."""
    room = WIDTH - MARGIN - BARS
    if not intensity:
        return [(BARS, BARS + room - NUMBER)]
    half = (room - GAP) // 2
    return [(BARS, BARS + half), (BARS + half + GAP, BARS + 2 * half + GAP)]


def _draw_row(draw: ImageDraw.ImageDraw, top: int, label: str, prob: float, cut: float, level: float | None) -> None:
    """One action unit: its name, its probability with the threshold, its intensity with a number."""
    inks, seen, bar = THEMES["light"], prob >= cut, top + (ROW - BAR) // 2
    draw.text((NAMES, top + 5), label, inks["ink" if seen else "quiet"], font(LABEL))
    spans, colour = _spans(intensity=level is not None), SERIES["light"][0]
    (left, right), bottom = spans[0], bar + BAR
    draw.line([(left, bottom), (right, bottom)], inks["grid"])
    end = left + round(prob * (right - left))
    draw.rectangle([left, bar, max(end, left + 1), bottom], colour if seen else inks["background"], colour)
    mark = left + round(cut * (right - left))
    draw.line([(mark, bar - 4), (mark, bottom + 4)], inks["ink"], 2)
    if level is None:
        draw.text((right + 8, top + 6), f"{prob:.2f}", inks["ink"], font(SMALL))
    elif not np.isnan(level):
        (left, right), share = spans[1], level / MAX_INTENSITY
        end = left + round(share * (right - left))
        draw.rectangle([left, bar, end, bottom], SERIES["light"][1])
        place = (end - 30, bar + 1) if share > 0.5 else (end + 6, bar + 1)
        draw.text(place, f"{level:.1f}", inks["ink"], font(SMALL))


def _draw_scales(draw: ImageDraw.ImageDraw, top: int, *, intensity: bool) -> None:
    """What the bars are, and their ends, below the last row."""
    names = [("Probability", "0", "1"), ("Intensity", "0", f"{MAX_INTENSITY:g}")]
    for (left, right), (name, low, high) in zip(_spans(intensity=intensity), names, strict=False):
        for at, words, anchor in ((left, low, "la"), ((left + right) // 2, name, "ma"), (right, high, "ra")):
            draw.text((at, top), words, THEMES["light"]["quiet"], font(SMALL), anchor=anchor)


def _fitting(draw: ImageDraw.ImageDraw, text: str) -> str:
    """A title shortened in its middle until it fits."""
    kept = len(text)
    while draw.textlength(shown := _shortened(text, kept), font(TITLE)) > WIDTH - 2 * MARGIN and kept > 3:
        kept -= 1
    return shown


def _shortened(text: str, kept: int) -> str:
    """Text with so many letters.

    >>> _shortened("a_long_name.jpg", 20), _shortened("a_long_name.jpg", 9)
    ('a_long_name.jpg', 'a_lo...jpg')
    """
    return text if len(text) <= kept else f"{text[: kept // 2]}...{text[len(text) - kept // 3 :]}"


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)

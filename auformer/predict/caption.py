"""The sentence about a face, made by rule from its decisions, and a strip under an image that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from auformer.language.facts import fact_of
from auformer.language.grammar import Grammar, shown
from auformer.language.lexicon import load_lexicon
from auformer.predict.types import FacePrediction, ImagePrediction
from auformer.report.inks import THEMES

LINES = 3  # of a caption; what is longer ends with dots, the whole sentence is in the descriptions file [ours]
LETTERS = 0.02  # height of the letters, as a share of the image's width [ours]
SMALLEST, LEADING = 12, 1.35  # pixels of the letters, and distance of lines in their height [ours]


class FaceWords:
    """Says what the decisions about a face mean, as `auformer.predict.descriptions` does for tables.

    Degrees are those of the image by itself: a resting level is only known when a video has ended.

    Args:
        au_names: The N action units of the predictions; those without words are left out.
        thresholds: `(N,)`, the probability from which each counts as active.
        language: `en` or `de`.
    """

    def __init__(self, au_names: Sequence[str], thresholds: np.ndarray, language: str) -> None:
        self.au_names, self.thresholds = list(au_names), thresholds
        known = load_lexicon(language).aus
        self.grammar = Grammar([au for au in au_names if au in known], language)

    def sentence(self, face: FacePrediction) -> str:
        """One sentence about the whole face."""
        levels = np.full(len(self.au_names), np.nan) if face.intensity is None else face.intensity
        values = zip(self.au_names, face.probs >= self.thresholds, levels.tolist(), strict=True)
        facts = {au: fact_of(au, bool(active), level) for au, active, level in values}
        return shown(self.grammar.face(facts[au] for au in self.grammar.au_names))

    def caption(self, drawn: np.ndarray, image: ImagePrediction) -> np.ndarray:
        """A drawn image `(H, W, 3)` with the sentence about its largest face below; an empty strip without a face.

        Returns:
            `(H', W, 3)` uint8 RGB, H' even, and the same for all images of a size.
        """
        largest = max(image.faces, key=lambda found: found.face.box[2], default=None)
        return np.concatenate([drawn, strip(drawn.shape[1], "" if largest is None else self.sentence(largest))])


def strip(width: int, text: str) -> np.ndarray:
    """A text on a dark strip `(h, width, 3)` uint8 RGB, in at most `LINES` lines; h is even and the same for any text.

    >>> strip(300, "The chin is raised.").shape == strip(300, "a " * 999).shape
    True
    """
    size = max(SMALLEST, round(LETTERS * width))
    step = round(LEADING * size)
    image = Image.new("RGB", (width, 2 * ((LINES * step + size) // 2)), THEMES["dark"]["background"])
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(_fitted(draw, text, size, width - size)):
        draw.text((size // 2, size // 2 + row * step), line, THEMES["dark"]["ink"], font(size))
    return np.asarray(image)


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings (it is not imported): Pillow's own letters have no umlauts."""
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    return ImageFont.truetype(str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _fitted(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> list[str]:
    """A text in lines of at most so many pixels; the last one ends with dots where there would be more of them."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or draw.textlength(longer, font(size)) <= width:
            lines[-1] = longer
        elif len(lines) < LINES:
            lines.append(word)
        else:
            while draw.textlength(f"{lines[-1]} ...", font(size)) > width and " " in lines[-1]:
                lines[-1] = lines[-1].rpartition(" ")[0]
            return [*lines[:-1], f"{lines[-1]} ..."]
    return lines

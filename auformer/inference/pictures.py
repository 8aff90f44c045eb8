"""One picture per photo: its largest face, the probability of each AU, and the evidence maps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from auformer.inference.predictor import AUPredictor
from auformer.inference.results import PhotoPrediction
from auformer.plots import au_bars

FOOTER = "Probabilities that an action unit occurs, not intensities."
LINE = 90  # characters, as `au_bars` asks for
SUFFIX = "_aus.png"  # so that a picture is never taken for the photo, wherever it is written


def picture_names(names: Sequence[str]) -> list[str]:
    """File names of the pictures, none of them twice (also where upper and lower case are one).

    Args:
        names: names of the photos, as `name_sources` gives them.

    >>> picture_names(["p1/a.jpg", "p2/a.png"])
    ['a_aus.png', 'a-2_aus.png']
    """
    taken: dict[str, str] = {}
    for name in names:
        stem, number = PurePosixPath(name).stem, 1
        unique = stem
        while unique.lower() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken[unique.lower()] = unique + SUFFIX
    return list(taken.values())


def photo_figure(predictor: AUPredictor, photo: PhotoPrediction, *, notice: str | None = None) -> Any:
    """Draw the largest face of a photo with its action units.

    Args:
        predictor: the predictor that made the prediction; the evidence maps are its network's.
        photo: a photo with at least one face.
        notice: what every output of this checkpoint has to say.
    """
    largest = photo.faces[0]
    maps = predictor.evidence_maps([largest.crop])
    several = f", largest of {len(photo.faces)} faces" if len(photo.faces) > 1 else ""
    lines = [line for text in (notice or FOOTER).splitlines() for line in textwrap.wrap(text, LINE)]
    return au_bars(
        largest.crop,
        list(predictor.au_names),
        largest.probs,
        predictor.thresholds,
        None if maps is None else maps[0],
        title=f"{PurePosixPath(photo.name).name}{several}",
        footer="\n".join(lines),
    )

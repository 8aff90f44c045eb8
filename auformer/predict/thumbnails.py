"""The photographs of a folder on the report page: a small image of each, with what its largest face shows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np
import pandas as pd

from auformer.data.images import read_reduced
from auformer.predict.sources import Source
from auformer.report.html import Section, figure, gallery, paragraph

MOST = 300  # small images on a page, which they make 2 MB large [ours]
_SIDE, _QUALITY = 112, 75  # pixels, and of JPEG [ours]
_ROOM = 1.35  # side of what is shown, in widths of the face's box [ours]
_ENOUGH = 1000  # pixels of the longer side that a photograph keeps while it is read [ours]


def photographs(entries: Sequence[tuple[Source, pd.DataFrame, str]], aus: Sequence[str]) -> Section:
    """A section of small images.

    Args:
        entries: Photos, each with its rows and the problem with it, empty where there is none.
        aus: The network's action units, in the order of the page.
    """
    places = np.unique(np.linspace(0, len(entries) - 1, min(MOST, len(entries))).round().astype(int))
    shown = [_one(source, rows, problem, aus) for source, rows, problem in (entries[place] for place in places)]
    which = "" if len(shown) == len(entries) else f" {len(shown)} of {len(entries):,} photos, at even steps."
    words = f"The largest face of each photo, and the action units at or above their thresholds.{which}"
    return Section("Photos", [paragraph(words), gallery(shown)], wide=True)


def _one(source: Source, rows: pd.DataFrame, problem: str, aus: Sequence[str]) -> str:
    """A small image with its words."""
    found = rows[rows["status"] == "ok"]
    name = PurePosixPath(source.name).name
    if len(found):
        first = found.sort_values("face").iloc[0]
        active = [au for au in aus if first.get(f"{au}_active") == 1]
        said = ", ".join(active) or "no AU"
        said += f"; {len(found)} faces" if len(found) > 1 else ""
        box: tuple[float, ...] | None = tuple(float(first[side]) for side in "xywh")
    else:
        said, box = problem or "no face", None
    image = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
    with contextlib.suppress(ValueError):  # what is wrong is said
        image = _cut(*read_reduced(source.file, _ENOUGH), box)
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return figure(coded.tobytes(), alt=f"photo {name}", caption=f"{name}: {said}")


def _cut(image: np.ndarray, factor: int, box: Sequence[float] | None) -> np.ndarray:
    """A square (112, 112, 3) around a box in pixels of the whole photo, or out of the middle of all of it.

    `image` is smaller than the photo by `factor`.
    """
    height, width = image.shape[:2]
    if box is None:
        side, middle = float(min(height, width)), (width / 2, height / 2)
    else:
        x, y, w, h = (value / factor for value in box)
        side, middle = _ROOM * max(w, h), (x + w / 2, y + h / 2)
    scale = _SIDE / side
    matrix = np.array([[scale, 0, _SIDE / 2 - scale * middle[0]], [0, scale, _SIDE / 2 - scale * middle[1]]])
    if scale < 1:  # without aliasing
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix[:, :2] = np.eye(2)
    return cv2.warpAffine(image, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)

"""Pictures of what was found: the largest face of a photo, the timeline of a recording, and where the experts looked."""

from __future__ import annotations

import textwrap
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from auformer.files import atomic_path
from auformer.predict.episodes import au_summary, main_face, times_of
from auformer.predict.predictor import AUPredictor
from auformer.predict.types import ImagePrediction
from auformer.report.evidence import Evidence, evidence_grid
from auformer.report.photo import au_bars
from auformer.report.timeline import timeline

FOOTER = "Probabilities that an action unit occurs, not intensities."
LINE, WIDE_LINE = 90, 120  # characters, as the figures ask for


def wrap(notice: str | None, line: int = LINE) -> str:
    """What every figure says at its foot, in lines that fit."""
    return "\n".join(part for text in (notice or FOOTER).splitlines() for part in textwrap.wrap(text, line))


def photo_figure(predictor: AUPredictor, photo: ImagePrediction, *, notice: str | None = None) -> Any:
    """Draw the largest face of a photo with its action units.

    Args:
        predictor: the predictor that made the prediction; the evidence maps are its network's.
        photo: a photo with at least one face.
        notice: what every output of this checkpoint has to say.
    """
    largest = photo.faces[0]
    maps = predictor.evidence_maps([largest.crop])
    several = f", largest of {len(photo.faces)} faces" if len(photo.faces) > 1 else ""
    return au_bars(
        largest.crop,
        list(predictor.au_names),
        largest.probs,
        predictor.thresholds,
        None if maps is None else maps[0],
        title=f"{PurePosixPath(photo.name).name}{several}",
        footer=wrap(notice),
    )


def timeline_figure(table: pd.DataFrame, au_names: tuple[str, ...], *, title: str, notice: str | None = None, theme: str = "light") -> Any:
    """Draw the timeline of the face that a recording shows longest; None where there is no face.

    Args:
        table: rows of one recording.
        au_names: the N action units.
        title: name of the recording.
        notice: what every output of this checkpoint has to say.
        theme: "light" or "dark".
    """
    face = main_face(table)
    if face is None:
        return None
    times, unit = times_of(table)
    frames = pd.Series(times, table["frame"]).groupby(level=0).first().sort_index()
    rows = table[(table["face"] == face) & (table["status"] == "ok")].set_index("frame").reindex(frames.index)
    probs = rows[[f"{au}_prob" for au in au_names]].to_numpy(float)
    events = {au: au_summary(table, au, face)["spans"] for au in au_names}
    others = table.loc[table["status"] == "ok", "face"].nunique() - 1
    heading = f"{title}, face {face}" + (f" (of {others + 1})" if others else "")
    return timeline(frames.to_numpy(), probs, au_names, events, title=heading, footer=wrap(notice, WIDE_LINE), unit=unit, theme=theme)


class BestFaces:
    """Per AU the face of a source that shows it with the highest probability; memory does not grow with the source.

    Args:
        au_names: the N action units.
    """

    def __init__(self, au_names: tuple[str, ...]) -> None:
        self.au_names = au_names
        self._best: dict[str, tuple[float, np.ndarray, str]] = {}  # probability, crop (H, W, 3), where in the recording

    def add(self, image: ImagePrediction) -> None:
        """Look at the faces of one more picture."""
        place = "" if image.source.kind == "photo" else f"frame {image.frame}" if image.time_s is None else f"{image.time_s:.2f} s"
        for found in image.faces:
            for au, prob in zip(self.au_names, found.probs, strict=True):
                if au not in self._best or prob > self._best[au][0]:
                    self._best[au] = (float(prob), found.crop, place)

    def save(self, path: Path) -> None:
        """Keep what was seen so far, so that a run that is killed goes on with it (NumPy's `.npz`)."""
        probs, crops, places = zip(*self._best.values(), strict=True) if self._best else ((), (), ())
        names = np.array(list(self._best), str)  # not of objects, which are not read back
        with atomic_path(path) as temporary:
            np.savez(temporary, names=names, probs=np.array(probs), crops=np.array(crops), places=np.array(places, str))

    def restore(self, path: Path) -> None:
        """Go on from what `save` kept."""
        with np.load(path) as kept:
            entries = zip(kept["names"].tolist(), kept["probs"].tolist(), kept["crops"], kept["places"].tolist(), strict=True)
            self._best = {au: (prob, crop, place) for au, prob, crop, place in entries}

    def figure(self, predictor: AUPredictor, *, title: str, notice: str | None = None) -> Any:
        """Draw the evidence map of each AU on its best face; None without a face, or for a network without experts."""
        aus = [au for au in self.au_names if au in self._best]
        maps = predictor.evidence_maps([self._best[au][1] for au in aus])
        if maps is None:
            return None
        tiles = {}
        for au, row in zip(aus, maps, strict=True):
            prob, crop, place = self._best[au]
            tiles[au] = Evidence(crop, row[self.au_names.index(au)], f"{prob:.2f}, {place}" if place else f"{prob:.2f}")
        return evidence_grid(tiles, title=title, footer=wrap(notice))


def small(image: np.ndarray, width: int) -> np.ndarray:
    """A picture (H, W, 3) shrunk to a width in pixels."""
    if image.shape[1] <= width:
        return image
    return cv2.resize(image, (width, max(1, round(image.shape[0] * width / image.shape[1]))), interpolation=cv2.INTER_AREA)

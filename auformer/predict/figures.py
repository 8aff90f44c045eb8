"""Figures of predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from auformer.episodes import episodes
from auformer.files import atomic_path
from auformer.predict.predictor import AUPredictor
from auformer.predict.types import ImagePrediction
from auformer.report.faces import Evidence, au_bars, evidence_grid
from auformer.report.timeline import timeline

FOOTER = "Probabilities that an action unit occurs, not intensities."
LINE, WIDE_LINE = 90, 120  # characters, as the figures ask for


def times_of(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Times (n,) of rows and what they are: seconds, or numbers of frames where there are no time stamps."""
    times = table["time_s"] if "time_s" in table else pd.Series(np.nan, table.index)
    if times.isna().any():
        return table["frame"].to_numpy(float), "Frame"
    return times.to_numpy(float), "Time in seconds"


class Series(NamedTuple):
    """The face that a video shows longest, frame by frame.

    Args:
        face: Its number: the one with the most rows, the lowest of equals.
        others: How many other faces there are.
        frames: Time of each of the n frames, by its number.
        unit: As of `times_of`.
        probs: (n, N) its probabilities, nan where it is not seen.
    """

    face: int
    others: int
    frames: pd.Series
    unit: str
    probs: np.ndarray


def main_series(table: pd.DataFrame, au_names: Sequence[str]) -> Series | None:
    """The face that the rows of one video show longest; None without a face."""
    seen = table[table["status"] == "ok"]
    if seen.empty:
        return None
    face = int(seen["face"].value_counts().sort_index().idxmax())
    times, unit = times_of(table)
    frames = pd.Series(times, table["frame"]).groupby(level=0).first().sort_index()
    rows = seen[seen["face"] == face].set_index("frame").reindex(frames.index)
    probs = rows[[f"{au}_prob" for au in au_names]].to_numpy(float)
    return Series(face, seen["face"].nunique() - 1, frames, unit, probs)


def au_summary(table: pd.DataFrame, au: str, face: int) -> dict[str, Any]:
    """How often and how long one face shows an AU in the rows of one video.

    Returns:
        `share` of the face's frames in [0, 1], `spans` (see `episodes`), `mean_length` of them (nan without),
        `mean_prob`.
    """
    rows = table[(table["status"] == "ok") & (table["face"] == face)].sort_values("frame")
    times, _ = times_of(rows)
    active = rows[f"{au}_active"].fillna(0).to_numpy(bool)
    spans = episodes(times, active)
    lengths = [end - begin for begin, end in spans]
    return {
        "share": float(active.mean()) if len(active) else float("nan"),
        "spans": spans,
        "mean_length": float(np.mean(lengths)) if lengths else float("nan"),
        "mean_prob": float(rows[f"{au}_prob"].mean()),
    }


def wrap(notice: str | None, line: int = LINE) -> str:
    """The footer of every figure, in lines that fit."""
    return "\n".join(part for text in (notice or FOOTER).splitlines() for part in textwrap.wrap(text, line))


def photo_figure(predictor: AUPredictor, photo: ImagePrediction, *, notice: str | None = None) -> Any:
    """Draw the largest face of a photo with its action units, and the evidence maps of the predictor's network."""
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


def timeline_figure(table: pd.DataFrame, au_names: tuple[str, ...], *, title: str, notice: str | None = None) -> Any:
    """Draw the timeline of the face that the rows of one video show longest; None where there is no face."""
    series = main_series(table, au_names)
    if series is None:
        return None
    events = {au: au_summary(table, au, series.face)["spans"] for au in au_names}
    heading = f"{title}, face {series.face}" + (f" (of {series.others + 1})" if series.others else "")
    footer = wrap(notice, WIDE_LINE)
    times = series.frames.to_numpy()
    return timeline(times, series.probs, au_names, events, title=heading, footer=footer, unit=series.unit)


class BestFaces:
    """Per AU the face of a source that shows it with the highest probability; memory does not grow with the source.

    Args:
        au_names: the N action units.
    """

    def __init__(self, au_names: tuple[str, ...]) -> None:
        self.au_names = au_names
        self._best: dict[str, tuple[float, np.ndarray, str]] = {}  # probability, crop (H, W, 3), where in the video

    def add(self, image: ImagePrediction) -> None:
        """Look at the faces of one more image."""
        place = f"frame {image.frame}" if image.time_s is None else f"{image.time_s:.2f} s"
        place = "" if image.source.kind == "photo" else place
        for found in image.faces:
            for au, prob in zip(self.au_names, found.probs, strict=True):
                if au not in self._best or prob > self._best[au][0]:
                    self._best[au] = (float(prob), found.crop, place)

    def save(self, path: Path) -> None:
        """Keep the faces so far, so that a killed run can resume (NumPy's `.npz`)."""
        probs, crops, places = zip(*self._best.values(), strict=True) if self._best else ((), (), ())
        names = np.array(list(self._best), str)  # not of objects, which are not read back
        with atomic_path(path) as temporary:
            np.savez(temporary, names=names, probs=np.array(probs), crops=np.array(crops), places=np.array(places, str))

    def restore(self, path: Path) -> None:
        """Resume from what `save` kept."""
        with np.load(path) as kept:
            entries = zip(
                kept["names"].tolist(), kept["probs"].tolist(), kept["crops"], kept["places"].tolist(), strict=True
            )
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
    """An image (H, W, 3) shrunk to a width in pixels."""
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

"""Figures of predictions by matplotlib, which is imported when one is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from auformer.episodes import episodes
from auformer.files import atomic_path
from auformer.predict.predictor import AUPredictor
from auformer.predict.types import ImagePrediction
from auformer.report.html import meaning

LINE, WIDE_LINE = 90, 120  # characters, as the figures ask for
HIGH = 0.95  # quantile of a high intensity: of the highest single frame much is noise [ours]


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
        intensity: (n, N) its intensities, nan where it is not seen and for AUs without; None without any.
    """

    face: int
    others: int
    frames: pd.Series
    unit: str
    probs: np.ndarray
    intensity: np.ndarray | None


def shown_aus(table: pd.DataFrame, au_names: Iterable[str]) -> list[str]:
    """The AUs of a network, and AU45 where blinks were found out from the frames of a video."""
    return list(dict.fromkeys([*au_names, *(["AU45"] if "AU45_active" in table else [])]))


def main_series(table: pd.DataFrame, au_names: Sequence[str]) -> Series | None:
    """The face that the rows of one video show longest; None without a face.

    AU45, which has no probability of its own, has that of AU43 during a blink and 0 else.
    """
    seen = table[table["status"] == "ok"]
    if seen.empty:
        return None
    face = int(seen["face"].value_counts().sort_index().idxmax())
    times, unit = times_of(table)
    frames = pd.Series(times, table["frame"]).groupby(level=0).first().sort_index()
    rows = seen[seen["face"] == face].set_index("frame").reindex(frames.index)
    probs = np.column_stack([_probs(rows, au) for au in au_names])
    levels = rows.reindex(columns=[f"{au}_intensity_pred" for au in au_names]).to_numpy(float)
    intensity = None if np.isnan(levels).all() else levels
    return Series(face, seen["face"].nunique() - 1, frames, unit, probs, intensity)


def _probs(rows: pd.DataFrame, au: str) -> np.ndarray:
    """(n,) probabilities of an AU to be drawn."""
    if f"{au}_prob" in rows:
        return rows[f"{au}_prob"].to_numpy(float)
    return rows["AU43_prob"].to_numpy(float) * rows["AU45_active"].astype("Float64").to_numpy(float, na_value=np.nan)


def au_summary(table: pd.DataFrame, au: str, face: int) -> dict[str, Any]:
    """How often, how long and how strongly one face shows an AU in the rows of one video.

    Returns:
        `share` of the face's frames in [0, 1], `spans` (see `episodes`), `mean_length` of them (nan without),
        `mean_prob`; `mean_intensity`, and `high_intensity`, which the strongest twentieth of the frames reach; nan
        where the AU has none.
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
        "mean_prob": _mean(rows, f"{au}_prob"),
        "mean_intensity": _mean(rows, f"{au}_intensity_pred"),
        "high_intensity": float(rows[name].quantile(HIGH))
        if (name := f"{au}_intensity_pred") in rows
        else float("nan"),
    }


def _mean(rows: pd.DataFrame, name: str) -> float:
    """Mean of a column; nan where there is none."""
    return float(rows[name].mean()) if name in rows else float("nan")


def wrap(notice: str | None, line: int = LINE, *, intensity: bool = False) -> str:
    """The footer of every figure, in lines that fit; without a notice, what the values are."""
    words = notice or meaning(intensity=intensity)
    return "\n".join(part for text in words.splitlines() for part in textwrap.wrap(text, line))


def photo_figure(predictor: AUPredictor, photo: ImagePrediction, *, notice: str | None = None) -> Any:
    """Draw the largest face of a photo with its action units, and the evidence maps of the predictor's network."""
    from auformer.report.faces import au_bars

    largest = photo.faces[0]
    maps = predictor.evidence_maps([largest.crop])
    several = f", largest of {len(photo.faces)} faces" if len(photo.faces) > 1 else ""
    return au_bars(
        largest.crop,
        list(predictor.au_names),
        largest.probs,
        predictor.thresholds,
        None if maps is None else maps[0],
        map_words=predictor.map_words,
        title=f"{PurePosixPath(photo.name).name}{several}",
        footer=wrap(notice, intensity=largest.intensity is not None),
        intensity=largest.intensity,
    )


def timeline_figure(table: pd.DataFrame, au_names: tuple[str, ...], *, title: str, notice: str | None = None) -> Any:
    """Draw the timeline of the face that the rows of one video show longest; None where there is no face."""
    from auformer.report.timeline import timeline

    names = shown_aus(table, au_names)
    series = main_series(table, names)
    if series is None:
        return None
    events = {au: au_summary(table, au, series.face)["spans"] for au in names}
    heading = f"{title}, face {series.face}" + (f" (of {series.others + 1})" if series.others else "")
    footer = wrap(notice, WIDE_LINE, intensity=series.intensity is not None)
    return timeline(
        series.frames.to_numpy(), series.probs, names, events,
        intensity=series.intensity, title=heading, footer=footer, unit=series.unit,
    )  # fmt: skip


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
        from auformer.report.faces import Evidence, evidence_grid

        aus = [au for au in self.au_names if au in self._best]
        maps = predictor.evidence_maps([self._best[au][1] for au in aus])
        if maps is None:
            return None
        tiles = {}
        for au, row in zip(aus, maps, strict=True):
            prob, crop, place = self._best[au]
            tiles[au] = Evidence(crop, row[self.au_names.index(au)], f"{prob:.2f}, {place}" if place else f"{prob:.2f}")
        return evidence_grid(tiles, title=title, footer=f"{predictor.map_words}\n{wrap(notice)}")


def small(image: np.ndarray, width: int) -> np.ndarray:
    """An image (H, W, 3) shrunk to a width in pixels."""
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

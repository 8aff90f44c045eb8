"""Figures of what was found, and when an AU is active over time."""

from __future__ import annotations

import textwrap
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from auformer.files import atomic_path
from auformer.predict.predictor import AUPredictor
from auformer.predict.types import ImagePrediction
from auformer.report.faces import Evidence, au_bars, evidence_grid
from auformer.report.timeline import timeline

_GAP = 3.5  # frame lengths without a row of the face that end an episode [ours]


def frame_length(times: np.ndarray) -> float:
    """Median distance of times (n,); 1 for fewer than two.

    >>> frame_length(np.array([0.0, 0.1, 0.2, 0.9]))
    0.1
    """
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def episodes(times: np.ndarray, active: np.ndarray) -> list[tuple[float, float]]:
    """Spans (begin, end) in which an AU is active without a break.

    Args:
        times: (n,) rising.
        active: (n,) bool; each frame lasts one median frame length.

    >>> episodes(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, True, True]))
    [(0.0, 2.0), (3.0, 5.0)]
    """
    length = frame_length(times)
    spans: list[list[float]] = []
    for time in times[np.asarray(active, bool)]:
        breaks = not spans or _is_break(times, spans[-1][1] - length, time, length)
        if breaks:
            spans.append([float(time), float(time) + length])
        else:
            spans[-1][1] = float(time) + length
    return [(begin, end) for begin, end in spans]


def _is_break(times: np.ndarray, last: float, now: float, length: float) -> bool:
    """Whether between two active frames lies one that is not, or a long gap."""
    between = np.searchsorted(times, now) - np.searchsorted(times, last + length / 2)
    return bool(between > 0) or now - last > _GAP * length


def times_of(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Times (n,) of rows and what they are: seconds, or numbers of frames where there are no time stamps."""
    times = table["time_s"] if "time_s" in table else pd.Series(np.nan, table.index)
    if times.isna().any():
        return table["frame"].to_numpy(float), "Frame"
    return times.to_numpy(float), "Time in seconds"


def main_face(table: pd.DataFrame) -> int | None:
    """The face with the most rows, the lowest number of equals; None without a face."""
    faces = table.loc[table["status"] == "ok", "face"]
    return None if faces.empty else int(faces.value_counts().sort_index().idxmax())


def au_summary(table: pd.DataFrame, au: str, face: int) -> dict[str, Any]:
    """How often and how long one face of a recording shows an AU.

    Args:
        table: rows of one recording.
        au: the AU.
        face: the face.

    Returns:
        `share` of the face's frames in [0, 1], `spans` (see `episodes`), `mean_length` of them (nan without), `mean_prob`.
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


def timeline_figure(
    table: pd.DataFrame, au_names: tuple[str, ...], *, title: str, notice: str | None = None, theme: str = "light"
) -> Any:
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
    return timeline(
        frames.to_numpy(),
        probs,
        au_names,
        events,
        title=heading,
        footer=wrap(notice, WIDE_LINE),
        unit=unit,
        theme=theme,
    )


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
        place = (
            ""
            if image.source.kind == "photo"
            else f"frame {image.frame}"
            if image.time_s is None
            else f"{image.time_s:.2f} s"
        )
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
    """A picture (H, W, 3) shrunk to a width in pixels."""
    if image.shape[1] <= width:
        return image
    return cv2.resize(
        image, (width, max(1, round(image.shape[0] * width / image.shape[1]))), interpolation=cv2.INTER_AREA
    )

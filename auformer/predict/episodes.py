"""When an AU is active: spans of time, their number and length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

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

"""When an action unit is active over time: how long a frame lasts, and episodes, the spans without a break.

The one definition, for figures, the page, exports and summaries.
"""

from __future__ import annotations

import numpy as np

GAP = 3.5  # frame lengths without a row of the face that end an episode [ours]


def frame_ends(times: np.ndarray) -> np.ndarray:
    """When each frame ends: at the next one, but no later than after the median frame length.

    Args:
        times: (n,) rising; n may be 0.

    Returns:
        (n,) in the unit of `times`; a single frame lasts 1.

    >>> frame_ends(np.array([0.0, 1.0, 2.0, 5.0])).tolist()
    [1.0, 2.0, 3.0, 6.0]
    """
    times = np.asarray(times, float)
    if len(times) < 2:
        return times + 1.0
    return np.minimum(np.append(times[1:], np.inf), times + usual_length(times))


def usual_length(times: np.ndarray) -> float:
    """The median frame length of rising times (n,); 1 where there is one frame only."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def runs(times: np.ndarray, active: np.ndarray, usual: float) -> np.ndarray:
    """First and last frame of each episode: no inactive frame lies in it, and no gap of more than `GAP` frame lengths.

    Args:
        times: (n,) rising; frames in which the face is not seen are left out.
        active: (n,) bool.
        usual: The usual frame length.

    Returns:
        (k, 2) positions in `times`, rising.

    >>> runs(np.array([0.0, 1.0, 2.0, 3.0, 9.0]), np.array([True, True, False, True, True]), 1.0).tolist()
    [[0, 1], [3, 3], [4, 4]]
    """
    places = np.flatnonzero(np.asarray(active, bool))
    if not len(places):
        return np.empty((0, 2), np.int64)
    breaks = (np.diff(places) > 1) | (np.diff(np.asarray(times, float)[places]) > GAP * usual)
    return np.column_stack((places[np.append(True, breaks)], places[np.append(breaks, True)]))


def episodes(times: np.ndarray, active: np.ndarray) -> list[tuple[float, float]]:
    """Spans (begin, end) in which an AU is active without a break.

    Args:
        times: (n,) rising.
        active: (n,) bool.

    >>> episodes(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, True, True]))
    [(0.0, 2.0), (3.0, 5.0)]
    """
    times = np.asarray(times, float)
    found, ends = runs(times, active, usual_length(times)), frame_ends(times)
    return list(zip(times[found[:, 0]].tolist(), ends[found[:, 1]].tolist(), strict=True))

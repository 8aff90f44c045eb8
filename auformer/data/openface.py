"""What tables of OpenFace 2 and of programs in its form have in common.

Columns: TadasBaltrusaitis/OpenFace `lib/local/Utilities/src/RecorderCSV.cpp`.
"""

from __future__ import annotations

import numpy as np

LANDMARKS = tuple(tuple(f"{axis}_{number}" for number in range(68)) for axis in "xy")  # pixels
TO_CORNER = 0.5  # pixels: OpenCV's origin, and so OpenFace's, is the centre of the first pixel; ours is its corner
_WHOLE = 0.02  # by which a first frame's number, computed from times, may miss a whole number [ours]
_ROUNDED = 0.001  # seconds, of OpenFace's three decimals


def first_frame(frames: np.ndarray, times: np.ndarray | None) -> int:
    """The number that the first frame of a video has in a table: 1 in OpenFace's, 0 in pyfaceau's.

    Args:
        frames: `(rows,)` whole numbers.
        times: `(rows,)` seconds, which start at 0 and rise with the frames; None where the table has none.

    >>> first_frame(np.array([3.0, 4.0, 5.0]), np.array([0.08, 0.12, 0.16])), first_frame(np.array([1.0, 2.0]), None)
    (1, 1)
    >>> first_frame(np.array([3.0, 4.0, 5.0]), np.array([0.12, 0.16, 0.20])), first_frame(np.array([0.0, 1.0]), None)
    (0, 0)
    """
    if len(frames) and frames.min() < 1:
        return 0
    if times is None or len(frames) < 2 or np.isnan(times).any() or np.ptp(frames) == 0 or np.ptp(times) == 0:
        return 1
    seconds = np.ptp(times) / np.ptp(frames)  # of a frame
    missed = np.abs(frames - times / seconds).max()  # 0 where frame 0 is at time 0
    return 0 if missed < max(_WHOLE, 2 * _ROUNDED / seconds) and missed < 0.5 else 1

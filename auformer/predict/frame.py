"""One picture of a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a recording, or a photo.

    Args:
        index: 0-based place in the recording, or the picture's own number in an image sequence; 0 for a photo.
        ordinal: 0-based place among the frames that are predicted.
        time_s: seconds from the beginning; None where there are no time stamps.
        image: (H, W, 3) uint8 RGB; None where one picture of an image sequence cannot be read.
        message: why it cannot.
    """

    index: int
    ordinal: int
    time_s: float | None
    image: np.ndarray | None
    message: str = ""

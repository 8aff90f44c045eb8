"""Faces of which some muscles act more on one side, which the labs' faces rarely show: to learn sides from [ours]."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from auformer.synthetic.frames import Frame, stream
from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.scanned.expressions import ONE_PIECE

WEAKER = 0.4  # the weaker side has at most this share of the stronger one's intensity [ours]
KEY = 5  # of the random stream, beside those of `auformer.synthetic.frames`
_CAN = np.array([name not in ONE_PIECE for name in AU_NAMES])


def uneven(frame: Frame, share: float, *, seed: int, identity: int) -> Frame:
    """A still in which each muscle that can act on one side does so with a chance of `share`.

    The weaker side, either with the same chance, gets 0 to `WEAKER` times what the stronger one has. The draws are a
    function of (seed, identity, frame), so all else about the data set stays as it was.
    """
    rng = stream(seed, identity, KEY, frame.number)
    chosen = (rng.random(len(AU_NAMES)) < share) & _CAN
    column, factor = rng.integers(2, size=len(AU_NAMES)), rng.uniform(0, WEAKER, len(AU_NAMES))
    strongest = frame.intensity.max(1)
    sides = np.repeat(strongest[:, None], 2, 1)
    sides[np.arange(len(AU_NAMES)), column] *= factor
    return replace(frame, intensity=np.where(chosen[:, None], sides, frame.intensity).astype(np.float32))

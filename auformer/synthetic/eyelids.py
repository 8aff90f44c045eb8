"""Eyelids over time: blinks at a person's rate, and closures that last, which are no blinks.

Blinks come about 17 times a minute at rest (Bentivoglio et al., Movement Disorders 12, 1997, 1028-1034) and last 0.1 to
0.4 s (BioNumbers, "average duration of a single eye blink"); a lid goes down faster than up. Closing for longer is AU43
alone. The rest is ours: rates of 10 to 20 a minute by person and video, waits that are exponential above a shortest
one, nearly complete closures.
"""

from __future__ import annotations

import numpy as np

RATE = (10.0, 20.0)  # blinks a minute
BLINK_S = (0.1, 0.4)  # from the first movement to the last
SHORTEST_WAIT_S = 0.5  # between two movements of the lids
COURSE = (0.25, 0.25, 0.5)  # shares of a blink: closing, shut, opening
DEPTH = (0.9, 1.0)  # AU43 at the lowest place of the lid
LONG_EVERY_S = 60.0  # mean time between long closures
LONG_S, LONG_RAMP_S = (0.9, 2.0), 0.15  # how long they last with their two ramps


def lid_course(rng: np.random.Generator, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """How far the lids are down in each frame of a video.

    Returns:
        AU43 in [0, 1], float32 (frames,), and the number of the blink that a frame belongs to, counted from 1, 0 where
        there is none, int64 (frames,). No movement touches the first or the last frame.
    """
    time_s = np.arange(frames) / fps
    closure, number = np.zeros(frames), np.zeros(frames, np.int64)
    wait = 60 / rng.uniform(*RATE) - np.mean(BLINK_S) - SHORTEST_WAIT_S
    at, count = rng.uniform(0.1, 1.0) * (wait + SHORTEST_WAIT_S), 0
    while True:
        is_long = rng.random() < (wait + 1) / LONG_EVERY_S
        length, depth = rng.uniform(*(LONG_S if is_long else BLINK_S)), rng.uniform(*DEPTH)
        if at + length > time_s[-1] - 1 / fps:
            return closure.astype(np.float32), number
        ramps = (LONG_RAMP_S, LONG_RAMP_S) if is_long else (COURSE[0] * length, COURSE[2] * length)
        down, up = (time_s - at) / ramps[0], (at + length - time_s) / ramps[1]
        closure += depth * (0.5 - 0.5 * np.cos(np.pi * np.clip(np.minimum(down, up), 0, 1)))
        if not is_long:
            count += 1
            number[(time_s > at) & (time_s < at + length)] = count
        at += length + SHORTEST_WAIT_S + rng.exponential(wait)

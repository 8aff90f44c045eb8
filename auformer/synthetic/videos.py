"""Videos of one face: expressions that come and go with rest between, talk, a drifting head, gaze, and blinks [ours].

An expression is what `sample_aus` draws, so that AUs come together as in stills; each AU rises and falls by the raised
cosine of micro-expression clips, a little earlier or later than the others. Lids have a course of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from auformer.synthetic.clips import clip_profile
from auformer.synthetic.eyelids import lid_course
from auformer.synthetic.frames import VIDEO, Frame, SceneOptions, identity_number, stream
from auformer.synthetic.muscles import AU_NAMES, INDEX
from auformer.synthetic.sampling import SPEECH_RATE, sample_aus

EPISODES, PER_EPISODE_S = (
    (2, 4),
    (15.0, 7.5),
)  # expressions in one video of up to 30 s; in a longer one, one per so long
SHORTEST_EPISODE_S, REST_S = 0.8, 0.4  # an expression, and the pause on either side of it, at least
SPREAD = 0.15  # by so much of an episode an AU may begin later or end earlier than it
DRIFT, DRIFT_S = (0.05, 0.035, 0.03), (3.0, 9.0)  # sd of the head's turn in radians; periods of its waves in seconds
FIXATION_S = (0.4, 2.5)  # how long the eyes rest on one place
SHORTEST_TALK_S = 0.3
TALK_S, SYLLABLES = (0.8, 2.5), (3.0, 5.0)  # length of a stretch of talk, syllables a second
TALK_SHARE = 4 * SPEECH_RATE  # of the rests; with rests of about a third of the time about the share of stills


def plan_video(
    lab: str, number: int, index: int, frames: int, fps: float, *, seed: int, options: SceneOptions
) -> list[Frame]:
    """All frames of one video of a subject."""
    rng = stream(seed, identity_number(lab, number), VIDEO, index)
    scene, background = options.sample(rng, lab)
    lids, blink = lid_course(rng, frames, fps)
    episodes = _episodes(rng, frames, fps)
    intensity = _expressions(rng, lab, frames, episodes)
    _close_eyes(intensity, lids)
    speech = _talk(rng, frames, fps, episodes)
    pose, gaze = _drift(rng, scene["pose"], frames, fps, options), _look(rng, frames, fps)
    background_seed = int(rng.integers(2**31))
    return [
        Frame(
            f"video{index:03d}", t, intensity[t], {**scene, "pose": pose[t], "gaze": gaze[t], "speech": speech[t]},
            background, background_seed, noise_seed, time_s=t / fps, truth={"blink": int(blink[t])},
        )
        for t, noise_seed in enumerate(rng.integers(2**31, size=frames).tolist())
    ]  # fmt: skip


def plan_videos(
    lab: str, number: int, videos: int, frames: int, fps: float, *, seed: int = 0, options: SceneOptions | None = None
) -> Iterator[Frame]:
    """Videos of one subject of a lab, frame by frame; the face does not depend on the seed."""
    for index in range(videos):
        yield from plan_video(lab, number, index, frames, fps, seed=seed, options=options or SceneOptions())


def fewest_frames(fps: float) -> int:
    """Frames of the shortest video: two expressions, three rests.

    >>> fewest_frames(25)
    70
    """
    rest, shortest = math.ceil(REST_S * fps), math.ceil(SHORTEST_EPISODE_S * fps)
    return EPISODES[0] * shortest + (EPISODES[0] + 1) * rest


def _episodes(rng: np.random.Generator, frames: int, fps: float) -> list[tuple[int, int]]:
    """First frame and length of each expression; rests are left between them and at both ends."""
    rest, shortest = math.ceil(REST_S * fps), math.ceil(SHORTEST_EPISODE_S * fps)
    fewest, most = (max(n, int(frames / fps / each)) for n, each in zip(EPISODES, PER_EPISODE_S, strict=True))
    count = int(rng.integers(fewest, min(most, (frames - rest) // (rest + shortest)) + 1))
    spare = frames - rest - count * (rest + shortest)
    shares = rng.dirichlet(np.ones(2 * count + 1))  # who gets the rest of the time: expressions and pauses alike
    extra = np.floor(shares * spare).astype(int)
    planned, at = [], 0
    for k in range(count):
        at += rest + int(extra[2 * k])
        length = shortest + int(extra[2 * k + 1])
        planned.append((at, length))
        at += length
    return planned


def _expressions(rng: np.random.Generator, lab: str, frames: int, episodes: list[tuple[int, int]]) -> np.ndarray:
    """Intensity `(frames, N, 2)` float32 of the expressions, without the lids' own movements."""
    out = np.zeros((frames, len(AU_NAMES), 2), np.float32)
    for first, length in episodes:
        _, peak = sample_aus(rng, lab)
        while not (peak.max(1) > 0.1).any():  # an episode shows something
            _, peak = sample_aus(rng, lab)
        peak[INDEX["AU43"]] = 0
        together = np.zeros((length, len(AU_NAMES)), np.float32)
        for au in np.flatnonzero(peak.max(1)):
            late, early = rng.uniform(0, SPREAD, 2) * length
            span = length - int(late) - int(early)
            apex = max(1, round(span * rng.uniform(0.2, 0.45)))
            hold = int(rng.uniform(0.1, 0.4) * span)
            course = clip_profile(span, apex, min(hold, span - 2 - apex))
            together[int(late) : int(late) + span, au] = course
        out[first : first + length] += together[..., None] * peak
    return out


def _close_eyes(intensity: np.ndarray, lids: np.ndarray) -> None:
    """Lids that come down; while they do, none is raised (AU5). `intensity (frames, N, 2)` in place."""
    intensity[:, INDEX["AU43"]] = lids[:, None]
    intensity[lids > 0, INDEX["AU5"]] = 0


def _talk(rng: np.random.Generator, frames: int, fps: float, episodes: list[tuple[int, int]]) -> list[dict[str, float]]:
    """Speech of each frame: in some rests the mouth opens and shuts with the syllables, without a label."""
    time_s, parts = np.arange(frames) / fps, np.zeros((3, frames))
    begins = [0, *(first + length for first, length in episodes)]
    ends = [*(first for first, _ in episodes), frames]
    for begin, end in zip(begins, ends, strict=True):
        talks, length, rate = rng.random() < TALK_SHARE, rng.uniform(*TALK_S), rng.uniform(*SYLLABLES)
        strengths = rng.uniform((0.15, 0.05, 0.0), (0.45, 0.30, 0.09))  # at most as in stills
        count = min(end - begin, round(length * fps))
        if talks and count >= SHORTEST_TALK_S * fps:
            wave = 0.5 - 0.5 * np.cos(2 * np.pi * rate * time_s[:count])
            fade = np.minimum(1, np.arange(count)[::-1] / (0.1 * fps))
            parts[:, begin : begin + count] = strengths[:, None] * wave * fade
    return [dict(zip(("open", "jaw", "pucker"), column, strict=True)) for column in parts.T.tolist()]


def _drift(
    rng: np.random.Generator, pose: Any, frames: int, fps: float, options: SceneOptions
) -> list[tuple[float, float, float]]:
    """Yaw, pitch and roll of each frame: three slow waves on each axis about the scene's pose."""
    time_s, sd = np.arange(frames) / fps, np.array(DRIFT) * min(1.0, options.pose_scale) * (1, 1, float(options.roll))
    periods, phases = rng.uniform(*DRIFT_S, (3, 3)), rng.uniform(0, 2 * np.pi, (3, 3))
    waves = np.sin(2 * np.pi * time_s[:, None, None] / periods + phases).sum(-1) * np.sqrt(2 / 3)
    return [(yaw, pitch, roll) for yaw, pitch, roll in np.clip(np.asarray(pose) + sd * waves, -0.45, 0.45).tolist()]


def _look(rng: np.random.Generator, frames: int, fps: float) -> list[tuple[float, float]]:
    """Gaze of each frame: one place after another, with jumps between."""
    looks: list[tuple[float, float]] = []
    while len(looks) < frames:
        x, y = np.clip(rng.normal((0, 0.05), (0.3, 0.25)), (-0.9, -0.8), (0.9, 0.8)).tolist()
        looks += [(x, y)] * max(1, round(rng.uniform(*FIXATION_S) * fps))
    return looks[:frames]

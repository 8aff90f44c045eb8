"""Micro-expression clips: one or two action units (AUs) that come and go faintly, with known course [ours].

The shape follows the micro-expression sets: 24 to 48 frames from onset to offset, a peak at FACS level 1 or 2, one
face, one light, one background; the head drifts by about a hundredth of a radian and camera noise is drawn anew for
each frame. The numbers are ours (a raised cosine is a rise without a jolt); real ones vary more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from auformer.synthetic.frames import CLIP, Frame, SceneOptions, identity_number, stream, subject_name
from auformer.synthetic.muscles import AU_NAMES

SHORTEST, LONGEST = 24, 48  # frames from onset to offset, both counted
PEAK = (0.15, 0.45)  # FACS level 1 to 2 of 5
DRIFT = 0.01  # sd of the head's turn over a clip, rad, each axis
TWO_AUS = 0.5  # share of clips with a second AU
ONE_SIDED = 0.15  # share of AUs that act on one side only
#: AUs that are seen together in spontaneous faces; a second AU is drawn from here when it is among those asked for.
COMPANIONS = {
    "AU1": ("AU2", "AU4", "AU5"), "AU2": ("AU1", "AU5"), "AU4": ("AU1", "AU7", "AU9"), "AU5": ("AU1", "AU2"),
    "AU6": ("AU7", "AU12"), "AU7": ("AU4", "AU6"), "AU9": ("AU4", "AU10"), "AU10": ("AU9", "AU25"),
    "AU11": ("AU1", "AU15"), "AU12": ("AU6", "AU25"), "AU14": ("AU12", "AU17"), "AU15": ("AU1", "AU17"),
    "AU16": ("AU25", "AU10"), "AU17": ("AU14", "AU15", "AU24"), "AU18": ("AU17", "AU4"), "AU20": ("AU1", "AU25"),
    "AU22": ("AU25", "AU23"), "AU23": ("AU14", "AU17"), "AU24": ("AU14", "AU17"), "AU25": ("AU12", "AU26"),
    "AU26": ("AU5", "AU25"), "AU27": ("AU5", "AU25"), "AU28": ("AU26", "AU14"), "AU43": ("AU4", "AU7"),
}  # fmt: skip


def clip_profile(frames: int, apex: int, hold: int) -> np.ndarray:
    """Intensity over a clip relative to its peak: raised cosine up, a plateau, raised cosine down.

    Args:
        frames: Length, onset and offset included.
        apex: First frame at the peak, at least 1.
        hold: Further frames at the peak, at least 0.

    Returns:
        `(frames,)` float32 in [0, 1], 0 at the first and the last frame.

    Raises:
        ValueError: Rise, plateau and fall do not fit.

    >>> clip_profile(6, 2, 1).round(2).tolist()
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if not 1 <= apex <= apex + hold < frames - 1:
        raise ValueError(
            f"Expected 1 <= `apex` <= `apex` + `hold` < {frames - 1} in a clip of {frames}, but got {apex} and {hold}"
        )
    t = np.arange(frames)
    progress = np.minimum(np.clip(t / apex, 0, 1), np.clip((frames - 1 - t) / (frames - 1 - apex - hold), 0, 1))
    return (0.5 - 0.5 * np.cos(np.pi * progress)).astype(np.float32)


def choose_aus(rng: np.random.Generator, au_names: Sequence[str], turn: int) -> list[str]:
    """The one or two AUs of a clip: the first in turn, so that few clips cover the list, the second a companion."""
    first = au_names[turn % len(au_names)]
    second = [name for name in COMPANIONS[first] if name in au_names]
    if second and rng.random() < TWO_AUS:
        return [first, second[int(rng.integers(len(second)))]]
    return [first]


def peak_intensity(rng: np.random.Generator, names: Sequence[str]) -> np.ndarray:
    """Intensity `(N, 2)` at the apex.

    The stronger side of each AU is at its peak, the other a little below, or at rest.
    """
    peak = np.zeros((len(AU_NAMES), 2), np.float32)
    for name in names:
        weaker = 0.0 if rng.random() < ONE_SIDED else float(rng.uniform(0.7, 1.0))
        strong = int(rng.integers(2))
        value = rng.uniform(*PEAK)
        peak[AU_NAMES.index(name), strong] = value
        peak[AU_NAMES.index(name), 1 - strong] = value * weaker
    return peak


def plan_clip(
    lab: str, number: int, index: int, turn: int, au_names: Sequence[str], *, seed: int, options: SceneOptions
) -> list[Frame]:
    """All frames of one clip, from onset to offset.

    `turn` counts the clips of all subjects, the rest is as in `plan_clips`.
    """
    rng = stream(seed, identity_number(lab, number), CLIP, index)
    frames = int(rng.integers(SHORTEST, LONGEST + 1))
    apex = round(frames * rng.uniform(0.25, 0.45))
    profile = clip_profile(frames, apex, int(rng.integers(1, 1 + frames // 8)))
    peak = peak_intensity(rng, choose_aus(rng, au_names, turn))
    scene, background = options.sample(rng, lab)
    scene = {**scene, "speech": dict.fromkeys(scene["speech"], 0.0)}
    drift = rng.normal(0, DRIFT, 3) * (1, 1, float(options.roll))
    background_seed, onset = int(rng.integers(2**31)), int(rng.integers(200))
    sequence, pose = f"clip{index:03d}", np.asarray(scene["pose"], float)
    columns = {
        "clip": f"{subject_name(lab, number)}_{sequence}", "onset": onset, "apex": onset + apex,
        "offset": onset + frames - 1,
    }  # fmt: skip
    plan = []
    for t, noise_seed in enumerate(rng.integers(2**31, size=frames).tolist()):
        turned = {**scene, "pose": tuple((pose + drift * t / (frames - 1)).tolist())}
        plan.append(
            Frame(
                sequence,
                onset + t,
                peak * profile[t],
                turned,
                background,
                background_seed,
                noise_seed,
                peak > 0,
                columns,
            )
        )
    return plan


def plan_clips(
    lab: str, number: int, clips: int, au_names: Sequence[str], *, seed: int = 0, options: SceneOptions | None = None
) -> Iterator[Frame]:
    """Clips of one subject of a lab, a row for every frame from onset to offset.

    Frame numbers begin anywhere, as in a longer video. AUs are chosen from `au_names`; the face does not depend on the
    seed.
    """
    for index in range(clips):
        yield from plan_clip(
            lab, number, index, number * clips + index, au_names, seed=seed, options=options or SceneOptions()
        )

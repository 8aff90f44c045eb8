"""What happens in front of the camera: correlated AUs with their intensities, and the scenes of two labs [ours].

Lab A stands for a set like BP4D (expressive, frontal light, dark wall, occurrence from level A on), lab B for one like
DISFA (sparser, warm side light, more pose, blur, noise and JPEG, occurrence from level B on). Rates, shared causes and
pose spreads are in `assets/labs.json`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from statistics import NormalDist
from typing import Any

import numpy as np

from auformer.synthetic.canvas import Array
from auformer.synthetic.muscles import AU_NAMES, INDEX, LATER
from auformer.synthetic.pairs import choose, silenced

LABS = ("A", "B")
NUM_AUS = len(AU_NAMES)
FIRST = tuple(name for name in AU_NAMES if name not in LATER)
#: AUs are drawn in this order, and returned in that of `AU_NAMES`.
DRAWN = (*FIRST, *LATER)
_OLD, _NEW = slice(0, len(FIRST)), slice(len(FIRST), NUM_AUS)
_BACK = [DRAWN.index(name) for name in AU_NAMES]
LOADING_CAP = 0.85  # share of an AU's variance that the shared causes may take together
SPEECH_RATE = 0.10  # share of images in which the subject talks, which no AU label shows
#: How far the halves of `LATER` differ, sd of the lean, and which may act on one side only: a jaw is one bone, lips are
#: one ring, and one closed eye is a wink (AU46).
LATER_LEAN = np.array([0.10, 0.10, 0.04, 0.04, 0.02, 0.04, 0.02])
ONE_SIDED = np.array([name in ("AU11", "AU16") for name in LATER])
#: What an AU brings with it: how often, and at which intensities. Sucked-in lips need room between the teeth, lips that
#: are pulled down or turned out mostly part, and a stretched jaw always parts them, the further the wider.
BROUGHT = (("AU28", "AU26", 0.75, (0.15, 0.5)), ("AU16", "AU25", 0.6, (0.2, 0.8)), ("AU22", "AU25", 0.5, (0.2, 0.8)))


@cache
def _table() -> dict[str, Any]:
    return json.loads(files("auformer").joinpath("assets/labs.json").read_text(encoding="utf-8"))


def lab_table(lab: str) -> dict[str, Any]:
    """A lab's `au_set`, occurrence `level`, latent `rates` by AU and `pose` spread in radians.

    Raises:
        ValueError: There is no such lab.
    """
    if lab not in LABS:
        raise ValueError(f"Expected `lab` to be one of {', '.join(LABS)}, but got {lab!r}")
    return _table()["labs"][lab]


@cache
def _loadings() -> tuple[Array, Array]:
    """Loadings of the shared causes `(F, N)` and what is left to each AU alone `(N,)`, in the order of `DRAWN`."""
    loadings = np.array([[cause.get(name, 0.0) for name in DRAWN] for cause in _table()["factors"]])
    loadings /= np.maximum(1, np.sqrt((loadings**2).sum(0) / LOADING_CAP))
    return loadings, np.sqrt(1 - (loadings**2).sum(0))


@cache
def _cutoffs(lab: str) -> Array:
    return np.array([NormalDist().inv_cdf(1 - lab_table(lab)["rates"][name]) for name in DRAWN])


def sample_aus(rng: np.random.Generator, lab: str = "A", strength: float = 1.0) -> tuple[Array, Array]:
    """Which AUs act, and how strongly: a Gaussian copula with one factor per cause.

    `strength` is a factor on the intensities of active AUs. The AUs in `muscles.LATER` draw from a stream that is
    spawned from `rng`: they share the causes of the others, and where none of them acts, the others are as they would
    be without them. `pairs` says what cannot act together.

    Returns:
        Occurrence `(N,)` bool, and intensity `(N, 2)` float32 in [0, 1], columns image left and image right. An AU that
        does not occur may show a trace of at most 0.08.
    """
    later = rng.spawn(1)[0]
    loadings, own = _loadings()
    shared = rng.standard_normal(len(loadings)) @ loadings - _cutoffs(lab)
    cause = shared + own * np.concatenate([rng.standard_normal(len(FIRST)), later.standard_normal(len(LATER))])
    on = cause > 0
    _settle_lips(rng, on, cause)
    level, trace, one_sided = _strengths(rng, len(FIRST))
    leaning = rng.normal(0, 0.10, len(FIRST)) + one_sided
    more_level, more_trace, one_sided = _strengths(later, len(LATER))
    more_leaning = later.normal(0, LATER_LEAN) + one_sided * ONE_SIDED
    more_level[LATER.index("AU43")] = 0.18 + 1.17 * later.random()  # lids that come down mostly come down all the way
    on = choose(on[_BACK], cause[_BACK])
    level = np.minimum(np.concatenate([level, more_level])[_BACK] * strength, 1)
    a = np.where(on, level, np.concatenate([trace, more_trace])[_BACK])
    _bring(later, on, a, strength)
    a[silenced(on)] = 0
    lean = np.minimum(np.maximum(np.concatenate([leaning, more_leaning])[_BACK], -0.6), 0.6)
    sides = np.stack([a * (1 - np.maximum(lean, 0)), a * (1 + np.minimum(lean, 0))], 1)
    return on, sides.astype(np.float32)


def _settle_lips(rng: np.random.Generator, on: Array, cause: Array) -> None:
    """Pressed lips are not parted, and a jaw that drops mostly parts them; `on (N,)`, as drawn, in place."""
    pressed, parted, jaw = (DRAWN.index(name) for name in ("AU24", "AU25", "AU26"))
    if on[pressed] and (on[parted] or on[jaw]):
        if cause[pressed] > cause[parted]:
            on[parted] = on[jaw] = False
        else:
            on[pressed] = False
    if on[jaw] and not on[parted] and rng.random() < 0.9:
        on[parted] = not on[pressed]


def _strengths(rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    """Intensity of an AU that acts, trace of one that does not, and what one side lacks, each (count,)."""
    level = 0.18 + 0.82 * rng.beta(1.25, 1.9, count)
    trace = np.where(rng.random(count) < 0.15, rng.uniform(0, 0.08, count), 0)
    return level, trace, (rng.random(count) < 0.06) * rng.choice([-0.5, 0.5], count)


def _bring(rng: np.random.Generator, on: Array, a: Array, strength: float) -> None:
    """What AUs bring with them; `on` and intensity `a`, each (N,), in place."""
    for name, other, share, (low, high) in BROUGHT:
        chance, part = rng.random(2)
        if on[INDEX[name]] and not on[INDEX[other]] and chance < share:
            on[INDEX[other]], a[INDEX[other]] = True, min(1.0, (low + (high - low) * part) * strength)
    stretched, parted = INDEX["AU27"], INDEX["AU25"]
    if on[stretched]:
        on[parted], a[parted] = True, max(a[parted], 0.4 + 0.6 * a[stretched])


def facs_level(intensity: Array) -> Array:
    """FACS level 0-5 of intensities `(..., 2)` per side in [0, 1]: `floor(5 max(left, right) + 0.5)`.

    >>> facs_level(np.array([[0.09, 0.0], [0.1, 0.0], [0.3, 1.0]])).tolist()
    [0, 1, 5]
    """
    # Rounded to 1e-6, so that 0.1 in single precision is still level A.
    return np.floor(np.round(5 * np.asarray(intensity, float).max(-1), 6) + 0.5).astype(int)


def sample_scene(
    rng: np.random.Generator, lab: str = "A", *, pose_scale: float = 1.0, jitter: bool = True, roll: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head pose, crop, light, camera, gaze and speech of one image, and its background.

    `pose_scale` is a factor on the spread of yaw, pitch and roll; `jitter` moves the crop a little, as an aligner does;
    `roll` lets the head roll within the crop.

    Returns:
        The scene for `Renderer.render`, and the settings for `Renderer.background`.
    """
    light, camera, background = _lab_a(rng) if lab_table(lab) is lab_table("A") else _lab_b(rng)
    yaw, pitch, tilt = (float(np.clip(rng.normal(0, sd * pose_scale), -0.45, 0.45)) for sd in lab_table(lab)["pose"])
    moved = rng.normal(0, 0.05), rng.normal(0, 0.05), float(np.exp(rng.normal(0, 0.045)))
    rng.random()  # once decided about a blink, which AU43 shows now: the rest of the scene stays what it was
    gaze = float(np.clip(rng.normal(0, 0.3), -0.9, 0.9)), float(np.clip(rng.normal(0.05, 0.25), -0.8, 0.8))
    scene = {
        "pose": (yaw, pitch, tilt if roll else 0.0), "jitter": moved if jitter else (0.0, 0.0, 1.0), "light": light,
        "camera": camera, "gaze": gaze, "speech": _sample_speech(rng),
    }  # fmt: skip
    return scene, background


def _sample_speech(rng: np.random.Generator) -> dict[str, float]:
    """Lips apart, jaw and pucker of a talking mouth; mostly none.

    Real photographs taught us that talk must not look like effort. The pucker stays below what a coder would call AU18.
    """
    talks = rng.random() < SPEECH_RATE
    lips, jaw, pucker = rng.uniform(0.05, 0.45), rng.uniform(0, 0.30), rng.uniform(0, 0.09)
    return (
        {"open": float(lips), "jaw": float(jaw), "pucker": float(pucker)}
        if talks
        else {"open": 0.0, "jaw": 0.0, "pucker": 0.0}
    )


def _lab_a(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Light, camera and wall of lab A."""
    n = rng.normal
    light = {
        "dir": (n(0.25, 0.25), n(-0.45, 0.12), 0.85), "key": n(0.98, 0.07), "amb": n(0.30, 0.04),
        "color": (1.0, 0.97, 0.93), "amb_color": (0.97, 1.0, 1.05), "fill": 0.12,
    }  # fmt: skip
    camera = {
        "gain": (1.02, 1.0, 0.97), "exposure": float(np.exp(n(0.05, 0.10))), "contrast": n(1.02, 0.04),
        "saturation": n(1.0, 0.06), "vignette": 0.10, "blur": abs(n(0.25, 0.2)), "noise": abs(n(0.008, 0.003)),
    }  # fmt: skip
    return light, camera, {"level": rng.uniform(0.03, 0.12), "tint": (0.9, 1.0, 1.1), "busy": 0.25}


def _lab_b(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Light, camera and wall of lab B."""
    n, side = rng.normal, rng.choice([-1, 1])
    light = {
        "dir": (side * abs(n(0.75, 0.25)), n(-0.25, 0.2), 0.60), "key": n(0.80, 0.10), "amb": n(0.34, 0.06),
        "color": (1.0, 0.90, 0.76), "amb_color": (0.90, 0.98, 1.10), "fill": 0.2,
    }  # fmt: skip
    camera = {
        "gain": (1.08, 0.98, 0.86), "exposure": float(np.exp(n(-0.10, 0.18))), "contrast": n(0.90, 0.05),
        "saturation": n(0.82, 0.08), "vignette": 0.45, "blur": abs(n(0.75, 0.25)), "noise": abs(n(0.016, 0.005)),
        "jpeg": int(rng.integers(45, 85)),
    }  # fmt: skip
    return light, camera, {"level": rng.uniform(0.10, 0.45), "tint": (1.1, 1.0, 0.82), "busy": 1.3}

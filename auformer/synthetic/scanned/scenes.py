"""What stands around a scanned face in one image: pose, lens, light from anywhere, camera, things in front [ours].

Press photographs were the yardstick: flash and overhead sun, side light, faces that look away, grey prints, small
files. Nothing here depends on the expression.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLINKS = 0.03  # share of images with a blink

TALKS = 0.04  # share of images with a trace of talk below any label; the sampler of expressions draws speech itself


def sample_scene(
    rng: np.random.Generator, *, pose_scale: float = 1.0, jitter: bool = True, roll: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scene and background settings of one image, for `ScannedRenderer.render` and `.background`.

    Args:
        rng: Draws everything.
        pose_scale: Factor on the spread of yaw, pitch and roll.
        jitter: Whether the crop varies around the `eyes` recipe.
        roll: Whether the head rolls.
    """
    yaw, pitch, tilt = (
        float(np.clip(rng.normal(m, sd * pose_scale), -c, c))
        for m, sd, c in ((0, 0.24, 0.75), (0, 0.13, 0.4), (0, 0.07, 0.3))
    )
    moved = rng.normal(0, 0.05), rng.normal(0, 0.05), float(np.exp(rng.normal(0, 0.055)))
    blink = float(np.clip(rng.uniform(0.3, 1.1), 0, 1)) if rng.random() < BLINKS else 0.0
    looks = rng.random() < 0.25
    gaze = (
        (float(np.clip(rng.normal(0, 0.55), -1, 1)), float(np.clip(rng.normal(0.1, 0.4), -0.8, 0.9)))
        if looks
        else (
            float(np.clip(rng.normal(-yaw * 0.6, 0.2), -1, 1)),
            float(np.clip(rng.normal(-pitch * 0.5, 0.15), -0.7, 0.8)),
        )
    )
    scene = {
        "pose": (yaw, pitch, tilt if roll else 0.0), "jitter": moved if jitter else (0.0, 0.0, 1.0),
        "near": float(rng.choice([0.02, rng.uniform(0.02, 0.11)])), "light": sample_light(rng),
        "camera": sample_camera(rng), "gaze": gaze, "blink": blink, "speech": _trace(rng), "worn": _worn(rng),
    }  # fmt: skip
    return scene, sample_background(rng)


def _trace(rng: np.random.Generator) -> dict[str, float]:
    if rng.random() >= TALKS:
        return {"open": 0.0, "jaw": 0.0, "pucker": 0.0}
    return {
        "open": float(rng.uniform(0, 0.09)),
        "jaw": float(rng.uniform(0, 0.09)),
        "pucker": float(rng.uniform(0, 0.09)),
    }


def _worn(rng: np.random.Generator) -> dict[str, float]:
    """Whether hat and glasses of the subject are on, what stands in front of the face, and where from."""
    front = rng.random()
    return {
        "hat": float(rng.random() < 0.6), "glasses": float(rng.random() < 0.85), "glare": float(rng.random() < 0.3),
        "hand": float(front < 0.045), "microphone": float(0.045 <= front < 0.085), "seed": int(rng.integers(2**31)),
    }  # fmt: skip


def _colour(rng: np.random.Generator, warm: float, spread: float = 0.05) -> tuple[float, float, float]:
    """A white that is warm (+) or cool (-)."""
    tint = 1 + warm * np.array([0.15, 0.01, -0.20]) + rng.normal(0, spread, 3)
    return tuple(float(v) for v in np.clip(tint, 0.4, 1.6))  # type: ignore[return-value]


#: Of each kind of light: bounds of the strengths of key, sky and ground, of the shadow's depth and its softness in IPD.
LIGHTS = (
    ((0.6, 1.1), (0.20, 0.50), (0.12, 0.35), (0.5, 0.90), (0.020, 0.08)),  # studio
    ((0.7, 1.3), (0.12, 0.40), (0.08, 0.25), (0.5, 0.95), (0.030, 0.10)),  # window
    ((0.9, 1.6), (0.15, 0.45), (0.10, 0.40), (0.8, 1.00), (0.010, 0.03)),  # overhead sun
    ((0.7, 1.2), (0.05, 0.25), (0.04, 0.20), (0.7, 1.00), (0.010, 0.03)),  # flash
    ((0.8, 1.5), (0.03, 0.20), (0.03, 0.15), (0.7, 1.00), (0.015, 0.05)),  # stage
    ((0.1, 0.4), (0.50, 0.90), (0.15, 0.45), (0.2, 0.60), (0.060, 0.12)),  # dull sky
)
FLASH = 3


def sample_light(rng: np.random.Generator) -> dict[str, Any]:
    """Light of one of six kinds: studio, window, overhead sun, flash, stage, dull sky."""
    n, u = rng.normal, rng.uniform
    side = float(rng.choice([-1, 1]))
    kind = int(rng.choice(6, p=(0.26, 0.20, 0.15, 0.15, 0.10, 0.14)))
    direction = (
        (n(0.3, 0.45), -abs(n(0.5, 0.25)), 0.8), (side * u(0.5, 1.4), n(-0.2, 0.3), u(0.1, 0.8)),
        (n(0, 0.5), -u(0.8, 1.8), u(0.1, 0.9)), (n(0, 0.12), n(-0.12, 0.1), 1.0),
        (n(0, 0.9), n(-0.3, 0.7), u(-0.3, 0.7)), (n(0, 0.6), -abs(n(0.8, 0.4)), 0.7),
    )[kind]  # fmt: skip
    key, sky, ground, shadow, soft = (u(*bounds) for bounds in LIGHTS[kind])
    warm = n(0.0, 0.45)
    return {
        "dir": direction, "key": float(key), "color": _colour(rng, warm), "amb": float(sky),
        "amb_color": _colour(rng, -0.6 * warm + n(0, 0.3)), "ground": float(ground),
        "ground_color": _colour(rng, n(0.3, 0.4)),
        "up": (n(0, 0.3), -1.0, n(0.25, 0.3)), "second_dir": (-side * u(0.3, 1.2), n(-0.2, 0.4), u(-0.5, 0.9)),
        "second": float(u(0.0, 0.45) if rng.random() < 0.6 else 0.0), "second_color": _colour(rng, n(0, 0.5)),
        "shine": float(np.exp(n(0.0, 0.5))) * (1.5 if kind == FLASH else 1.0),
        "shadow": float(shadow), "soft": float(soft),
    }  # fmt: skip


def sample_camera(rng: np.random.Generator) -> dict[str, Any]:
    """Exposure, colour, focus, resolution, noise, compression."""
    n, u = rng.normal, rng.uniform
    poor = rng.random() < 0.22
    return {
        "exposure": float(np.exp(n(0.02, 0.18))), "auto": float(u(0.3, 0.95)),
        "gain": _colour(rng, n(0, 0.25), 0.02),
        "contrast": float(np.exp(n(0.05, 0.18))), "gamma": float(np.exp(n(0, 0.12))),
        "saturation": float(np.clip(n(0.85, 0.2), 0.15, 1.35)),
        "grey": float(rng.random() < 0.30), "vignette": float(u(0, 0.35)), "blur": float(abs(n(0, 0.35))),
        "motion": float(u(1, 3)) if rng.random() < 0.06 else 0.0, "angle": float(u(0, np.pi)),
        "low": float(u(0.35, 0.9)) if poor else 1.0, "sharpen": float(u(0.2, 1.2)) if rng.random() < 0.25 else 0.0,
        "noise": float(abs(n(0.002, 0.005))), "chroma": float(abs(n(0.0, 0.004))),
        "jpeg": int(rng.integers(25, 96)) if rng.random() < 0.7 else 0,
    }  # fmt: skip


def sample_background(rng: np.random.Generator) -> dict[str, Any]:
    """Settings of the background: brightness, colour, how busy, shapes out of focus."""
    level = float(np.exp(rng.uniform(np.log(0.01), np.log(0.7))))
    tint = tuple(float(v) for v in 1 + rng.normal(0, 0.2, 3))
    return {"level": level, "tint": tint, "busy": float(rng.uniform(0.1, 2.0)), "shapes": int(rng.integers(0, 7))}

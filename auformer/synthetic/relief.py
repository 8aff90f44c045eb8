"""The resting height field of a face: skull, nose, lips' muzzle, folds and lines of age [ours]."""

from __future__ import annotations

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, Canvas, F
from auformer.synthetic.head import depth, half_width
from auformer.synthetic.identity import Identity


def bake_relief(canvas: Canvas, identity: Identity, rng: np.random.Generator) -> Array:
    """Height `(size, size)` in IPD towards the camera, at rest."""
    p = identity.traits
    width = half_width(identity, canvas.Y)
    x: Array = canvas.abs_X / np.maximum(width, 0.15) * F(p["half_width"])
    limit = F(1.10 * p["half_width"])
    x = limit - np.log1p(np.exp(np.clip((limit - x) / F(0.06), -40, 40))) * F(0.06)  # soft limit outside the face
    height = depth(x, canvas.Y, p["half_width"]).astype(F)
    _nose(canvas, p, height)
    _bones(canvas, p, height)
    _age(canvas, identity, height, rng)
    pores = canvas.noise(rng, (45, 110), 0.8)
    height += F(0.0009 * p["rough"]) * (pores - cv2.GaussianBlur(pores, (0, 0), 0.05 * canvas.ppi))
    return height


def nose_tip(p: dict) -> float:
    """Height of the nose tip below the pupils."""
    return 0.52 * p["nose_y"] / 0.72


def _nose(canvas: Canvas, p: dict, height: Array) -> None:
    """Bridge, tip, wings."""
    tip, base = nose_tip(p), p["nose_y"]
    at = np.array([-0.25, -0.08, 0.05, 0.2, 0.36, tip - 0.02, tip + 0.07, base + 0.01, base + 0.08])
    profile = np.interp(canvas.y, at, np.array([0, 0.01, 0.045, 0.125, 0.215, 0.30, 0.27, 0.07, 0])).astype(F)
    sigma = 0.035 * canvas.ppi
    profile = cv2.GaussianBlur(profile[:, None], (1, 2 * int(2 * sigma) + 1), sigma)[:, 0] * F(p["nose_height"])
    half = np.interp(canvas.y, [-0.2, 0.1, 0.4, tip, base], [0.085, 0.080, 0.105, 0.135, 0.16]).astype(F) * F(
        p["nose_width"] / 0.225
    )
    height += profile[:, None] * np.exp(-((canvas.abs_X / half[:, None]) ** 2))
    wing = p["nose_width"] * 0.80
    height += F(0.050 * p["nose_bridge"]) * canvas.pair(0, 0.12, 0.09, 0.16)
    height += F(0.115) * canvas.pair(wing, base - 0.075, 0.070, 0.075)
    height -= F(0.030) * canvas.pair(wing + 0.085, base - 0.07, 0.035, 0.07)


def _bones(canvas: Canvas, p: dict, height: Array) -> None:
    """Orbits, brow ridge, cheekbones, muzzle, philtrum and chin, each a Gaussian pair."""
    between = (p["nose_y"] + p["mouth_y"]) / 2 - 0.03
    for gain, x, y, sx, sy in (
        (-0.115, 0.36, -0.02, 0.20, 0.12),
        (-0.05, 0.62, -0.06, 0.22, 0.10),
        (0.070, p["eye_x"], 0.015, 0.20, 0.105),
        (0.045 * p["brow_ridge"], 0.42, p["brow_y"] + 0.06, 0.30, 0.07),
        (-0.03, 0, -0.03, 0.10, 0.10),
        (0.060 * p["cheek"], 0.66, 0.42, 0.24, 0.20),
        (-0.04 * (2 - p["cheek"]) - 0.02, 0.70, 0.98, 0.17, 0.26),
        (0.110, 0, p["mouth_y"], 0.36, 0.24),
        (-0.016, 0, between, 0.045, 0.08),
        (0.010, 0.075, between, 0.04, 0.09),
        (-0.055, 0, p["mouth_y"] + 0.255, 0.24, 0.055),
        (0.080 * p["chin_height"], 0, p["chin"] - 0.17, 0.20, 0.13),
        (-0.05, 1.0, -0.32, 0.16, 0.3),
    ):
        height += F(gain) * canvas.pair(x, y, sx, sy)


def _age(canvas: Canvas, identity: Identity, height: Array, rng: np.random.Generator) -> None:
    """What age leaves at rest, and what an AU detector must not take for a muscle.

    Folds, bags, forehead and frown lines.
    """
    p, own = identity.traits, identity.warp
    height -= F(0.050 * p["fold"]) * canvas.curve_pair(
        own([(0.27, 0.64), (0.37, 0.74), (0.46, 0.90), (0.515, 1.08)]), 0.035
    )
    height += F(0.020 * p["bag"]) * canvas.pair(0.46, 0.20, 0.17, 0.055)
    height -= F(0.016 * p["bag"]) * canvas.curve_pair(
        own([(0.26, 0.13), (0.38, 0.23), (0.52, 0.26), (0.68, 0.22)]), 0.022
    )
    if p["lines"] > 0.03:
        for y in (-0.62, -0.76, -0.90):
            a, b, c, d, e = rng.normal(0, 0.015, 5)
            line = own([(-0.75, y + a), (-0.3, y - 0.03 + b), (0, y + c), (0.3, y - 0.03 + d), (0.75, y + e)])
            height -= F(0.010 * p["lines"]) * canvas.curve(line, 0.018)
    if p["frown"] > 0.03:
        for side in (-1, 1):
            line = own([(0.075, -0.24), (0.085, -0.36), (0.07, -0.48)]) * np.array([side, 1], F)
            height -= F(0.014 * p["frown"]) * canvas.curve(line, 0.018)

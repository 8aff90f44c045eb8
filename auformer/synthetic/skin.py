"""The resting colour of a face in linear light: skin, freckles, beard, nostrils, brows, make-up [ours]."""

from __future__ import annotations

import math

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, Canvas, F, smoothstep
from auformer.synthetic.identity import Identity
from auformer.synthetic.relief import nose_tip

# Linear RGB of light, middle and dark skin; between them the colour is interpolated.
SKIN_RAMP = np.array([[0.63, 0.405, 0.30], [0.40, 0.225, 0.135], [0.095, 0.050, 0.032]])
LIPSTICKS = np.array([[0.45, 0.06, 0.08], [0.42, 0.14, 0.13], [0.30, 0.06, 0.10]])


def skin_colour(identity: Identity, rng: np.random.Generator) -> Array:
    """Mean skin colour `(3,)` of a subject in linear RGB."""
    tone = identity["skin"] * 2
    light, middle, dark = SKIN_RAMP
    base = light + (middle - light) * min(1.0, tone) if tone < 1 else middle + (dark - middle) * (tone - 1)
    return base * rng.uniform(0.92, 1.08) * np.array([1, rng.uniform(0.96, 1.04), rng.uniform(0.92, 1.08)])


def lip_colour(identity: Identity, base: Array, rng: np.random.Generator) -> Array:
    """Lip colour `(3,)` in linear RGB."""
    lips = base * (np.array([0.86, 0.50, 0.52]) if identity["skin"] < 0.55 else np.array([0.88, 0.66, 0.70]))
    cover = 0.75 * identity["makeup"]
    if cover:
        lips = lips * (1 - cover) + LIPSTICKS[int(rng.integers(0, 3))] * cover
    return lips.astype(F)


def bake_skin(canvas: Canvas, identity: Identity, base: Array, rng: np.random.Generator) -> Array:
    """Albedo `(size, size, 3)` of the bare face."""
    p = identity.traits
    albedo = np.empty((canvas.size, canvas.size, 3), F)
    albedo[:] = base.astype(F)
    red = F(0.9) * canvas.pair(0.62, 0.50, 0.25, 0.20) + F(0.8) * canvas.pair(0, nose_tip(p), 0.16, 0.14)
    red += F(0.5) * canvas.pair(0, p["chin"] - 0.15, 0.2, 0.12) + F(0.175) * canvas.noise(rng, (5, 11, 23), 0.7).clip(
        -1.5, 1.5
    )
    strength = F(0.16 * p["ruddy"] * (1 - 0.6 * p["skin"]))
    for channel, gain in enumerate((0.25, -0.85, -0.80)):
        albedo[..., channel] *= 1 + strength * F(gain) * red
    shade = canvas.pair(0.42, 0.10, 0.24, 0.09) + F(0.7) * canvas.pair(0.36, -0.04, 0.2, 0.1)
    albedo *= (1 - F(0.16 + 0.06 * p["bag"]) * shade)[..., None] * np.array([1, 0.97, 0.98], F)
    albedo *= (1 + F(0.030) * canvas.noise(rng, (9, 19, 41), 0.75))[..., None]
    albedo *= (1 + F(0.022 * p["rough"]) * canvas.noise(rng, (75, 112), 0.8))[..., None]
    for _ in range(int(rng.integers(0, 6))):  # moles
        x, y = rng.uniform(-0.9, 0.9), rng.uniform(-0.8, 1.6)
        albedo *= (1 - F(0.55) * canvas.gauss(x, y, 0.018, 0.018))[..., None]
    if p["freckle"]:
        spots: Array = cv2.GaussianBlur((canvas.noise(rng, (75,), 1) > 1.35).astype(F), (0, 0), 0.5)
        spots *= canvas.pair(0.55, 0.38, 0.45, 0.25) + F(0.6) * canvas.pair(0, 0.3, 0.3, 0.3)
        albedo *= (1 - F(0.35 * p["freckle"]) * spots)[..., None] * np.array([1, 0.99, 0.98], F)
    if p["beard"]:
        albedo = _beard(canvas, p, albedo, rng)
    _nose_shadows(canvas, identity, albedo)
    return albedo


def _beard(canvas: Canvas, p: dict, albedo: Array, rng: np.random.Generator) -> Array:
    """Stubble, moustache and chin, or a full beard over the albedo."""
    X, Y, mouth = canvas.abs_X, canvas.Y, p["mouth_y"]
    jaw = smoothstep((Y - (mouth - 0.10) + 0.25 * (1 - X / 0.9)) / 0.25) * smoothstep((X - 0.28) / 0.2)
    jaw = jaw + smoothstep((Y - mouth - 0.20) / 0.1)
    lip = (
        smoothstep((Y - p["nose_y"] - 0.03) / 0.06)
        * smoothstep((mouth - 0.04 - Y) / 0.05)
        * smoothstep((0.50 - X) / 0.12)
    )
    full = np.clip(jaw + lip, 0, 1)
    mask = (full * F(0.42), np.clip(lip + canvas.pair(0, p["chin"] - 0.12, 0.26, 0.2), 0, 1), full)[p["beard_kind"]]
    mask = mask * F(p["beard"]) * smoothstep((p["chin"] + 0.12 - Y) / 0.1)
    strands = (F(0.72) + F(0.26) * canvas.noise(rng, (190, 120), 0.8, 0.55)).clip(0.15, 1.05)
    mask = np.clip(cv2.GaussianBlur(mask, (0, 0), 0.035 * canvas.ppi) * strands * F(0.80), 0, 0.88)[..., None]
    return albedo * (1 - mask) + (np.array(p["hair"], F) * F(0.55) + F(0.015)) * mask


def _nose_shadows(canvas: Canvas, identity: Identity, albedo: Array) -> None:
    """Nostrils, and the creases of the wings."""
    p = identity.traits
    nostril = canvas.gauss(
        p["nose_width"] * 0.43, p["nose_y"] - 0.018, 0.052, 0.026, canvas.abs_X, canvas.Y + canvas.abs_X * F(0.10)
    )
    albedo *= (1 - F(0.80) * np.clip(nostril * 1.5, 0, 1))[..., None]
    wing = canvas.curve_pair(identity.warp([(0.235, 0.55), (0.275, 0.63), (0.262, 0.715), (0.20, 0.735)]), 0.014)
    albedo *= (1 - F(0.30) * np.clip(wing, 0, 1))[..., None]
    albedo *= (1 - F(0.26) * canvas.curve(identity.warp([(-0.12, 0.742), (0, 0.756), (0.12, 0.742)]), 0.020))[..., None]


def bake_brows(
    canvas: Canvas, identity: Identity, albedo: Array, base: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw the brows (and eye shadow) on `albedo` -> the new albedo and the brows' coverage `(size, size)`."""
    p = identity.traits
    cover = np.zeros((canvas.size, canvas.size), F)
    half = canvas.size // 2
    cover[:half] = _brow_strokes(canvas, p, rng)[:half]
    soft = cv2.GaussianBlur(cover, (0, 0), 0.5) * F(1.0 + 0.5 * p["brow_density"])
    cover = np.clip(soft + cv2.GaussianBlur(cover, (0, 0), 0.016 * canvas.ppi) * F(0.35), 0, 0.93)
    colour = np.array(p["brow_colour"], F)
    if colour.mean() < 0.12:  # pigmented brows stay darker than the skin, or AUs 1, 2 and 4 would vanish on dark skin
        colour = np.minimum(colour, base.astype(F) * F(0.20))
    albedo = albedo * (1 - cover[..., None]) + colour * cover[..., None]
    if p["makeup"]:
        shadow = F(0.45 * p["makeup"]) * canvas.pair(p["eye_x"] + 0.03, -0.085, 0.2, 0.055)
        albedo *= (1 - shadow)[..., None] * np.array([1, 0.97, 1.0], F)
    return albedo, cover


def _brow_strokes(canvas: Canvas, p: dict, rng: np.random.Generator) -> Array:
    """Single hairs drawn at four times the resolution -> coverage of the upper half `(size // 2, size)`."""
    zoom = 4
    drawn = np.zeros((canvas.size * zoom // 2, canvas.size * zoom), np.uint8)
    inner, outer = p["brow_y"] + 0.02 + p["brow_tilt"], p["brow_y"] + 0.085 - p["brow_tilt"]
    peak = p["brow_y"] - p["brow_arch"]
    width = max(1, round(zoom * canvas.ppi / 74 * 0.55))
    for side in (-1, 1):
        for _ in range(int(150 + 170 * p["brow_density"])):
            t = rng.beta(1.0, 1.15)
            x = p["brow_inner"] + t * (p["brow_outer"] - p["brow_inner"])
            centre = (1 - t) ** 2 * inner + 2 * t * (1 - t) * (peak - 0.035) + t * t * outer + p["asymmetry"][0] * side
            thickness = p["brow_thickness"] * (1.0 - 0.72 * t**1.6) * (0.72 + 0.28 * min(1, t / 0.15))
            y = centre + rng.normal(0, 0.30) * thickness
            angle = (-1.15 + 1.35 * min(1, t * 1.7)) + rng.normal(0, 0.22)
            length = rng.uniform(0.045, 0.085)
            ends = np.array(
                [(side * x, y), (side * (x + length * math.cos(angle)), y + length * math.sin(angle) * 0.55)], F
            )
            a, b = ((canvas.to_pixels(ends) * zoom + zoom / 2) * 8).astype(int)
            cv2.line(drawn, tuple(map(int, a)), tuple(map(int, b)), int(rng.uniform(70, 200)), width, cv2.LINE_AA, 3)
    return cv2.resize(drawn, (canvas.size, canvas.size // 2), interpolation=cv2.INTER_AREA).astype(F) / 255

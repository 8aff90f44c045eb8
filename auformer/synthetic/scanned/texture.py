"""The skin of a scanned face as textures in the drawn renderer's frontal frame: colour, relief, shine, brows, lips.

Everything that the drawn renderer paints on its canvas is painted here too, and the mesh looks it up by each vertex's
template coordinates: both renderers name a place on the face alike, and what is drawn for one serves the other [ours].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, Canvas, F, smoothstep
from auformer.synthetic.head import half_width
from auformer.synthetic.identity import Identity
from auformer.synthetic.muscles import AU_NAMES, MuscleFields, bake_muscles
from auformer.synthetic.scanned.person import Person
from auformer.synthetic.scanned.shapes import TABLE
from auformer.synthetic.skin import bake_skin, lip_colour, skin_colour

UPPER_LIP = (48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60)  # landmarks around each lip
LOWER_LIP = (54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64)
RIGHT_EYE, LEFT_EYE = (36, 37, 38, 39), (42, 43, 44, 45)  # upper lid lines; the lower ones follow
FIRST_FOLD = {  # resting lines: template points of the image-right half, width and depth in IPD
    "frown": (((0.075, -0.20), (0.09, -0.32), (0.075, -0.46)), 0.018, 0.020),
    "nasolabial": (((0.27, 0.60), (0.37, 0.72), (0.46, 0.88), (0.52, 1.06)), 0.032, 0.050),
    "marionette": (((0.43, 1.16), (0.48, 1.28), (0.49, 1.42)), 0.024, 0.030),
    "bag": (((0.24, 0.14), (0.36, 0.235), (0.52, 0.265), (0.70, 0.22)), 0.022, 0.020),
    "crow": (((0.84, 0.02), (0.93, 0.0), (1.02, -0.03)), 0.015, 0.014),
    "chin": (((0.0, 1.375), (0.13, 1.39), (0.25, 1.44)), 0.022, 0.022),
}


@dataclass
class Skin:
    """Textures of one subject, each `(size, size)` or with channels.

    Args:
        albedo: Linear RGB `(size, size, 3)`.
        height: Relief at rest in IPD.
        gloss: Strength of the highlight.
        masks: Cover of brow, upper lip and lower lip, and the face `(size, size, 4)`, for dense targets.
        muscles: Relief patches of the muscles.
        gains: Strength of every muscle's relief on the scanned head `(M,)`.
        base: Mean skin colour `(3,)`.
    """

    albedo: Array
    height: Array
    gloss: Array
    masks: Array
    muscles: MuscleFields
    gains: Array
    base: Array


def bake_textures(canvas: Canvas, person: Person, lips: Array, eyes: Array) -> Skin:
    """All textures of one subject.

    Args:
        canvas: The frontal frame.
        person: The subject.
        lips: The 20 landmarks of the lips `(20, 2)` in canvas units.
        eyes: The 12 landmarks of the eyes `(12, 2)` in canvas units.
    """
    identity, number = person.identity, person.number
    tone, skin, brow, lines, furrows, later, paint = (np.random.default_rng([993, number, key]) for key in range(7))
    base = skin_colour(identity, tone)
    albedo = _blotches(canvas, bake_skin(canvas, identity, base, skin), person, skin)
    brows = _brows(canvas, person, brow)
    colour = np.array(identity["brow_colour"], F)
    if colour.mean() < 0.12:  # pigmented brows stay darker than the skin
        colour = np.minimum(colour, base.astype(F) * F(0.30))
    albedo = albedo * (1 - brows[..., None]) + colour * brows[..., None]
    upper, lower = (_polygon(canvas, lips[[i - 48 for i in ring]]) for ring in (UPPER_LIP, LOWER_LIP))
    albedo = _paint_lips(albedo, np.maximum(upper, lower), lip_colour(identity, base, paint), canvas, paint)
    albedo = _paint_lids(albedo, canvas, eyes, identity, paint)
    X, Y = canvas.abs_X, canvas.Y
    inside = smoothstep((half_width(identity, Y) - X) / 0.045 + 0.5)
    inside *= smoothstep((identity["chin"] + 0.01 - Y) / 0.03 + 0.5)
    oil = F(0.55) + F(0.7) * canvas.pair(0, -0.7, 0.5, 0.3) + F(0.9) * canvas.pair(0, 0.3, 0.14, 0.4)
    oil += F(0.4) * canvas.pair(0.6, 0.4, 0.25, 0.2) + F(0.3) * canvas.pair(0, 1.6, 0.25, 0.15) + F(0.9) * lower
    gloss = (oil * F(identity["oil"]) * (1 - F(0.7) * brows)).astype(F)
    return Skin(
        albedo=np.ascontiguousarray(albedo.clip(0.004, 0.95), F), height=_resting(canvas, person, lines, brows),
        gloss=gloss, masks=np.dstack([brows, upper, lower, inside]).astype(F),
        muscles=bake_muscles(canvas, identity, furrows, later), gains=_relief_gains(), base=base,
    )  # fmt: skip


def _relief_gains() -> Array:
    return np.array([TABLE[name].relief for name in AU_NAMES], F)


def _blotches(canvas: Canvas, albedo: Array, person: Person, rng: np.random.Generator) -> Array:
    """Uneven pigment, spots of age, blemishes, dark rings: what skin has that a smooth model lacks."""
    identity, age = person.identity, person.identity["age"]
    uneven = canvas.noise(rng, (7, 15, 31, 63), 0.8)
    albedo = albedo * (1 + F(0.035 * identity["rough"] ** 0.5) * uneven)[..., None]
    reds = canvas.noise(rng, (21, 43), 0.8)
    albedo *= 1 + F(0.03 * identity["ruddy"]) * reds[..., None] * np.array([0.4, -1.0, -0.8], F)
    grain = rng.standard_normal(albedo.shape[:2]).astype(F)
    albedo *= (1 + F(0.020 * identity["rough"]) * grain)[..., None]
    spots = int(rng.poisson(1.5 + 9 * max(0.0, age - 0.55)))
    for _ in range(spots):
        x, y, s = rng.uniform(-1.0, 1.0), rng.uniform(-1.0, 1.7), rng.uniform(0.012, 0.045)
        tint = np.array([0.85, 0.70, 0.60] if rng.random() < 0.7 else [1.02, 0.66, 0.66], F)
        albedo *= 1 - (1 - tint) * canvas.gauss(x, y, s, s * rng.uniform(0.7, 1.4))[..., None]
    rings = F(rng.uniform(0, 0.30)) * canvas.pair(0.42, 0.20, 0.24, 0.10)
    sockets = F(rng.uniform(0, 0.22)) * canvas.pair(0.45, -0.10, 0.30, 0.16)
    return albedo * (1 - (rings + sockets)[..., None] * np.array([0.8, 1.0, 0.9], F))


def _brows(canvas: Canvas, person: Person, rng: np.random.Generator) -> Array:
    """Cover of the brows `(size, size)`: a soft band with single hairs in it, dense inside, thin at its ends."""
    p, zoom = person.identity.traits, 2
    y0 = p["brow_y"] + person["brow_shift"]
    inner, outer = y0 + 0.02 + p["brow_tilt"], y0 + 0.085 - p["brow_tilt"]
    peak, thick, density = y0 - p["brow_arch"] - 0.03, p["brow_thickness"], p["brow_density"]
    hairs = np.zeros((canvas.size * zoom, canvas.size * zoom), np.uint8)
    band = np.zeros_like(hairs)
    ppi = canvas.ppi * zoom
    for side in (-1, 1):
        t = rng.beta(1.0, 1.1, int(260 * min(density, 1.2) * (0.6 + thick / 0.12)))
        x = p["brow_inner"] + t * (p["brow_outer"] - p["brow_inner"])
        middle = (1 - t) ** 2 * inner + 2 * t * (1 - t) * peak + t * t * outer + p["asymmetry"][0] * side
        width = thick * (1 - 0.72 * t**1.6) * (0.65 + 0.35 * np.minimum(1, t / 0.2))
        y = middle + rng.normal(0, 0.27, len(t)) * width
        angle = -1.15 + 1.35 * np.minimum(1, t * 1.7) + rng.normal(0, 0.22, len(t))
        length = rng.uniform(0.05, 0.10, len(t))
        ends = np.stack([side * x, y, side * (x + length * np.cos(angle)), y + 0.5 * length * np.sin(angle)], 1)
        pixels = ((canvas.to_pixels(ends.reshape(-1, 2)) + 0.5) * zoom * 16).round().astype(int).reshape(-1, 2, 2)
        strength = rng.integers(60, 170, len(t))
        for (a, b), value in zip(pixels.tolist(), strength.tolist(), strict=True):
            cv2.line(hairs, a, b, value, max(1, round(0.011 * ppi)), cv2.LINE_AA, 4)
        s = np.linspace(0.02, 0.98, 16)
        line = (1 - s) ** 2 * inner + 2 * s * (1 - s) * peak + s * s * outer + p["asymmetry"][0] * side
        knots = np.stack([side * (p["brow_inner"] + 0.03 + s * (p["brow_outer"] - p["brow_inner"])), line], 1)
        knots = ((canvas.to_pixels(knots) + 0.5) * zoom * 16).round().astype(int)
        for i in range(15):
            radius = max(1, round(thick * (1 - 0.72 * s[i] ** 1.6) * ppi * 0.85))
            cv2.line(band, knots[i].tolist(), knots[i + 1].tolist(), 255, radius, cv2.LINE_AA, 4)
    fine: Array = cv2.resize(
        cv2.GaussianBlur(hairs, (0, 0), 0.009 * ppi), (canvas.size, canvas.size), interpolation=cv2.INTER_AREA
    )
    soft: Array = cv2.resize(band, (canvas.size, canvas.size), interpolation=cv2.INTER_AREA).astype(F) / 255
    soft = cv2.GaussianBlur(soft, (0, 0), 0.022 * canvas.ppi)
    cover = F(1.5) * fine.astype(F) / 255 + F(0.5 * min(density, 1.3)) * soft
    return np.clip(cover, 0, 0.92)


def _polygon(canvas: Canvas, points: Array) -> Array:
    """Soft cover of a closed polygon in canvas units `(size, size)`."""
    drawn = np.zeros((canvas.size, canvas.size), np.uint8)
    cv2.fillPoly(drawn, [(canvas.to_pixels(points) * 16).round().astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(drawn.astype(F) / 255, (0, 0), 0.012 * canvas.ppi)


def _paint_lips(albedo: Array, cover: Array, colour: Array, canvas: Canvas, rng: np.random.Generator) -> Array:
    strength = F(rng.uniform(0.55, 1.0))
    fine = 1 + F(0.10) * canvas.noise(rng, (150,), 1.0, 0.25)
    return albedo * (1 - strength * cover[..., None]) + (colour * fine[..., None]) * (strength * cover[..., None])


def _paint_lids(albedo: Array, canvas: Canvas, eyes: Array, identity: Identity, rng: np.random.Generator) -> Array:
    """Lashes, and eye-liner where there is make-up, along both lid lines; the inner rim is pink."""
    upper = F(rng.uniform(0.35, 0.75) + 0.25 * (identity["makeup"] > 0))
    lower = F(rng.uniform(0.05, 0.35) + 0.25 * identity["makeup"] * rng.random())
    lash = np.array([0.018, 0.013, 0.011], F)
    for first in (0, 6):
        top, bottom = eyes[[first, first + 1, first + 2, first + 3]], eyes[[first, first + 5, first + 4, first + 3]]
        for line, strength, width in ((top, upper, 0.020), (bottom, lower, 0.014)):
            cover = (canvas.curve(line, width) * strength).clip(0, 1)[..., None]
            albedo = albedo * (1 - cover) + lash * cover
    return albedo


def _resting(canvas: Canvas, person: Person, rng: np.random.Generator, brows: Array) -> Array:
    """Relief at rest: pores, lines of age, lids' crease, hair of the brows."""
    identity, lines = person.identity, person["lines"]
    pores = canvas.noise(rng, (70, 130), 0.9)
    height = F(0.0006 * identity["rough"]) * (pores - cv2.GaussianBlur(pores, (0, 0), 0.05 * canvas.ppi))
    height += F(0.010) * brows
    for name, (points, width, depth) in FIRST_FOLD.items():
        for sign in (-1, 1):
            moved = np.array(points, F) + rng.normal(0, 0.014, (len(points), 2)).astype(F)
            strength = lines[name] * rng.uniform(0.7, 1.3)
            if strength > 0.03:
                curve = canvas.curve(identity.warp(moved) * np.array([sign, 1], F), width * rng.uniform(0.8, 1.3))
                height -= F(depth * strength) * curve
    for y in np.arange(-0.58, -1.0, -0.11) if lines["forehead"] > 0.05 else ():
        a = rng.normal(0, 0.02, 5)
        knots = [(-0.75, y + a[0]), (-0.3, y - 0.02 + a[1]), (0, y + a[2]), (0.3, y - 0.02 + a[3]), (0.75, y + a[4])]
        deep = F(0.013 * lines["forehead"] * rng.uniform(0.2, 1.3))
        height -= deep * canvas.curve(identity.warp(knots), 0.018)
    if lines["bridge"] > 0.05:
        height -= F(0.014 * lines["bridge"]) * canvas.curve(
            identity.warp([(-0.13, -0.05), (0, -0.07), (0.13, -0.05)]), 0.016
        )
    height += F(0.018 * lines["bag"]) * canvas.pair(0.45, 0.19, 0.17, 0.05)
    crease = identity.warp([(0.30, -0.09), (0.43, -0.155), (0.58, -0.15), (0.72, -0.06)])
    height -= F(rng.uniform(0.0, 0.018)) * canvas.curve_pair(crease, 0.016)
    return height.astype(F)

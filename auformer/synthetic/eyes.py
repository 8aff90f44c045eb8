"""The eyes, both at once: lids, sclera, iris, pupil, highlight, lashes and crease [ours].

Arrays have shape `(2, rows, columns)`, image-left eye first. `u` runs from -1 at the inner corner to 1 at the outer
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auformer.synthetic.canvas import LEFT, TOP, Array, Canvas, F
from auformer.synthetic.identity import Identity
from auformer.synthetic.light import Light
from auformer.synthetic.muscles import INDEX, lid_table

UP, DOWN = 0.20, 0.17  # height of the drawn box above and below the eye, in IPD
SCLERA, CARUNCLE = np.array([0.50, 0.445, 0.42], F), np.array([0.42, 0.19, 0.17], F)  # linear RGB
CLOSED = 0.9  # AU43 from here on, level E, is a closed eye; what is below leaves a droop or a slit
SLIT = 0.9  # of the way down: where the last of the eyeball begins to vanish [ours]


@dataclass
class Eyes:
    """What the dense targets need: a box per eye, cover of the visible eyeball and of the iris `(2, rows, columns)`."""

    boxes: list[tuple[int, int, int, int]]
    open: Array
    iris: Array


class _Lids:
    """Lid curves and the cover of what they leave free."""

    def __init__(self, canvas: Canvas, identity: Identity, drive: Array) -> None:
        p, width = identity.traits, identity["eye_width"]
        half = width + 0.07
        columns, rows = int(2 * half * canvas.ppi) + 1, int((UP + DOWN) * canvas.ppi) + 1
        top = int((0.012 - UP - TOP) * canvas.ppi)
        lefts = [int((side * p["eye_x"] - half - LEFT) * canvas.ppi) for side in (-1, 1)]
        self.boxes = [(top, top + rows, left, left + columns) for left in lefts]
        self.x = np.stack([canvas.x[left : left + columns] for left in lefts])[:, None, :]
        self.y = canvas.y[top : top + rows][None, :, None]
        side = np.array([-1, 1], F)[:, None, None]
        self.cx = side * F(p["eye_x"])
        self.cy = (F(0.012) + np.array(p["asymmetry"][3:5], F) * F(0.6))[:, None, None]
        self.raise_upper, raise_lower, self.flat = (
            np.minimum(v, 1)[:, None, None].astype(F) for v in lid_table() @ drive
        )
        shut = (np.minimum(drive[INDEX["AU43"]] * F(1 / CLOSED), 1) ** F(1.2))[:, None, None].astype(F)
        self.shut = shut
        lower = np.maximum(F(p["lid_lower"]) - raise_lower, F(0.012)) * (1 - F(0.15) * shut)
        upper = np.maximum(F(p["lid_upper"]) + self.raise_upper, lower * F(-0.6) + F(0.004))
        upper = upper - (upper + lower) * shut  # down to the lower lid
        self.u = (self.x - self.cx) * side * F(1 / width)
        u = np.clip(self.u, -1, 1)
        self.q = np.abs(u)
        self.axis = self.cy + F(0.012) - F(p["eye_tilt"]) * u
        self.upper = self.axis - upper * (np.clip(1 - self.q ** F(2.1), 0, 1) ** F(0.80) * (1 - F(0.10) * u))
        self.lower = self.axis + lower * (
            np.clip(1 - self.q ** (F(2.4) + F(1.5) * self.flat), 0, 1) * (1 + F(0.12) * u)
        )
        self.lower = np.maximum(self.lower, self.upper)
        self.from_upper, self.from_lower = self.y - self.upper, self.lower - self.y
        self.soft = F(1 / (1.1 * canvas.pixel))
        inside = np.clip(self.from_upper * self.soft + F(0.5), 0, 1) * np.clip(
            self.from_lower * self.soft + F(0.5), 0, 1
        )
        self.open = inside * (np.abs(self.u) < 1).astype(F) * np.minimum((1 - shut) * F(1 / (1 - SLIT)), 1)

    def darkening(self, p: dict) -> Array:
        """Lashes, lower-lid line, crease and the fold under the lid as one factor."""
        u, q = self.u, self.q
        fade = np.clip((F(1.04) - np.abs(u)) * F(8), 0, 1)
        lash = np.exp(-(((self.from_upper + F(0.004)) / (F(0.012 + 0.005 * p["makeup"]) + F(0.005) * self.shut)) ** 2))
        lash = lash * (fade * (F(0.44 + 0.38 * p["makeup"]) + F(0.16) * (np.clip(u, -1, 1) + 1)))
        dark = 1 - np.minimum(lash, F(0.93))
        dark *= 1 - (F(0.24 + 0.2 * p["makeup"]) * fade) * np.exp(-(((self.from_lower + F(0.004)) * F(100)) ** 2))
        rise = F(p["lid_upper"] * 0.72 + max(0.008, p["crease"])) + F(0.28) * self.raise_upper
        crease = self.axis - rise * np.clip(1 - (q * F(0.93)) ** F(2.2), 0, 1) ** F(0.75) - F(0.012)
        depth = F(0.36 if p["crease"] > 0.03 else 0.16) * (1 - F(0.65) * self.shut)
        depth = depth * np.clip((F(1.05) - np.abs(u)) * F(4), 0, 1)
        dark *= 1 - depth * np.exp(-(((self.y - crease) * F(1 / 0.013)) ** 2))
        fold = (F(0.08) + F(0.10) * self.flat + F(0.10 * p["bag"])) * np.clip(1 - u**4, 0, 1)
        return dark * (1 - fold * np.exp(-(((self.from_lower + F(0.030)) * F(1 / 0.014)) ** 2)))


def draw_eyes(
    canvas: Canvas, identity: Identity, drive: Array, shaded: Array, light: Light, gaze: Sequence[float]
) -> Eyes:
    """Draw both eyes on the lit `shaded (size, size, 4)` in place.

    `drive (N, 2)` holds the muscles' intensities, AU43 among them; `gaze` looks to image right and down, each in
    [-1, 1].
    """
    p, lids = identity.traits, _Lids(canvas, identity, drive)
    x, y, radius = lids.x, lids.y, F(p["iris"])
    ix, iy = lids.cx + F(gaze[0] * 0.10), lids.cy + F(-0.012 + gaze[1] * 0.06)
    dx, dy = x - ix, y - iy
    distance = np.sqrt(dx * dx + dy * dy)
    ball = F(0.42) + F(0.58) * np.clip(1 - ((x - lids.cx) / F(0.27)) ** 2, 0, 1)
    corner = np.clip((-lids.u - F(0.78)) * F(5), 0, 1) * F(0.6)
    t = np.minimum(distance * (1 / radius), 1)
    iris = np.clip((radius - distance) * lids.soft + F(0.5), 0, 1)
    pupil = np.clip((radius * F(0.40) - distance) * lids.soft + F(0.5), 0, 1)
    bright = light.key * F(0.55 + 0.45 * max(0.0, float(light.direction[2]))) + light.ambient
    shade = (1 - F(0.55) * np.exp(np.maximum(lids.from_upper, 0) * F(-1 / 0.030))) * bright
    ring = (F(0.55) + F(0.9) * t) * (1 - F(0.65) * np.clip((t - F(0.78)) * F(4.5), 0, 1)) * (1 - pupil) * iris
    if canvas.ppi > 50:  # fibres are visible from about 160 px on
        angle = np.arctan2(dy, dx)
        ring = ring * (1 + F(0.22) * np.sin(angle * F(23) + F(3) * np.sin(angle * F(7))))
    hx, hy = ix + F(0.042 * light.direction[0]), iy + F(0.055 * light.direction[1])
    glint = np.exp(((x - hx) ** 2 + (y - hy) ** 2) * F(-1 / 0.00032)) * (light.key * F(0.75))

    dark = lids.darkening(p)
    eyeball = lids.open * dark
    white = eyeball * shade * (1 - iris) * ball
    layers = (
        (white * (1 - corner), SCLERA),
        (white * corner, CARUNCLE),
        (eyeball * shade * ring, np.array(p["iris_colour"], F)),
    )
    skin, glint = (1 - lids.open) * dark, eyeball * glint
    for eye, (r0, r1, c0, c1) in enumerate(lids.boxes):
        out = shaded[r0:r1, c0:c1, :3]
        out *= skin[eye][..., None]
        for channel in range(3):
            colour = glint[eye].copy()
            for amount, rgb in layers:
                colour += amount[eye] * (rgb[channel] * light.colour[channel])
            out[..., channel] += colour
    return Eyes(lids.boxes, lids.open, lids.open * iris)

"""The shape of the head: outline, depth, rotation and projection [ours]. Lengths in inter-pupil distances (IPD)."""

from __future__ import annotations

import math

import numpy as np

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.identity import Identity

PIVOT_Y, PIVOT_Z = 0.45, 0.55  # the head turns about a point behind the nose


def half_width(identity: Identity, y: Array) -> Array:
    """Half width of the face at height `y`: an elliptic skull above, a superellipse jaw below."""
    p, top_of_jaw = identity.traits, 0.25
    t = np.clip((y - top_of_jaw) / (p["chin"] - top_of_jaw), 0, 1)
    jaw = (1 - t ** p["jaw_n"]) ** (1 / p["jaw_m"])
    t = np.clip((top_of_jaw - y) / 1.75, 0, 1)
    skull = np.sqrt(np.clip(1 - t**2.4, 1e-4, 1))
    return (p["half_width"] * np.where(y > top_of_jaw, jaw, skull)).astype(F)


def depth(x: Array, y: Array, width: float = 1.14) -> Array:
    """Smooth depth of the head without nose or relief; the base of the height field and of the parallax."""
    x = x * F(1.15 / width)
    x2 = np.minimum(x * x, F(2.6))
    z = F(0.40) - F(0.42) * x2 - F(0.11) * np.minimum(x2 * x2 * x2, F(6))
    above, below = np.maximum(F(-0.35) - y, 0), np.maximum(y - F(1.45), 0)
    return z - F(0.26) * above * above - F(0.9) * below * below


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation matrix `(3, 3)`, radians.

    Yaw > 0 nose to image right, pitch > 0 face down, roll > 0 clockwise in the image.
    """
    cy, sy, cp, sp, cr, sr = (
        math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll),
    )  # fmt: skip
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(F)


def project(turn: Array, x: Array, y: Array, width: float) -> tuple[Array, Array]:
    """Orthographic image of frontal points after the rotation `turn`, nose and muzzle included."""
    z = depth(x, y, width)
    x2 = x * x
    z += F(0.26) * np.exp(x2 * F(-17.4) - ((y - F(0.48)) * F(2.78)) ** 2)
    z += F(0.08) * np.exp(x2 * F(-5.7) - ((y - F(1.15)) * F(2.2)) ** 2) + F(PIVOT_Z)
    y = y - F(PIVOT_Y)
    return turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z, turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + F(
        PIVOT_Y
    )

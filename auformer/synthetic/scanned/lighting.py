"""Light on the scanned head: key with cast shadow, second light, sky and ground, openness of sockets [ours]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.light import WRAP

SHADOW_SPAN = 4.6  # side of the shadow map in IPD
BIAS = 0.035  # IPD by which a surface must lie behind the map to be in shadow
OPEN_MAP, OPEN_DIRECTIONS = 96, 28  # pixels and number of depth maps of the openness


def basis(direction: Array) -> Array:
    """Rotation `(3, 3)` that turns a unit direction into +z, rows are the new axes."""
    z = np.asarray(direction, float)
    helper = np.array([0.0, 1.0, 0.0]) if abs(z[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z]).astype(F)


def unit(direction: Any) -> Array:
    """A direction of length 1, float64."""
    direction = np.asarray(direction, float)
    return direction / max(float(np.linalg.norm(direction)), 1e-9)


def pack(light: Mapping[str, Any], ppi: float) -> Array:
    """A scene's light as the numbers that `pixels.light` reads `(40,)`; `ppi` is pixels per IPD of the shadow map."""
    scene = np.zeros(40, F)
    scene[0:3] = unit(light["dir"])
    scene[3:6] = np.asarray(light["color"]) * light["key"]
    scene[6:9] = unit(light["up"])
    scene[9:12] = np.asarray(light["amb_color"]) * light["amb"]
    scene[12:15] = np.asarray(light["ground_color"]) * light["ground"]
    scene[15:18] = unit(light["second_dir"])
    scene[18:21] = np.asarray(light["second_color"]) * light["second"]
    scene[27:30] = WRAP
    scene[30] = light["shine"]
    scene[33] = 7.0  # how much a furrow darkens, as in the drawn renderer
    scene[34] = light["shadow"]
    scene[35] = BIAS * ppi
    scene[36] = light["soft"] * ppi
    return scene


def openness_of(kernels: Any, points: Array, normals: Array, triangles: Array) -> Array:
    """Share of the sky that every vertex sees `(n,)`, by depth maps from directions all round.

    Directions are even on the sphere (a Fibonacci spiral).
    """
    total = np.zeros((len(points), 2), F)
    size, scale = OPEN_MAP, OPEN_MAP / SHADOW_SPAN
    depth, index = np.empty((size, size), F), np.empty((size, size), np.int32)
    weights = np.empty((2, size, size), F)
    none, uv = np.zeros((1, 1), F), np.zeros((1, 2), F)
    centre = np.array([0.0, 0.2, -0.8], F)
    for i in range(OPEN_DIRECTIONS):
        z = 1 - 2 * (i + 0.5) / OPEN_DIRECTIONS
        if z < -0.35:  # behind the head nothing is seen that matters
            continue
        angle, ring = i * np.pi * (3 - np.sqrt(5)), np.sqrt(1 - z * z)
        direction = np.array([ring * np.cos(angle), ring * np.sin(angle), z])
        seen = ((points - centre) @ basis(direction).T * F(scale)).astype(F)
        seen[:, :2] += size / 2
        depth.fill(-1e9)
        kernels.raster(seen, triangles, 1, depth, index, weights[0], weights[1], none, uv)
        kernels.openness(seen, normals, direction.astype(F), depth, F(scale), F(0.05), total)
    return (total[:, 1] / np.maximum(total[:, 0], 1e-3)).clip(0, 1).astype(F)

"""The loops over vertices and triangles, and all loops compiled with numba where they are first needed [ours].

Every function here is plain Python over numpy arrays and can be run as such (slowly); `compiled` gives the same
functions as machine code. Screen coordinates are pixels, x to the right, y down, z towards the camera, pixel centres at
whole numbers. A triangle faces the camera when its signed area on the screen is negative (corners counter-clockwise as
seen, y down).
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

from auformer.errors import require
from auformer.synthetic.canvas import F
from auformer.synthetic.scanned import pixels

FAR = -1e9  # depth of a pixel that nothing covers
ONE, EDGE, TINY = F(1), F(-1e-5), F(1e-9)  # in single precision: a bare 1 would turn the loop to double


def normals(points: Any, triangles: Any, out: Any) -> None:
    """Unit normals `(n, 3)` of the vertices, weighted by the triangles' areas."""
    out[:] = 0
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = vy * uz - vz * uy, vz * ux - vx * uz, vx * uy - vy * ux
        for i in (a, b, c):
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(out.shape[0]):
        scale = 1 / math.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2 + 1e-20)
        out[i, 0] *= scale
        out[i, 1] *= scale
        out[i, 2] *= scale


def place(points: Any, turn: Any, shift: Any, near: float, flat: Any, out: Any) -> None:
    """Points `(n, 3)` turned, shifted, seen in perspective and brought to pixels.

    Args:
        points: In the head's frame.
        turn: `(3, 3)`.
        shift: `(3,)` added after the turn.
        near: Inverse distance of the camera, 0 without perspective.
        flat: `(3, 4)`: rows x and y of the pixels from projected x, y and 1 (first three columns), and in `[2, 2]` the
            scale of depth, in `[2, 3]` its origin.
        out: `(n, 3)`.
    """
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        x = turn[0, 0] * px + turn[0, 1] * py + turn[0, 2] * pz + shift[0]
        y = turn[1, 0] * px + turn[1, 1] * py + turn[1, 2] * pz + shift[1]
        z = turn[2, 0] * px + turn[2, 1] * py + turn[2, 2] * pz + shift[2]
        if near != 0:
            scale = 1 / max(1 - near * z, 0.3)
            x *= scale
            y *= scale
        out[i, 0] = flat[0, 0] * x + flat[0, 1] * y + flat[0, 2]
        out[i, 1] = flat[1, 0] * x + flat[1, 1] * y + flat[1, 2]
        out[i, 2] = flat[2, 2] * z + flat[2, 3]


def add(points: Any, vertices: Any, offsets: Any, weight: float) -> None:
    """Add `weight * offsets (m, 3)` to the points named by `vertices (m,)`."""
    for i in range(vertices.shape[0]):
        v = vertices[i]
        points[v, 0] += weight * offsets[i, 0]
        points[v, 1] += weight * offsets[i, 1]
        points[v, 2] += weight * offsets[i, 2]


def raster(
    points: Any, triangles: Any, facing: int, depth: Any, index: Any, second: Any, third: Any, mask: Any, uv: Any
) -> None:
    """Z-buffer: the nearest triangle at every pixel.

    Args:
        points: Screen coordinates `(n, 3)`.
        triangles: `(T, 3)`.
        facing: 1 draws triangles that face the camera, -1 those that face away, 0 both.
        depth: `(S, S)`, filled with `FAR` or holding an earlier depth; nearest z so far.
        index: `(S, S)` number of the triangle, written where it wins.
        second: `(S, S)` barycentric weight of its second corner.
        third: The same of its third corner.
        mask: `(H, W)` cover; a pixel whose cover is under one half is left out. One of a single cell is not read.
        uv: `(n, 2)` pixel of `mask` at each vertex.
    """
    size = depth.shape[0]
    masked = mask.shape[0] > 1
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if (facing > 0 and area > 0) or (facing < 0 and area < 0) or abs(area) < TINY:
            continue
        left, right = max(0, math.ceil(min(x0, x1, x2))), min(size - 1, math.floor(max(x0, x1, x2)))
        top, bottom = max(0, math.ceil(min(y0, y1, y2))), min(size - 1, math.floor(max(y0, y1, y2)))
        if left > right or top > bottom:
            continue
        inverse = ONE / area
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        # weights are linear: their steps from one pixel to the next
        w1x, w1y = (y2 - y0) * inverse, -(x2 - x0) * inverse
        w2x, w2y = -(y1 - y0) * inverse, (x1 - x0) * inverse
        dx, dy = F(left) - x0, F(top) - y0
        w1_row, w2_row = dx * w1x + dy * w1y, dx * w2x + dy * w2y
        for y in range(top, bottom + 1):
            w1, w2 = w1_row, w2_row
            w1_row += w1y
            w2_row += w2y
            for x in range(left, right + 1):
                u1, u2 = w1, w2
                w1 += w1x
                w2 += w2x
                u0 = ONE - u1 - u2
                if u0 < EDGE or u1 < EDGE or u2 < EDGE:
                    continue
                z = u0 * z0 + u1 * z1 + u2 * z2
                if z <= depth[y, x]:
                    continue
                if masked:
                    u = u0 * uv[a, 0] + u1 * uv[b, 0] + u2 * uv[c, 0]
                    v = u0 * uv[a, 1] + u1 * uv[b, 1] + u2 * uv[c, 1]
                    row = min(max(int(v + 0.5), 0), mask.shape[0] - 1)
                    column = min(max(int(u + 0.5), 0), mask.shape[1] - 1)
                    if mask[row, column] < 0.5:
                        continue
                depth[y, x] = z
                index[y, x] = t
                second[y, x] = u1
                third[y, x] = u2


def openness(points: Any, normal: Any, direction: Any, depth: Any, scale: float, bias: float, total: Any) -> None:
    """Add to `total (n, 2)`, for every vertex, the cosine to a direction and the part of it that reaches the vertex.

    `points (n, 3)` are pixels of the depth map `depth (S, S)` drawn from that direction, `scale` its pixels per unit.
    """
    size = depth.shape[0]
    for i in range(points.shape[0]):
        cosine = normal[i, 0] * direction[0] + normal[i, 1] * direction[1] + normal[i, 2] * direction[2]
        if cosine <= 0:
            continue
        total[i, 0] += cosine
        x, y = int(points[i, 0] + 0.5), int(points[i, 1] + 0.5)
        if 0 <= x < size and 0 <= y < size and depth[y, x] > points[i, 2] + bias * scale:
            continue
        total[i, 1] += cosine


@cache
def compiled() -> SimpleNamespace:
    """The functions of this module and of `pixels` as machine code, kept on disk between runs.

    Raises:
        MissingExtraError: numba is not installed.
    """
    jit = require("numba", "scanned").njit(cache=True, fastmath=True, error_model="numpy")
    functions = (normals, place, add, raster, openness, *pixels.LOOPS)
    return SimpleNamespace(**{function.__name__: jit(function) for function in functions})

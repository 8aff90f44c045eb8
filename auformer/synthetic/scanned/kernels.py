"""The loops over triangles and pixels, compiled with numba where they are first needed [ours].

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

FAR = -1e9  # depth of a pixel that nothing covers
SKIN, INSIDE, GUMS, TEETH, EYE_FIRST, EYE_SECOND = 1, 2, 3, 4, 5, 6  # what a pixel shows; 0 is nothing


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
        if area * facing > 0 or abs(area) < 1e-9:
            continue
        left, right = max(0, math.ceil(min(x0, x1, x2))), min(size - 1, math.floor(max(x0, x1, x2)))
        top, bottom = max(0, math.ceil(min(y0, y1, y2))), min(size - 1, math.floor(max(y0, y1, y2)))
        if left > right or top > bottom:
            continue
        inverse = 1 / area
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        # weights are linear: their steps from one pixel to the next
        w1x, w1y = (y2 - y0) * inverse, -(x2 - x0) * inverse
        w2x, w2y = -(y1 - y0) * inverse, (x1 - x0) * inverse
        w1_row = (left - x0) * w1x + (top - y0) * w1y
        w2_row = (left - x0) * w2x + (top - y0) * w2y
        for y in range(top, bottom + 1):
            w1, w2 = w1_row, w2_row
            w1_row += w1y
            w2_row += w2y
            for x in range(left, right + 1):
                u1, u2 = w1, w2
                w1 += w1x
                w2 += w2x
                u0 = 1 - u1 - u2
                if u0 < -1e-5 or u1 < -1e-5 or u2 < -1e-5:
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


def surface(
    triangles: Any, kinds: Any, index: Any, second: Any, third: Any, normal: Any, attributes: Any, albedo: Any,
    height: Any, relief: Any, gloss: Any, eyes: Any, inner: Any, cloth: Any, colour: Any, facing: Any, bumps: Any,
    extra: Any, kind: Any,
) -> None:  # fmt: skip
    """What every pixel of a z-buffer shows, before light.

    Args:
        triangles: `(T, 3)`.
        kinds: `(T,)` one of `SKIN` ... `EYE_SECOND`.
        index: From `raster`, -1 where there is nothing.
        second: From `raster`.
        third: From `raster`.
        normal: Unit normals of the vertices `(n, 3)`.
        attributes: `(n, 8)` per vertex: texture column and row, openness, cloth, place on the eyeball (x, y, z), shade
            of what lies in the mouth.
        albedo: Texture `(H, W, 3)`.
        height: Texture `(H, W)` of the relief at rest and in action, in IPD.
        relief: Texture `(H, W)` of the relief in action alone.
        gloss: Texture `(H, W)` of the skin's shine.
        eyes: `(2, 14)` per eye: gaze (x, y, z), sines of iris and pupil, iris RGB, white RGB, height of the upper lid
            on the ball, redness, brightness.
        inner: `(3, 3)` colours of what lies in the mouth: its wall, gums, teeth.
        cloth: `(3,)` colour of clothes.
        colour: Out `(S, S, 3)`.
        facing: Out `(S, S, 3)` unit normal.
        bumps: Out `(S, S, 2)` height and relief in action.
        extra: Out `(S, S, 2)` openness, and gloss.
        kind: Out `(S, S)`; for an eye's iris 16 is added.
    """
    size, rows, columns = index.shape[0], albedo.shape[0], albedo.shape[1]
    for y in range(size):
        for x in range(size):
            t = index[y, x]
            if t < 0:
                kind[y, x] = 0
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = second[y, x], third[y, x]
            w0 = 1 - w1 - w2
            nx = w0 * normal[a, 0] + w1 * normal[b, 0] + w2 * normal[c, 0]
            ny = w0 * normal[a, 1] + w1 * normal[b, 1] + w2 * normal[c, 1]
            nz = w0 * normal[a, 2] + w1 * normal[b, 2] + w2 * normal[c, 2]
            scale = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            facing[y, x, 0], facing[y, x, 1], facing[y, x, 2] = nx * scale, ny * scale, nz * scale
            what = kinds[t]
            kind[y, x] = what
            if what == 1:
                u = w0 * attributes[a, 0] + w1 * attributes[b, 0] + w2 * attributes[c, 0]
                v = w0 * attributes[a, 1] + w1 * attributes[b, 1] + w2 * attributes[c, 1]
                u = min(max(u, 0.0), columns - 1.001)
                v = min(max(v, 0.0), rows - 1.001)
                column, row = int(u), int(v)
                fu, fv = u - column, v - row
                k00, k01, k10, k11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
                wear = w0 * attributes[a, 3] + w1 * attributes[b, 3] + w2 * attributes[c, 3]
                wear = min(max((wear - 0.5) * 8 + 0.5, 0.0), 1.0)
                for k in range(3):
                    value = (
                        k00 * albedo[row, column, k]
                        + k01 * albedo[row, column + 1, k]
                        + k10 * albedo[row + 1, column, k]
                        + k11 * albedo[row + 1, column + 1, k]
                    )
                    colour[y, x, k] = value + (cloth[k] - value) * wear
                bumps[y, x, 0] = (
                    k00 * height[row, column]
                    + k01 * height[row, column + 1]
                    + k10 * height[row + 1, column]
                    + k11 * height[row + 1, column + 1]
                )
                bumps[y, x, 1] = (
                    k00 * relief[row, column]
                    + k01 * relief[row, column + 1]
                    + k10 * relief[row + 1, column]
                    + k11 * relief[row + 1, column + 1]
                )
                extra[y, x, 0] = w0 * attributes[a, 2] + w1 * attributes[b, 2] + w2 * attributes[c, 2]
                extra[y, x, 1] = gloss[row, column] * (1 - wear)
            elif what >= 5:
                e = what - 5
                ex = w0 * attributes[a, 4] + w1 * attributes[b, 4] + w2 * attributes[c, 4]
                ey = w0 * attributes[a, 5] + w1 * attributes[b, 5] + w2 * attributes[c, 5]
                ez = w0 * attributes[a, 6] + w1 * attributes[b, 6] + w2 * attributes[c, 6]
                scale = 1 / math.sqrt(ex * ex + ey * ey + ez * ez + 1e-12)
                ex, ey, ez = ex * scale, ey * scale, ez * scale
                along = ex * eyes[e, 0] + ey * eyes[e, 1] + ez * eyes[e, 2]
                across = math.sqrt(max(0.0, 1 - along * along))
                if along < 0:
                    across = 2.0
                iris = min(max((eyes[e, 3] - across) / 0.05 + 0.5, 0.0), 1.0)
                pupil = min(max((eyes[e, 4] - across) / 0.05 + 0.5, 0.0), 1.0)
                ring = across / eyes[e, 3]
                tone = 1.25 - 0.75 * ring * ring * ring
                pink = eyes[e, 12] * min(max((abs(ex) - 0.25) / 0.4, 0.0), 1.0)
                for k in range(3):
                    white = eyes[e, 8 + k] * (1.0 if k == 0 else 1 - pink)
                    value = white + (eyes[e, 5 + k] * tone - white) * iris
                    colour[y, x, k] = (value + (0.006 - value) * pupil) * eyes[e, 13]
                if iris > 0.5:
                    kind[y, x] = what + 16
                below = min(max((ey - eyes[e, 11]) / 0.34, 0.0), 1.0)
                extra[y, x, 0] = 0.42 + 0.58 * below * (2 - below)
                extra[y, x, 1] = 1.0
            else:
                shade = w0 * attributes[a, 7] + w1 * attributes[b, 7] + w2 * attributes[c, 7]
                for k in range(3):
                    colour[y, x, k] = inner[what - 2, k]
                extra[y, x, 0] = shade
                extra[y, x, 1] = 0.7 if what >= 3 else 0.0


def light(
    depth: Any, colour: Any, facing: Any, bumps: Any, extra: Any, kind: Any, back: Any, shadow: Any, to_shadow: Any,
    scene: Any, out: Any,
) -> None:  # fmt: skip
    """Light every pixel.

    Args:
        depth: `(S, S)` z in pixels.
        colour: From `surface`; likewise the next four.
        facing: Unit normals.
        bumps: Height and relief in action, in IPD.
        extra: Openness, gloss.
        kind: What is seen.
        back: `(3,)` pixels per IPD, and x, y of the screen's centre.
        shadow: Depth map from the key light `(M, M)`.
        to_shadow: `(3, 4)` from screen IPD (x, y, z, 1) to pixels and depth of `shadow`.
        scene: `(40,)`, see `light.pack`.
        out: `(S, S, 4)` lit linear RGB and cover.
    """
    size, far = depth.shape[0], shadow.shape[0]
    ppi = back[0]
    lx, ly, lz = scene[0], scene[1], scene[2]
    hx, hy, hz = lx, ly, lz + 1
    norm = 1 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
    hx, hy, hz = hx * norm, hy * norm, hz * norm
    for y in range(size):
        for x in range(size):
            what = kind[y, x]
            if what == 0:
                out[y, x, 0] = out[y, x, 1] = out[y, x, 2] = out[y, x, 3] = 0
                continue
            if what > 16:
                what -= 16
            nx, ny, nz = facing[y, x, 0], facing[y, x, 1], facing[y, x, 2]
            open_, gloss, cavity = extra[y, x, 0], extra[y, x, 1], 1.0
            z = depth[y, x]
            if what == 1:
                h, gx, gy = bumps[y, x, 0], 0.0, 0.0
                lim = 6.0
                for step in (-1, 1):
                    xx, yy = x + step, y + step
                    if 0 <= xx < size and kind[y, xx] == 1 and abs(depth[y, xx] - z) < lim:
                        gx += step * (bumps[y, xx, 0] - h) * 0.5
                    if 0 <= yy < size and kind[yy, x] == 1 and abs(depth[yy, x] - z) < lim:
                        gy += step * (bumps[yy, x, 0] - h) * 0.5
                gx, gy = gx * ppi, gy * ppi
                slope = math.sqrt(gx * gx + gy * gy)
                if slope > 1.1:
                    gx, gy = gx * 1.1 / slope, gy * 1.1 / slope
                along = gx * nx + gy * ny
                # the slope along the surface: what the screen's slope leaves after its part along the normal
                nx, ny, nz = nx - (gx - along * nx), ny - (gy - along * ny), nz + along * nz
                norm = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
                nx, ny, nz = nx * norm, ny * norm, nz * norm
                cavity = min(max(1 + scene[33] * min(bumps[y, x, 1], 0.0), 0.36), 1.0)
            facing_light = nx * lx + ny * ly + nz * lz
            lit = 1.0
            if facing_light > -0.3 and scene[34] > 0:
                px, py, pz = (x - back[1]) / ppi, (y - back[2]) / ppi, z / ppi
                sx = to_shadow[0, 0] * px + to_shadow[0, 1] * py + to_shadow[0, 2] * pz + to_shadow[0, 3]
                sy = to_shadow[1, 0] * px + to_shadow[1, 1] * py + to_shadow[1, 2] * pz + to_shadow[1, 3]
                sz = to_shadow[2, 0] * px + to_shadow[2, 1] * py + to_shadow[2, 2] * pz + to_shadow[2, 3] + scene[35]
                blocked, soft = 0.0, scene[36]
                for dy in (-0.7, 0.7):
                    for dx in (-0.7, 0.7):
                        u, v = sx + (dx + 0.3 * dy) * soft, sy + (dy - 0.3 * dx) * soft
                        column, row = int(math.floor(u)), int(math.floor(v))
                        if column < 0 or row < 0 or column >= far - 1 or row >= far - 1:
                            continue
                        fu, fv = u - column, v - row
                        if shadow[row, column] > sz:
                            blocked += (1 - fu) * (1 - fv)
                        if shadow[row, column + 1] > sz:
                            blocked += fu * (1 - fv)
                        if shadow[row + 1, column] > sz:
                            blocked += (1 - fu) * fv
                        if shadow[row + 1, column + 1] > sz:
                            blocked += fu * fv
                lit = 1 - scene[34] * blocked * 0.25
            half = nx * hx + ny * hy + nz * hz
            if what == 1:  # fine lines hardly show in the shine
                sx, sy, sz = facing[y, x, 0], facing[y, x, 1], facing[y, x, 2]
                half = 0.35 * half + 0.65 * (sx * hx + sy * hy + sz * hz)
            half = max(half, 0.0)
            up = nx * scene[6] + ny * scene[7] + nz * scene[8]
            second = max(nx * scene[15] + ny * scene[16] + nz * scene[17], 0.0)
            inside = 1.0
            if 2 <= what <= 4:
                inside = open_
            shine = 0.0
            if what == 1:
                s = half * half
                s = s * s
                s = s * s  # 8
                broad = s * half * half * half * half
                tight = s * s * s * s  # 32
                rim = 1 - max(nz, 0.0)
                shine = (0.050 * broad + 0.075 * tight + 0.10 * rim * rim * rim * tight) * gloss * scene[30]
            elif what >= 5:
                s = half * half * half
                s = s * s * s
                s = s * s * s  # 27
                shine = 0.9 * s * s * s
            elif what >= 3:
                s = half * half * half
                s = s * s * s
                shine = 0.18 * gloss * s * s * s * inside
            for k in range(3):
                wrap = scene[27 + k] if what == 1 else 0.12
                direct = max(facing_light + wrap, 0.0) / (1 + wrap) * scene[3 + k] * lit
                sky = scene[9 + k] * (0.5 + 0.5 * up) + scene[12 + k] * (0.5 - 0.5 * up)
                fill = second * scene[18 + k]
                if what == 1:
                    value = direct * (0.45 + 0.55 * open_) * cavity + (sky + fill * 0.8) * open_ * cavity
                else:
                    value = (direct + sky + fill) * open_
                out[y, x, k] = colour[y, x, k] * value + shine * scene[3 + k] * lit * cavity
            out[y, x, 3] = 1


def hair(
    triangles: Any, index: Any, second: Any, third: Any, depth: Any, behind: Any, normal: Any, uv: Any, cover: Any,
    strands: Any, colour: Any, scene: Any, shadow: Any, to_shadow: Any, back: Any, over: bool, out: Any, amount: Any,
) -> None:  # fmt: skip
    """Lay a layer of hair or a hat over (or under) the lit image.

    Args:
        triangles: `(T, 3)` of the layer.
        index: From `raster` of the layer; likewise the next three.
        second: Weight of the second corner.
        third: Weight of the third corner.
        depth: Depth of the layer.
        behind: Depth of the head.
        normal: Unit normals of the layer's vertices.
        uv: Pixel of `cover` at each of them.
        cover: `(H, W)` cover of the layer.
        strands: `(H, W)` brightness.
        colour: `(7,)` RGB, strength of the strands' shine, gloss, roughness of the edge, translucency.
        scene: As in `light`.
        shadow: As in `light`.
        to_shadow: As in `light`.
        back: As in `light`.
        over: Whether the layer lies over the head where it is nearer; else only where there is no head.
        out: `(S, S, 4)` image and cover, changed.
        amount: `(S, S)` cover of hair, changed.
    """
    size, rows, columns, far = depth.shape[0], cover.shape[0], cover.shape[1], shadow.shape[0]
    ppi = back[0]
    lx, ly, lz = scene[0], scene[1], scene[2]
    for y in range(size):
        for x in range(size):
            t = index[y, x]
            if t < 0 or (depth[y, x] < behind[y, x] if over else behind[y, x] > -1e8):
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = second[y, x], third[y, x]
            w0 = 1 - w1 - w2
            u = w0 * uv[a, 0] + w1 * uv[b, 0] + w2 * uv[c, 0]
            v = w0 * uv[a, 1] + w1 * uv[b, 1] + w2 * uv[c, 1]
            u = min(max(u, 0.0), columns - 1.001)
            v = min(max(v, 0.0), rows - 1.001)
            column, row = int(u), int(v)
            fu, fv = u - column, v - row
            k00, k01, k10, k11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
            alpha = (
                k00 * cover[row, column]
                + k01 * cover[row, column + 1]
                + k10 * cover[row + 1, column]
                + k11 * cover[row + 1, column + 1]
            )
            if alpha < 0.01:
                continue
            tone = (
                k00 * strands[row, column]
                + k01 * strands[row, column + 1]
                + k10 * strands[row + 1, column]
                + k11 * strands[row + 1, column + 1]
            )
            nx = w0 * normal[a, 0] + w1 * normal[b, 0] + w2 * normal[c, 0]
            ny = w0 * normal[a, 1] + w1 * normal[b, 1] + w2 * normal[c, 1]
            nz = w0 * normal[a, 2] + w1 * normal[b, 2] + w2 * normal[c, 2]
            scale = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            if nz < 0:  # the inner side
                nx, ny, nz = -nx, -ny, -nz
            facing_light = nx * lx + ny * ly + nz * lz
            lit = 1.0
            px, py, pz = (x - back[1]) / ppi, (y - back[2]) / ppi, depth[y, x] / ppi
            sx = to_shadow[0, 0] * px + to_shadow[0, 1] * py + to_shadow[0, 2] * pz + to_shadow[0, 3]
            sy = to_shadow[1, 0] * px + to_shadow[1, 1] * py + to_shadow[1, 2] * pz + to_shadow[1, 3]
            sz = to_shadow[2, 0] * px + to_shadow[2, 1] * py + to_shadow[2, 2] * pz + to_shadow[2, 3] + 3 * scene[35]
            column, row = int(math.floor(sx + 0.5)), int(math.floor(sy + 0.5))
            if 0 <= column < far and 0 <= row < far and shadow[row, column] > sz:
                lit = 1 - 0.8 * scene[34]
            up = nx * scene[6] + ny * scene[7] + nz * scene[8]
            second_light = max(nx * scene[15] + ny * scene[16] + nz * scene[17], 0.0)
            # strands run down: light across them shines in a band
            along = abs(ny * 0.9 + ly * 0.4 + 0.25 * (tone - 1))
            band = max(1 - along * 1.6, 0.0)
            shine = colour[4] * band * band * band * max(facing_light + 0.2, 0.0) * tone
            dim = 1.0 if over else 0.45
            for k in range(3):
                direct = max(facing_light + 0.25, 0.0) / 1.25 * scene[3 + k] * lit
                sky = scene[9 + k] * (0.5 + 0.5 * up) + scene[12 + k] * (0.5 - 0.5 * up)
                value = colour[k] * tone * (direct + sky + second_light * scene[18 + k]) * dim
                value += shine * (0.4 * colour[k] + 0.05) * scene[3 + k] * lit * dim
                out[y, x, k] = out[y, x, k] * (1 - alpha) + value * alpha
            out[y, x, 3] = out[y, x, 3] * (1 - alpha) + alpha
            amount[y, x] = amount[y, x] * (1 - alpha) + alpha


@cache
def compiled() -> SimpleNamespace:
    """The functions of this module as machine code, kept on disk between runs.

    Raises:
        MissingExtraError: numba is not installed.
    """
    jit = require("numba", "scanned").njit(cache=True, fastmath=True, error_model="numpy")
    functions = (normals, place, add, raster, openness, surface, light, hair)
    return SimpleNamespace(**{function.__name__: jit(function) for function in functions})

"""The loops over pixels: what each shows, how its skin is furrowed, what reaches it of the light [ours].

Plain Python over numpy arrays, compiled by `kernels.compiled`. Screen coordinates are pixels, x to the right, y down, z
towards the camera.
"""

from __future__ import annotations

import math
from typing import Any

SKIN, INSIDE, GUMS, TEETH, EYE_FIRST, EYE_SECOND = 1, 2, 3, 4, 5, 6  # what a pixel shows; 0 is nothing
IRIS = 16  # is added to an eye's number on its iris
STEEPEST = 1.1  # slope of the relief that light sees at most
NEAR = 6.0  # pixels of depth between neighbours of one surface


def facing(triangles: Any, kinds: Any, index: Any, second: Any, third: Any, normal: Any, kind: Any, out: Any) -> None:
    """What every pixel of a z-buffer shows, and its unit normal.

    Args:
        triangles: `(T, 3)`.
        kinds: `(T,)` one of `SKIN` ... `EYE_SECOND`.
        index: From `kernels.raster`, -1 where there is nothing.
        second: From `kernels.raster`: weight of the second corner.
        third: Weight of the third corner.
        normal: Unit normals of the vertices `(n, 3)`.
        kind: Out `(S, S)`.
        out: Out `(S, S, 3)`.
    """
    for y in range(index.shape[0]):
        for x in range(index.shape[1]):
            t = index[y, x]
            if t < 0:
                kind[y, x] = 0
                continue
            kind[y, x] = kinds[t]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = second[y, x], third[y, x]
            w0 = 1 - w1 - w2
            nx = w0 * normal[a, 0] + w1 * normal[b, 0] + w2 * normal[c, 0]
            ny = w0 * normal[a, 1] + w1 * normal[b, 1] + w2 * normal[c, 1]
            nz = w0 * normal[a, 2] + w1 * normal[b, 2] + w2 * normal[c, 2]
            scale = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = nx * scale, ny * scale, nz * scale


def skin(
    triangles: Any, index: Any, second: Any, third: Any, kind: Any, attributes: Any, albedo: Any, layers: Any,
    cloth: Any, colour: Any, extra: Any,
) -> None:  # fmt: skip
    """Colour and relief of the pixels that show skin or clothes.

    Args:
        triangles: `(T, 3)`.
        index: From `kernels.raster`; likewise the next two.
        second: Weight of the second corner.
        third: Weight of the third corner.
        kind: From `facing`.
        attributes: Per vertex `(n, 8)`: texture column and row, openness, cloth, place on the eyeball (x, y, z), shade
            of what lies in the mouth.
        albedo: Texture `(H, W, 3)`.
        layers: Textures `(H, W, 3)`: relief at rest and in action in IPD, relief in action alone, gloss.
        cloth: Colour of clothes `(3,)`.
        colour: Out `(S, S, 3)`.
        extra: Out `(S, S, 4)`: relief, relief in action, openness, gloss.
    """
    rows, columns = albedo.shape[0], albedo.shape[1]
    for y in range(index.shape[0]):
        for x in range(index.shape[1]):
            if kind[y, x] != SKIN:
                continue
            t = index[y, x]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = second[y, x], third[y, x]
            w0 = 1 - w1 - w2
            u = w0 * attributes[a, 0] + w1 * attributes[b, 0] + w2 * attributes[c, 0]
            v = w0 * attributes[a, 1] + w1 * attributes[b, 1] + w2 * attributes[c, 1]
            u, v = min(max(u, 0.0), columns - 1.001), min(max(v, 0.0), rows - 1.001)
            i, j = int(v), int(u)
            fu, fv = u - j, v - i
            k00, k01, k10, k11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
            wear = w0 * attributes[a, 3] + w1 * attributes[b, 3] + w2 * attributes[c, 3]
            wear = min(max((wear - 0.5) * 8 + 0.5, 0.0), 1.0)
            for k in range(3):
                value = k00 * albedo[i, j, k] + k01 * albedo[i, j + 1, k]
                value += k10 * albedo[i + 1, j, k] + k11 * albedo[i + 1, j + 1, k]
                colour[y, x, k] = value + (cloth[k] - value) * wear
                value = k00 * layers[i, j, k] + k01 * layers[i, j + 1, k]
                value += k10 * layers[i + 1, j, k] + k11 * layers[i + 1, j + 1, k]
                extra[y, x, k if k < 2 else 3] = value * (1 - wear)
            extra[y, x, 2] = w0 * attributes[a, 2] + w1 * attributes[b, 2] + w2 * attributes[c, 2]


def eyes(
    triangles: Any, index: Any, second: Any, third: Any, kind: Any, attributes: Any, balls: Any, colour: Any, extra: Any
) -> None:
    """Iris, pupil and white of the pixels that show an eyeball.

    Args:
        triangles: `(T, 3)`.
        index: From `kernels.raster`; likewise the next two.
        second: Weight of the second corner.
        third: Weight of the third corner.
        kind: From `facing`; `IRIS` is added on irises.
        attributes: As for `skin`.
        balls: `(2, 13)` per eye: gaze (x, y, z), sines of iris and pupil, iris RGB, white RGB, height of the upper lid
            on the ball, redness.
        colour: Out `(S, S, 3)`.
        extra: Out `(S, S, 4)`, see `skin`.
    """
    for y in range(index.shape[0]):
        for x in range(index.shape[1]):
            e = kind[y, x] - EYE_FIRST
            if kind[y, x] < EYE_FIRST:
                continue
            t = index[y, x]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = second[y, x], third[y, x]
            w0 = 1 - w1 - w2
            ex = w0 * attributes[a, 4] + w1 * attributes[b, 4] + w2 * attributes[c, 4]
            ey = w0 * attributes[a, 5] + w1 * attributes[b, 5] + w2 * attributes[c, 5]
            ez = w0 * attributes[a, 6] + w1 * attributes[b, 6] + w2 * attributes[c, 6]
            scale = 1 / math.sqrt(ex * ex + ey * ey + ez * ez + 1e-12)
            along = (ex * balls[e, 0] + ey * balls[e, 1] + ez * balls[e, 2]) * scale
            across = math.sqrt(max(0.0, 1 - along * along)) if along > 0 else 2.0
            iris = min(max((balls[e, 3] - across) / 0.05 + 0.5, 0.0), 1.0)
            pupil = min(max((balls[e, 4] - across) / 0.05 + 0.5, 0.0), 1.0)
            ring = min(across / balls[e, 3], 1.2)
            tone = 1.25 - 0.75 * ring * ring * ring  # the rim of an iris is dark
            pink = balls[e, 12] * min(max((abs(ex * scale) - 0.25) / 0.4, 0.0), 1.0)
            for k in range(3):
                white = balls[e, 8 + k] * (1.0 if k == 0 else 1 - pink)
                value = white + (balls[e, 5 + k] * tone - white) * iris
                colour[y, x, k] = value + (0.006 - value) * pupil
            if iris > 0.5:
                kind[y, x] += IRIS
            below = min(
                max((ey * scale - balls[e, 11]) / 0.34, 0.0), 1.0
            )  # the upper lid and its lashes shade the ball
            extra[y, x, 2], extra[y, x, 3] = 0.42 + 0.58 * below * (2 - below), 1.0


def inside(
    triangles: Any, index: Any, second: Any, third: Any, kind: Any, attributes: Any, inner: Any, colour: Any, extra: Any
) -> None:
    """The mouth's wall, gums with the tongue, teeth.

    Args:
        triangles: `(T, 3)`.
        index: From `kernels.raster`; likewise the next two.
        second: Weight of the second corner.
        third: Weight of the third corner.
        kind: From `facing`.
        attributes: As for `skin`.
        inner: Their colours `(3, 3)`.
        colour: Out `(S, S, 3)`.
        extra: Out `(S, S, 4)`, see `skin`.
    """
    for y in range(index.shape[0]):
        for x in range(index.shape[1]):
            what = kind[y, x]
            if what < INSIDE or what > TEETH:
                continue
            t = index[y, x]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w1, w2 = second[y, x], third[y, x]
            shade = (1 - w1 - w2) * attributes[a, 7] + w1 * attributes[b, 7] + w2 * attributes[c, 7]
            for k in range(3):
                colour[y, x, k] = inner[what - INSIDE, k]
            extra[y, x, 2], extra[y, x, 3] = shade, 0.7 if what > INSIDE else 0.0


def furrow(depth: Any, kind: Any, extra: Any, ppi: float, deepen: float, normal: Any, cavity: Any) -> None:
    """Turn the normals of skin by its relief, and say how much of the light its furrows keep.

    The relief's slope on the screen, less its part along the normal, is its slope along the surface: seen without
    perspective, with unit normal N, a slope g = (gx, gy, 0) leaves g - (g.N) N, and the furrowed normal is N less that.

    Args:
        depth: `(S, S)` z in pixels.
        kind: From `facing`.
        extra: From `skin`.
        ppi: Pixels per IPD.
        deepen: How much a furrow in action darkens, per IPD of its depth.
        normal: `(S, S, 3)`, from `facing`.
        cavity: Out `(S, S, 4)`: furrowed normal, and share of the light.
    """
    size = depth.shape[0]
    for y in range(size):
        for x in range(size):
            nx, ny, nz = normal[y, x, 0], normal[y, x, 1], normal[y, x, 2]
            light = 1.0
            if kind[y, x] == SKIN:
                z, h, gx, gy = depth[y, x], extra[y, x, 0], 0.0, 0.0
                for step in (-1, 1):
                    xx, yy = x + step, y + step
                    if 0 <= xx < size and kind[y, xx] == SKIN and abs(depth[y, xx] - z) < NEAR:
                        gx += step * (extra[y, xx, 0] - h) * 0.5 * ppi
                    if 0 <= yy < size and kind[yy, x] == SKIN and abs(depth[yy, x] - z) < NEAR:
                        gy += step * (extra[yy, x, 0] - h) * 0.5 * ppi
                slope = math.sqrt(gx * gx + gy * gy)
                if slope > STEEPEST:
                    gx, gy = gx * STEEPEST / slope, gy * STEEPEST / slope
                along = gx * nx + gy * ny
                nx, ny, nz = nx - (gx - along * nx), ny - (gy - along * ny), nz + along * nz
                norm = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
                nx, ny, nz = nx * norm, ny * norm, nz * norm
                light = min(max(1 + deepen * min(extra[y, x, 1], 0.0), 0.36), 1.0)
            cavity[y, x, 0], cavity[y, x, 1], cavity[y, x, 2], cavity[y, x, 3] = nx, ny, nz, light


def shade(depth: Any, kind: Any, back: Any, shadow: Any, to_shadow: Any, scene: Any, out: Any) -> None:
    """Share of the key light that reaches every pixel `(S, S)`, by four soft looks into the depth map of the light.

    Args:
        depth: `(S, S)` z in pixels.
        kind: From `facing`.
        back: `(3,)` pixels per IPD, and x, y of the screen's centre.
        shadow: Depth map from the key light `(M, M)`.
        to_shadow: `(3, 4)` from screen IPD (x, y, z, 1) to pixels and depth of `shadow`.
        scene: `(40,)`, see `lighting.pack`.
        out: Out.
    """
    far = shadow.shape[0]
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            out[y, x] = 1.0
            if kind[y, x] == 0 or scene[34] <= 0:
                continue
            px, py, pz = (x - back[1]) / back[0], (y - back[2]) / back[0], depth[y, x] / back[0]
            sx = to_shadow[0, 0] * px + to_shadow[0, 1] * py + to_shadow[0, 2] * pz + to_shadow[0, 3]
            sy = to_shadow[1, 0] * px + to_shadow[1, 1] * py + to_shadow[1, 2] * pz + to_shadow[1, 3]
            sz = to_shadow[2, 0] * px + to_shadow[2, 1] * py + to_shadow[2, 2] * pz + to_shadow[2, 3] + scene[35]
            blocked = 0.0
            for dy in (-0.7, 0.7):
                for dx in (-0.7, 0.7):
                    u, v = sx + (dx + 0.3 * dy) * scene[36], sy + (dy - 0.3 * dx) * scene[36]
                    j, i = math.floor(u), math.floor(v)
                    if j < 0 or i < 0 or j >= far - 1 or i >= far - 1:
                        continue
                    fu, fv = u - j, v - i
                    if shadow[i, j] > sz:
                        blocked += (1 - fu) * (1 - fv)
                    if shadow[i, j + 1] > sz:
                        blocked += fu * (1 - fv)
                    if shadow[i + 1, j] > sz:
                        blocked += (1 - fu) * fv
                    if shadow[i + 1, j + 1] > sz:
                        blocked += fu * fv
            out[y, x] = 1 - scene[34] * blocked * 0.25


def shine(kind: Any, normal: Any, cavity: Any, extra: Any, scene: Any, out: Any) -> None:
    """Highlight of every pixel `(S, S)`: broad and tight on skin, tighter where it is seen aslant, small on wet eyes.

    Arguments as for `shade` and `furrow`; fine lines hardly show in the highlight of skin.
    """
    hx, hy, hz = scene[0], scene[1], scene[2] + 1
    norm = 1 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
    hx, hy, hz = hx * norm, hy * norm, hz * norm
    for y in range(kind.shape[0]):
        for x in range(kind.shape[1]):
            what, gloss = kind[y, x] % IRIS, extra[y, x, 3]
            out[y, x] = 0
            if what == 0:
                continue
            half = normal[y, x, 0] * hx + normal[y, x, 1] * hy + normal[y, x, 2] * hz
            if what == SKIN:
                half *= 0.65
                half += 0.35 * (cavity[y, x, 0] * hx + cavity[y, x, 1] * hy + cavity[y, x, 2] * hz)
            half = max(half, 0.0)
            if what == SKIN:
                s = half * half
                s = s * s
                s = s * s  # to the power of 8
                broad, tight = s * half * half * half * half, s * s * s * s
                rim = 1 - max(normal[y, x, 2], 0.0)
                out[y, x] = (0.050 * broad + 0.075 * tight + 0.10 * rim * rim * rim * tight) * gloss * scene[30]
                continue
            s = half * half * half
            s = s * s * s
            s = s * s * s  # 27
            if what >= EYE_FIRST:
                out[y, x] = 0.9 * s * s * s
            elif what >= GUMS:
                out[y, x] = 0.18 * gloss * s * extra[y, x, 2]


def light(kind: Any, colour: Any, cavity: Any, extra: Any, reaches: Any, highlight: Any, scene: Any, out: Any) -> None:
    """Light every pixel.

    Args:
        kind: From `facing`.
        colour: `(S, S, 3)` linear RGB.
        cavity: From `furrow`.
        extra: From `skin`, `eyes` and `inside`.
        reaches: From `shade`.
        highlight: From `shine`.
        scene: `(40,)`, see `lighting.pack`.
        out: `(S, S, 4)` lit linear RGB and cover.
    """
    for y in range(kind.shape[0]):
        for x in range(kind.shape[1]):
            what = kind[y, x]
            out[y, x, 3] = 1 if what else 0
            if what == 0:
                out[y, x, 0] = out[y, x, 1] = out[y, x, 2] = 0
                continue
            nx, ny, nz, kept = cavity[y, x, 0], cavity[y, x, 1], cavity[y, x, 2], cavity[y, x, 3]
            open_, lit = extra[y, x, 2], reaches[y, x]
            towards = nx * scene[0] + ny * scene[1] + nz * scene[2]
            up = nx * scene[6] + ny * scene[7] + nz * scene[8]
            second = max(nx * scene[15] + ny * scene[16] + nz * scene[17], 0.0)
            for k in range(3):
                wrap = scene[27 + k] if what == SKIN else 0.12
                direct = max(towards + wrap, 0.0) / (1 + wrap) * scene[3 + k] * lit
                sky = scene[9 + k] * (0.5 + 0.5 * up) + scene[12 + k] * (0.5 - 0.5 * up)
                fill = second * scene[18 + k]
                if what == SKIN:
                    value = direct * (0.45 + 0.55 * open_) * kept + (sky + fill * 0.8) * open_ * kept
                else:
                    value = (direct + sky + fill) * open_
                out[y, x, k] = colour[y, x, k] * value + highlight[y, x] * scene[3 + k] * lit * kept


def hair(
    triangles: Any, index: Any, second: Any, third: Any, depth: Any, behind: Any, normal: Any, uv: Any, cover: Any,
    strands: Any, colour: Any, scene: Any, shadow: Any, to_shadow: Any, back: Any, over: bool, out: Any, amount: Any,
) -> None:  # fmt: skip
    """Lay a layer of hair or a hat over (or under) the lit image.

    Args:
        triangles: `(T, 3)` of the layer.
        index: From `kernels.raster` of the layer; likewise the next three.
        second: Weight of the second corner.
        third: Weight of the third corner.
        depth: Depth of the layer.
        behind: Depth of the head.
        normal: Unit normals of the layer's vertices.
        uv: Pixel of `cover` at each of them.
        cover: `(H, W)` cover of the layer.
        strands: `(H, W)` brightness.
        colour: RGB and strength of the strands' shine `(4,)`.
        scene: As in `shade`.
        shadow: As in `shade`.
        to_shadow: As in `shade`.
        back: As in `shade`.
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
            column, row = math.floor(sx + 0.5), math.floor(sy + 0.5)
            if 0 <= column < far and 0 <= row < far and shadow[row, column] > sz:
                lit = 1 - 0.8 * scene[34]
            up = nx * scene[6] + ny * scene[7] + nz * scene[8]
            second_light = max(nx * scene[15] + ny * scene[16] + nz * scene[17], 0.0)
            # strands run down: light across them shines in a band
            along = abs(ny * 0.9 + ly * 0.4 + 0.25 * (tone - 1))
            band = max(1 - along * 1.6, 0.0)
            shine = colour[3] * band * band * band * max(facing_light + 0.2, 0.0) * tone
            dim = 1.0 if over else 0.45
            for k in range(3):
                direct = max(facing_light + 0.25, 0.0) / 1.25 * scene[3 + k] * lit
                sky = scene[9 + k] * (0.5 + 0.5 * up) + scene[12 + k] * (0.5 - 0.5 * up)
                value = colour[k] * tone * (direct + sky + second_light * scene[18 + k]) * dim
                value += shine * (0.4 * colour[k] + 0.05) * scene[3 + k] * lit * dim
                out[y, x, k] = out[y, x, k] * (1 - alpha) + value * alpha
            out[y, x, 3] = out[y, x, 3] * (1 - alpha) + alpha
            amount[y, x] = amount[y, x] * (1 - alpha) + alpha


LOOPS = (facing, skin, eyes, inside, furrow, shade, shine, light, hair)

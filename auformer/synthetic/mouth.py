"""The mouth: four curves between the moved corners, lips in colour and relief, teeth and tongue in the opening [ours].

All lengths are in inter-pupil distances; `s` runs from -1 at the image-left corner to 1 at the right one, `q = |s|`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, Canvas, F
from auformer.synthetic.identity import Identity
from auformer.synthetic.muscles import AU_NAMES, INDEX, Movement

TOOTH = np.array([0.60, 0.55, 0.47], F)  # linear RGB
TONGUE = np.array([0.20, 0.06, 0.055], F)
CAVITY = np.array([0.050, 0.014, 0.012], F)


@dataclass
class Opening:
    """The open part of a mouth: its box on the canvas, cover, teeth cover, and colour before light."""

    box: tuple[int, int, int, int]
    cover: Array
    teeth: Array
    colour: Array


@dataclass
class Lips:
    """What the image and the dense targets need of the lips.

    Box, cover of upper and lower lip, and the opening, if there is one.
    """

    box: tuple[int, int, int, int]
    upper: Array
    lower: Array
    opening: Opening | None


class _Shape:
    """Lip curves over the columns of a box: outer and inner edge of either lip."""

    def __init__(self, identity: Identity, a: dict[str, float], corners: Array) -> None:
        p = identity.traits
        self.a, self.p, self.corners = a, p, corners
        a10, a12, a16, a17, a26, a27 = (a[f"AU{number}"] for number in (10, 12, 16, 17, 26, 27))
        # A stretched jaw parts the lips; lips that are sucked in do not part.
        a25 = self.parted = max(a["AU25"], a27) * (1 - min(1.0, 1.5 * a["AU28"]))
        narrow = -0.38 * a["AU20"] - 0.50 * a["AU23"] - 0.60 * a["AU24"] - 0.15 * a["AU14"] + 0.30 * a["AU18"]
        narrow += 0.75 * a["AU22"] - 1.1 * a["AU28"]
        least = 1 - 0.9 * a["AU28"]
        self.thick_upper = max(
            0.012 * least,
            p["lip_upper"] * (1 - 0.30 * a12 + narrow + 0.05 * a17 - 0.15 * a26 - 0.10 * a10 - 0.35 * a27),
        )
        self.thick_lower = max(
            0.016 * least,
            p["lip_lower"]
            * (1 - 0.18 * a12 + narrow + 0.06 * a["AU20"] + 0.20 * a17 - 0.05 * a26 + 0.12 * a16 - 0.25 * a27),
        )
        raised = 0.030 * a12 + 0.050 * a17 + 0.065 * a10 * (1 - 0.3 * a25) + 0.035 * a["AU9"] + 0.010 * a["AU24"]
        self.centre = p["mouth_y"] - raised + 0.03 * a26 + 0.02 * a16 + 0.02 * a27
        if a25 < 0.02:
            self.centre += 0.14 * a26  # closed lips ride the jaw part of the way
        # A toothy smile opens without the jaw: the lower lip gives way with AU12, so that teeth alone are no sign of
        # AU26.
        self.up = -a25 * (0.020 + 0.055 * a10 + 0.040 * a12 + 0.03 * a["AU9"] + 0.05 * a["AU22"])
        self.down = a25 * (0.070 + 0.065 * a12 - 0.01 * a17 + 0.28 * a26 + 0.11 * a16 + 0.06 * a["AU22"] - 0.07 * a27)
        self.down += p["rest_open"] * 0.012 * least + 0.45 * a27 * (a25 > 0)

    def edges(self, s: Array) -> tuple[Array, Array, Array, Array]:
        """Inner upper, inner lower, thickness upper, thickness lower at `s`."""
        (_, left), (_, right) = self.corners.tolist()
        a, q = self.a, np.abs(s)
        exponent = (
            2.0 + 1.6 * a["AU15"] + 1.0 * a["AU17"] - 0.2 * a["AU12"] + 0.6 * a["AU20"]
        )  # 15 and 17 bend near the corners only
        line = (
            F(0.5 * (left + right))
            + F(0.5 * (right - left)) * s
            + F(self.centre - 0.5 * (left + right)) * (1 - q ** F(exponent))
        )
        wave = np.exp(-((s / F(0.16)) ** 2)) - np.exp(-(((q - F(0.34)) / F(0.18)) ** 2))
        flat = 0.7 * a["AU24"] + 0.4 * a["AU20"] + a["AU28"]
        line += wave * F(0.010 * max(0.0, 1 - flat) * self.p["lip_upper"] / 0.09)
        square = 1 + F(0.45 * a["AU10"]) * np.exp(
            -(((q - F(0.40)) / F(0.22)) ** 2)
        )  # AU10 lifts the sides of the lip most
        funnel = 1.5 * a["AU22"]  # a funnel's opening is nearly square
        power = F(2.4 + 0.8 * a["AU12"] + 0.8 * a["AU20"] - 0.5 * a["AU26"] + funnel)
        lift = 0.045 * a["AU26"] + 0.06 * a["AU27"]
        upper = line + F(self.up - lift * self.parted) * np.clip(1 - q**power, 0, 1) * square
        power = F(2.0 + 1.2 * a["AU12"] + 0.4 * a["AU26"] + 0.6 * a["AU27"] + 0.8 * a["AU16"] + funnel)
        lower = line + F(self.down) * np.clip(1 - q**power, 0, 1) ** F(0.8 - 0.15 * a["AU26"] - 0.15 * a["AU27"])
        bow = 1 - F(0.20) * np.exp(-((s / F(0.11)) ** 2)) + F(0.10) * np.exp(-(((q - F(0.22)) / F(0.12)) ** 2))
        bow += F(0.35 * a["AU10"]) * np.exp(-(((q - F(0.42)) / F(0.2)) ** 2))
        thick_upper = F(self.thick_upper) * np.clip(1 - q ** F(1.7), 0, 1) ** F(0.85) * bow
        thick_lower = F(self.thick_lower) * np.clip(1 - q ** F(2.3), 0, 1) ** F(0.85)
        return upper, lower, thick_upper, thick_lower


def draw_mouth(
    canvas: Canvas, identity: Identity, lip_rgb: Array, drive: Array, rgba: Array, height: Array,
    movement: Movement | None,
) -> Lips:  # fmt: skip
    """Write the lips into `rgba (size, size, 4)` and `height (size, size)` in place; returns what lies between them.

    `lip_rgb (3,)` is linear, `drive (M, 2)` holds the muscles' intensities, `movement` carries the corners.
    """
    p = identity.traits
    a = dict(zip(AU_NAMES, drive.mean(1).tolist(), strict=True))
    tilt, width, rest = p["asymmetry"][5], p["mouth_width"], p["mouth_y"] + p["mouth_curve"]
    corners = np.array([(-width, rest + tilt), (width, rest - tilt)], F)
    if movement is not None:
        corners = corners + movement.at(corners)
    shape = _Shape(identity, a, corners)
    (left, yl), (right, yr) = corners.tolist()
    top = min(yl, yr, shape.centre + shape.up - 1.4 * shape.thick_upper) - 0.06
    bottom = max(yl, yr, shape.centre + shape.down + shape.thick_lower) + 0.14
    box = canvas.box(left - 0.10, top, right + 0.10, bottom)
    r0, r1, c0, c1 = box
    x, y = canvas.x[c0:c1], canvas.y[r0:r1][:, None]
    s = np.clip((x - F(left)) * F(2 / (right - left)) - 1, -1, 1).astype(F)
    upper, lower, thick_u, thick_l = shape.edges(s)
    soft = F(1 / (1.1 * canvas.pixel))

    def cover(distance: Array) -> Array:
        return np.clip(distance * soft + F(0.5), 0, 1)

    between = ((x > left) & (x < right)).astype(F)
    below_upper, above_lower = cover(y - upper), cover(lower - y)
    mask_u = cover(y - (upper - thick_u)) * (1 - below_upper) * between
    mask_l = cover((lower + thick_l) - y) * (1 - above_lower) * between
    edges, masks = (upper, lower, thick_u, thick_l), (mask_u, mask_l, between)
    _paint_lips(canvas, (x, y, s), edges, masks, rgba[r0:r1, c0:c1, :3], height[r0:r1, c0:c1], shape, lip_rgb, drive)
    opening = None
    if (lower - upper).max() >= 0.008:
        inside = below_upper * above_lower * between
        opening = _opening(box, x, y, np.abs(s), upper, lower, inside, cover, p["mouth_y"], a)
    return Lips(box, mask_u, mask_l, opening)


def _paint_lips(
    canvas: Canvas, grid: tuple[Array, Array, Array], edges: tuple[Array, Array, Array, Array],
    masks: tuple[Array, Array, Array], rgb: Array, height: Array, shape: _Shape, lip_rgb: Array, drive: Array,
) -> None:  # fmt: skip
    """Colour, the dark line between the lips, the corners, and the relief of either lip."""
    (x, y, s), (upper, lower, thick_u, thick_l), (mask_u, mask_l, between) = grid, edges, masks
    a = shape.a
    whole = cv2.GaussianBlur(np.minimum(mask_u + mask_l, 1), (0, 0), max(0.5, 0.012 * canvas.ppi))
    t_u = np.clip((y - (upper - thick_u)) / np.maximum(thick_u, F(2e-3)), 0, 1)
    t_l = np.clip((y - lower) / np.maximum(thick_l, F(2e-3)), 0, 1)
    tone = 1 - F(0.24) * mask_u * t_u - F(0.06) * mask_l * (1 - t_l)
    tone *= 1 + F(0.03) * np.sin(s * F(42) + F(3) * np.sin(s * F(17)))
    whole *= F(0.92)
    closed = between * np.exp(-(((lower - upper) / F(0.02)) ** 2))
    dark = 1 - F(0.80) * np.exp(-(((y - (upper + lower) * F(0.5)) * F(1 / (0.0085 + 0.004 * a["AU24"]))) ** 2)) * closed
    for (cx, cy), dimple in zip(shape.corners.tolist(), drive[INDEX["AU14"]].tolist(), strict=True):
        spot = np.exp(-(((x - F(cx)) / F(0.035 + 0.012 * dimple)) ** 2)) * np.exp(-(((y - F(cy)) / F(0.026)) ** 2))
        dark *= 1 - F(min(0.75, 0.34 + 0.25 * dimple + 0.12 * a["AU12"])) * spot
    rgb *= ((1 - whole) * dark)[..., None]
    rgb += (tone * whole * dark)[..., None] * lip_rgb
    press = max(0.0, 1 - 0.55 * a["AU24"] - 0.40 * a["AU23"] - a["AU28"]) + 0.35 * a["AU22"]
    height += F(0.062 * press * 0.75) * mask_u * t_u * (F(1.6) - t_u)
    swell = F((0.075 + 0.04 * a["AU17"]) * press * min(1.0, shape.thick_lower / 0.12))
    height += swell * mask_l * np.sqrt(np.maximum(t_l * (1 - t_l), 0))
    height -= (
        F(0.022)
        * np.exp(-(((y - (lower + thick_l) - F(0.045)) * F(1 / 0.035)) ** 2))
        * np.clip(1 - np.abs(s) * F(1.15), 0, 1)
    )


def _opening(
    box: tuple[int, int, int, int], x: Array, y: Array, q: Array, upper: Array, lower: Array, inside: Array,
    cover: Callable[[Array], Array], mouth_y: float, a: dict[str, float],
) -> Opening:  # fmt: skip
    """Dark cavity, tongue, two tooth rows.

    The upper row hangs from the skull, the lower one goes down with the jaw (AU26, AU27) and is bared by AU16 and AU22.
    """
    jaw, bare = a["AU26"] + 1.6 * a["AU27"], min(1.0, 1.8 * max(a["AU16"], 0.5 * a["AU22"]))
    colour = np.empty((*inside.shape, 3), F)
    colour[:] = CAVITY
    side = np.abs(x)
    row = np.clip(1 - (x / F(0.40)) ** 2, 0, 1)
    phase = np.mod(side, F(0.112))
    row = row * (1 - F(0.30) * np.exp(-((np.minimum(phase, F(0.112) - phase)) ** 2) / F(0.00008)))
    teeth = np.zeros_like(inside)
    if jaw > 0.1:
        tall = F(0.13 + 0.08 * a["AU27"])
        tongue = np.exp(-((x / F(0.24)) ** 2)) * np.clip((y - (lower - tall)) * F(10), 0, 1) * F(min(1.0, jaw * 1.3))
        colour += tongue[..., None] * TONGUE
    if jaw > 0.1 or bare > 0.05:
        below = cover(y - F(mouth_y + 0.085 + 0.26 * jaw)) * (np.clip((F(0.28) - side) / F(0.06), 0, 1) * row)
        teeth = F(bare) * below
        colour *= 1 - teeth[..., None]
        colour += (below * F(0.36 if jaw > 0.1 else 0.0) * (1 - F(bare)) + F(0.85) * teeth)[..., None] * TOOTH
    edge = F(mouth_y + 0.055) - F(0.035) * (x / F(0.33)) ** 2
    shown = cover(edge - y) * np.clip((F(0.36) - side) / F(0.06), 0, 1)
    shade = np.clip((y - upper) * F(1 / 0.035), 0, 1) * F(0.55) + F(0.45)
    colour *= 1 - shown[..., None]
    colour += (shown * shade * row)[..., None] * TOOTH
    colour *= (F(0.5) + F(0.5) * np.clip(1 - q**3, 0, 1))[None, :, None]
    return Opening(box, inside, inside * np.maximum(shown * row, teeth), colour)

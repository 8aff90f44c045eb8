"""The drawing board of the renderer: a frontal, unwrapped head frame of `size x size` pixels [ours].

Units: 1.0 is the inter-pupil distance (IPD), the origin lies midway between the pupils, x points to the image's right,
y down, z to the camera.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F = np.float32
SPAN, LEFT, TOP = 3.2, -1.6, -1.22  # side of the canvas and its top-left corner, in IPD
FIELD_CELLS = 48  # cells per side of the grid that holds muscle displacement
Array = NDArray[Any]


def smoothstep(x: Array) -> Array:
    """Cubic ramp from 0 (x <= 0) to 1 (x >= 1)."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def field_pixels(points: Array) -> Array:
    """Canvas points `(n, 2)` in IPD to pixel coordinates of the displacement grid."""
    return (points - np.array([LEFT, TOP], F)) * F(FIELD_CELLS / SPAN) - F(0.5)


def warp(image: Array, coordinates: Array) -> Array:
    """Bilinear look-up of `image` at pixel `coordinates` `(h, w, 2)`; the border is repeated."""
    no_second_map: Any = None  # OpenCV takes None here, its type stubs do not
    return cv2.remap(image, coordinates, no_second_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class Canvas:
    """Pixel coordinates of the head frame and what is drawn with them.

    Args:
        size: Pixels per side.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.ppi = size / SPAN  # pixels per IPD
        self.pixel = F(1.0 / self.ppi)  # one pixel in IPD
        centres = (np.arange(size, dtype=F) + 0.5) / self.ppi
        self.x, self.y = (centres + LEFT).astype(F), (centres + TOP).astype(F)
        self.X, self.Y = np.meshgrid(self.x, self.y)
        self.abs_X = np.abs(self.X)
        self.identity = np.dstack(np.meshgrid(np.arange(size, dtype=F), np.arange(size, dtype=F)))

    def gauss(self, x: float, y: float, sx: float, sy: float, X: Array | None = None, Y: Array | None = None) -> Array:
        """A Gaussian bump `exp(-(dx/sx)^2 - (dy/sy)^2)` `(size, size)`; `X`, `Y` replace the coordinates."""
        X = self.X if X is None else X
        Y = self.Y if Y is None else Y
        return np.exp(-(((X - x) / sx) ** 2) - ((Y - y) / sy) ** 2, dtype=F)

    def pair(self, x: float, y: float, sx: float, sy: float) -> Array:
        """The bump and its mirror image: `gauss` over |x|."""
        return self.gauss(x, y, sx, sy, self.abs_X)

    def to_pixels(self, points: Array) -> Array:
        """Points `(n, 2)` in IPD to pixel coordinates."""
        return (np.asarray(points, F) - np.array([LEFT, TOP], F)) * F(self.ppi) - F(0.5)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        """Pixel rows and columns `(row0, row1, column0, column1)` that cover a rectangle in IPD, cut at the canvas."""
        return (
            max(0, int((y0 - TOP) * self.ppi)), min(self.size, int((y1 - TOP) * self.ppi) + 1),
            max(0, int((x0 - LEFT) * self.ppi)), min(self.size, int((x1 - LEFT) * self.ppi) + 1),
        )  # fmt: skip

    def curve(self, points: Array, sigma: float, segments: int = 28) -> Array:
        """A soft line of peak 1 along a cubic through `points`, tapering to both ends, `sigma` in IPD.

        Returns `(size, size)`.
        """
        points = np.asarray(points, F)
        knots, t = np.linspace(0, 1, len(points)), np.linspace(0, 1, segments)
        if len(points) > 2:
            line = np.stack(
                [np.polyval(np.polyfit(knots, points[:, i], min(3, len(points) - 1)), t) for i in (0, 1)], 1
            )
        else:
            line = np.stack([np.interp(t, knots, points[:, i]) for i in (0, 1)], 1)
        q = (self.to_pixels(line) * 16 + 8).astype(int)  # four fractional bits
        strength = np.sin(np.pi * (t * 0.9 + 0.05)) ** 0.6
        drawn = np.zeros((self.size, self.size), np.uint8)
        for i in range(segments - 1):
            value = int(255 * min(1, (strength[i] + strength[i + 1]) / 2))
            cv2.line(drawn, tuple(map(int, q[i])), tuple(map(int, q[i + 1])), value, 1, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(drawn.astype(F), (0, 0), max(0.55, sigma * self.ppi))
        peak = soft.max()
        return soft / peak if peak > 0 else soft

    def curve_pair(self, points: Array, sigma: float) -> Array:
        """The line and its mirror image, added."""
        line = self.curve(points, sigma)
        return line + line[:, ::-1]

    def noise(
        self, rng: np.random.Generator, octaves: tuple[int, ...], beta: float = 0.6, stretch: float = 1.0
    ) -> Array:
        """Sum of enlarged white noise, the same pattern at every resolution; `octaves` in cells across the canvas."""
        out, amplitude = np.zeros((self.size, self.size), F), 1.0
        for cells in octaves:
            shape = max(2, int(cells * stretch)), max(2, int(cells))
            white = rng.standard_normal(shape).astype(F)
            method = cv2.INTER_CUBIC if shape[1] <= self.size else cv2.INTER_AREA
            out += amplitude * cv2.resize(white, (self.size, self.size), interpolation=method)
            amplitude *= beta
        return out

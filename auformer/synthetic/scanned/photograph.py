"""From linear light to a photograph: exposure, grey, focus, resolution, noise, JPEG; backgrounds [ours]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from auformer.synthetic.camera import GREY, Camera
from auformer.synthetic.canvas import Array, F

LUMA = np.array([0.299, 0.587, 0.114], F)  # ITU-R BT.601


class Photographer:
    """Backgrounds and development of one image size; owns a noise bank, so one per worker.

    Args:
        size: Side of the image in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._walls = Camera(size)
        bank = np.random.default_rng(7).standard_normal((2 * size, 2 * size, 3)).astype(F)
        self._noise = bank * F(0.8) + cv2.GaussianBlur(bank, (0, 0), 0.8) * F(0.9)
        q = (np.arange(size, dtype=F) + 0.5) / size - 0.5
        self._radius = (q[None, :] ** 2 + q[:, None] ** 2)[..., None]

    def background(
        self, rng: np.random.Generator, level: float, tint: Sequence[float], busy: float, shapes: int = 0
    ) -> Array:
        """A wall `(size, size, 3)` in linear light with soft shapes before it."""
        wall = self._walls.background(rng, level, tint, busy)
        if not shapes:
            return wall
        size = self.size // 2  # shapes are soft: half the pixels do
        wall = cv2.resize(wall, (size, size), interpolation=cv2.INTER_AREA)
        for _ in range(shapes):
            colour = np.exp(rng.uniform(np.log(0.01), np.log(0.8))) * (1 + rng.normal(0, 0.25, 3))
            corner = rng.uniform(-0.3, 1.1, 2) * size
            extent = rng.uniform(0.05, 0.8, 2) * size
            box = cv2.boxPoints(((corner + extent / 2).tolist(), extent.tolist(), float(rng.uniform(-30, 30))))
            cv2.fillConvexPoly(wall, box.astype(np.int32), np.clip(colour, 0.003, 1).tolist())
        wall = cv2.GaussianBlur(wall, (0, 0), float(rng.uniform(0.4, 6.0)) * size / 112)
        return cv2.resize(wall, (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def develop(
        self, rgba: Array, background: Array, skin: float, settings: Mapping[str, Any], rng: np.random.Generator
    ) -> Array:
        """Linear colour and cover `(size, size, 4)` to a uint8 RGB image `(size, size, 3)`.

        Args:
            rgba: Head and what it wears, colour already multiplied by cover.
            background: What lies behind.
            skin: Mean linear brightness of the lit skin, for the partial auto-exposure.
            settings: As `scenes.sample_camera` gives them.
            rng: Draws the noise.
        """
        image = rgba[..., :3] + background * (1 - rgba[..., 3:])
        auto = (GREY / max(skin, 0.01)) ** settings["auto"]
        image *= np.asarray(settings["gain"], F) * F(settings["exposure"] * auto)
        np.maximum(image, 0, out=image)
        image = _tone(image, settings)
        image = self._lens(image, settings)
        if settings["vignette"]:
            image *= 1 - F(settings["vignette"]) * self._radius
        image = self._grain(image, settings, rng)
        if settings["grey"]:
            image = np.repeat((image @ LUMA)[..., None], 3, 2)
        elif settings["saturation"] != 1:
            grey = (image @ LUMA)[..., None]
            image = grey + F(settings["saturation"]) * (image - grey)
        out: Array = (image.clip(0, 1) * F(255) + F(0.5)).astype(np.uint8)
        if settings["jpeg"]:
            done, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(settings["jpeg"])])
            assert done  # encoding into memory fails for no valid image
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return out

    def _lens(self, image: Array, settings: Mapping[str, Any]) -> Array:
        """Focus, shake, a smaller file enlarged again, and the edge that sharpening leaves."""
        unit = self.size / 112
        if settings["blur"] * unit > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), float(settings["blur"] * unit))
        if settings["motion"]:
            image = cv2.filter2D(image, -1, _streak(float(settings["motion"] * unit), settings["angle"]))
        if settings["low"] < 1:
            small = max(16, round(self.size * settings["low"]))
            image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        if settings["sharpen"]:
            image = image + F(settings["sharpen"]) * (image - cv2.GaussianBlur(image, (0, 0), 1.2 * unit))
        return image

    def _grain(self, image: Array, settings: Mapping[str, Any], rng: np.random.Generator) -> Array:
        """Noise of brightness and of colour, a shifted piece of the bank."""
        size = self.size
        row, column = rng.integers(0, size, 2)
        piece = self._noise[row : row + size, column : column + size]
        if settings["noise"]:
            image = image + F(settings["noise"]) * piece[..., :1]
        if settings["chroma"]:
            image = image + F(settings["chroma"]) * piece
        return image


def _tone(image: Array, settings: Mapping[str, Any]) -> Array:
    """Gamma 2.2 with a shoulder that keeps highlights, then contrast about middle grey."""
    image = image / (1 + F(0.22) * image * image)
    out: Array = np.power(image, F(0.4545 * settings["gamma"]))
    return (out - F(0.45)) * F(settings["contrast"]) + F(0.45)


def _streak(length: float, angle: float) -> Array:
    side = max(3, 2 * int(length) + 1)
    kernel = np.zeros((side, side), F)
    middle, reach = side / 2 - 0.5, length / 2
    ends = [
        tuple(round(float(8 * (middle + sign * reach * v))) for v in (np.cos(angle), np.sin(angle))) for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 3)
    return kernel / max(float(kernel.sum()), 1e-6)

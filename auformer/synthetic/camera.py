"""The camera: background, exposure, gamma, blur, vignette, noise, colour and JPEG [ours]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, F

GREY = 0.30  # mean skin brightness, linear, that the auto-exposure aims at


class Camera:
    """One sensor size; owns its noise bank, so that noise costs a shift and not a draw per pixel.

    Args:
        size: Side of the image in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        bank = np.random.default_rng(5).standard_normal((size * 2, size * 2, 3)).astype(F)
        self._noise = (bank * F(0.75) + cv2.GaussianBlur(bank, (0, 0), 0.7) * F(1.1)).astype(F)
        q = (np.arange(size, dtype=F) + 0.5) / size - 0.5
        self._radius = cv2.merge([(q[None, :] ** 2 + q[:, None] ** 2).astype(F)] * 3)

    def background(self, rng: np.random.Generator, level: float, tint: Sequence[float], busy: float) -> Array:
        """A blurred wall `(size, size, 3)` in linear light: mean brightness, RGB factors, strength of the pattern."""
        base = level * np.asarray(tint) + rng.normal(0, 0.05 * busy, (7, 7, 1)) + rng.normal(0, 0.015 * busy, (7, 7, 3))
        return cv2.resize(np.clip(base, 0.005, 0.9).astype(F), (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def expose(
        self, rgba: Array, background: Array, skin: float, settings: Mapping[str, Any], rng: np.random.Generator
    ) -> Array:
        """Linear colour and cover `(size, size, 4)` to a uint8 RGB image `(size, size, 3)`.

        Args:
            rgba: The head, from the camera's side.
            background: What lies behind it.
            skin: Mean linear skin brightness, for the partial auto-exposure.
            settings: `gain` (RGB), `exposure`, `contrast`, `saturation`, `vignette`, `blur` in pixels at 112 px,
                `noise`, `jpeg` quality or 0.
            rng: Draws which part of the noise bank is used.
        """
        red, green, blue, cover = cv2.split(rgba)
        np.subtract(F(1), cover, out=cover)
        image: Array = cv2.merge([red, green, blue])
        image += cv2.multiply(background, cv2.merge([cover, cover, cover]))
        auto = (GREY / skin) ** settings.get("auto", 0.35)
        image *= np.asarray(settings.get("gain", (1, 1, 1)), F) * F(settings.get("exposure", 1.0) * auto)
        np.maximum(image, 0, out=image)
        cv2.sqrt(image, image)  # gamma 2
        blur = settings.get("blur", 0.0) * self.size / 112
        if blur > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), float(blur))
        if settings.get("vignette"):
            image *= 1 - F(settings["vignette"]) * self._radius
        row, column = rng.integers(0, self.size, 2)
        if settings.get("noise"):
            image = cv2.scaleAdd(
                self._noise[row : row + self.size, column : column + self.size], float(settings["noise"]), image
            )
        image = cv2.transform(image, _colour_matrix(settings.get("contrast", 1.0), settings.get("saturation", 1.0)))
        out: Any = cv2.convertScaleAbs(np.maximum(image, 0, out=image))
        quality = int(settings.get("jpeg", 0))
        if quality:
            out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        return out


def _colour_matrix(contrast: float, saturation: float) -> Array:
    """Saturation, contrast about 0.45 and the scale to 8 bits as one `(3, 4)` matrix."""
    mix = (np.eye(3) * saturation + (1 - saturation) / 3) * contrast * 255
    return np.hstack([mix, np.full((3, 1), 0.45 * 255 * (1 - contrast))]).astype(F)

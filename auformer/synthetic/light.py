"""Light on the head: wrapped key light, fill, sky, cavities and highlight [ours]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, Canvas, F

WRAP = (
    0.34, 0.20, 0.14,
)  # how far the key light bleeds round the form in red, green, blue: an imitation of subsurface scattering  # fmt: skip
CAVITY_SIGMA = 0.055  # blur that a cavity is measured against, in IPD


@dataclass(frozen=True)
class Light:
    """One light in the head's frame: key light, sky (ambient) and fill with their strengths and RGB colours.

    `direction` and `view` are unit vectors `(3,)` towards the key light and the camera.
    """

    direction: Array
    view: Array
    key: Any
    ambient: Any
    fill: float
    colour: Array
    ambient_colour: Array

    @classmethod
    def of(cls, turn: Array, light: Mapping[str, Any]) -> Light:
        """Turn a scene's light into the frame of a head rotated by `turn`."""
        direction = np.asarray(light.get("dir", (0.35, -0.50, 0.80)), F)
        return cls(
            turn.T @ (direction / np.linalg.norm(direction)), turn[2], F(light.get("key", 0.95)),
            F(light.get("amb", 0.30)), float(light.get("fill", 0.12)), np.asarray(light.get("color", (1, 1, 1)), F),
            np.asarray(light.get("amb_color", (1, 1, 1)), F),
        )  # fmt: skip


class Shader:
    """Turns colour and height into a lit image; owns scratch buffers, so one per worker.

    Args:
        canvas: The drawing board.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self._buffers: list[Array] = [np.empty((canvas.size, canvas.size), F) for _ in range(11)]

    def shade(self, rgba: Array, height: Array, relief: Array, light: Light, oil: float) -> Array:
        """Lit linear colour `(size, size, 4)` of albedo and cover `rgba`.

        `height` is in IPD, `relief` the part of it that muscles made: furrows darken a little more than other cavities.
        `oil` is the strength of the skin's highlight.
        """
        slope_x, slope_y, inverse, lit, gloss, t = self._buffers[:6]
        self._slopes(height, slope_x, slope_y, inverse, t)
        scale = F(0.5 * self.canvas.ppi)
        half = light.direction + light.view
        half = half / np.linalg.norm(half)
        for facing, v in ((lit, light.direction), (gloss, half)):
            np.multiply(slope_x, F(-v[0] * scale), out=facing)
            np.multiply(slope_y, F(-v[1] * scale), out=t)
            facing += t
            facing += F(v[2])
            facing *= inverse
        np.maximum(gloss, 0, out=gloss)
        for _ in range(4):
            gloss *= gloss  # Blinn exponent 16
        open_ = self._openness(height, relief, t)
        sky = self._sky(slope_y, inverse, lit, open_, light, scale, t)
        channels = [self._key(lit, open_, sky, light, c, t) for c in range(3)]
        gloss *= open_
        gloss *= F(0.055 * oil) * light.key
        sky.fill(1)
        out: Array = cv2.multiply(rgba, cv2.merge([*channels, sky]))
        out[..., :3] += gloss[..., None]
        return out

    def _slopes(self, height: Array, slope_x: Array, slope_y: Array, inverse: Array, t: Array) -> None:
        """Central differences of the height, and one over the length of the normal."""
        np.subtract(height[:, 2:], height[:, :-2], out=slope_x[:, 1:-1])
        slope_x[:, 0], slope_x[:, -1] = slope_x[:, 1], slope_x[:, -2]
        np.subtract(height[2:], height[:-2], out=slope_y[1:-1])
        slope_y[0], slope_y[-1] = slope_y[1], slope_y[-2]
        scale = F(0.5 * self.canvas.ppi)
        np.multiply(slope_x, slope_x, out=inverse)
        np.multiply(slope_y, slope_y, out=t)
        inverse += t
        inverse *= scale * scale
        inverse += F(1)
        cv2.sqrt(inverse, inverse)
        np.reciprocal(inverse, out=inverse)

    def _openness(self, height: Array, relief: Array, t: Array) -> Array:
        """1 on flat skin, down to 0.34 in cavities, up to 1.12 on ridges; furrows stay visible in frontal light."""
        size = self.canvas.size
        low: Array = cv2.resize(height, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
        low = cv2.GaussianBlur(low, (0, 0), max(0.5, CAVITY_SIGMA * self.canvas.ppi / 4))
        out: Array = cv2.resize(low, (size, size), interpolation=cv2.INTER_LINEAR)
        np.subtract(height, out, out=out)
        np.maximum(out, 0, out=t)
        out *= F(5.0)
        t *= F(-3.8)
        out += t  # slope 5 below, 1.2 above
        np.minimum(relief, 0, out=t)
        t *= F(7.0)
        out += t
        out += F(1)
        return np.clip(out, 0.34, 1.12, out=out)

    def _sky(
        self, slope_y: Array, inverse: Array, lit: Array, open_: Array, light: Light, scale: Any, t: Array
    ) -> Array:
        """Light from above plus the fill where the key light does not reach."""
        sky, fill = self._buffers[6], self._buffers[7]
        np.multiply(slope_y, inverse, out=sky)
        sky *= F(0.18) * scale * light.ambient
        sky += F(0.86) * light.ambient
        np.multiply(lit, F(-light.fill), out=fill)
        np.maximum(fill, 0, out=fill)
        sky += fill
        sky *= open_
        return sky

    def _key(self, lit: Array, open_: Array, sky: Array, light: Light, channel: int, t: Array) -> Array:
        out = np.add(lit, F(WRAP[channel]), out=self._buffers[8 + channel])
        np.maximum(out, 0, out=out)
        out *= open_
        out *= light.key * light.colour[channel] / F(1 + WRAP[channel])
        np.multiply(sky, light.ambient_colour[channel], out=t)
        out += t
        return out

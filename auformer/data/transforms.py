"""From an image to the array that a network takes: resize, training augmentation, float.

Training augmentation is albumentations' (the last MIT release); evaluation and prediction do nothing but the resize and
run without it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# Strength of the augmentation [ours]: aligned faces vary little in place, so geometry is small; amounts as in the runs
# that chose them.
FLIP = 0.5
SHIFT = 0.04  # of the image size, each way: border added, then a random crop
SCALE, ROTATE = (0.94, 1.06), (-6.0, 6.0)  # factor, degrees; of half the images
BRIGHTNESS, CONTRAST, SATURATION = (0.87, 1.13), (0.8, 1.25), (0.85, 1.15)  # factors
CAST = 8.0  # largest shift per channel, of 255 grey levels
BLUR = (0.4, 0.9)  # standard deviation in pixels of a 112 px image
NOISE = (0.005, 0.02)  # standard deviation, of the range [0, 1]
JPEG = (40, 90)  # quality
HOLE = (0.08, 0.2)  # side of the square hole relative to the image
REFERENCE = 112  # image size in pixels at which BLUR holds


@dataclass(frozen=True)
class Strong:
    """Amounts of the strong augmentation [ours], for detectors that must work on photographs of another kind."""

    shift: float = 0.10  # of the image size, each way
    scale: tuple[float, float] = (0.85, 1.15)
    rotation: tuple[float, float] = (-10.0, 10.0)  # degrees
    gamma: tuple[float, float] = (60, 150)  # per cent
    brightness: tuple[float, float] = (0.7, 1.35)
    contrast: tuple[float, float] = (0.55, 1.6)
    saturation: tuple[float, float] = (0.3, 1.5)
    cast: float = 20.0  # grey levels of 255
    shading: tuple[float, float] = (0.05, 0.2)  # of the range, brighter or darker on one side
    resolution: tuple[float, float] = (0.3, 0.8)  # of the image size, brought back afterwards
    blur: tuple[float, float] = (0.4, 1.8)  # pixels of a 112 px image
    noise: tuple[float, float] = (0.01, 0.08)  # of the range
    jpeg: tuple[int, int] = (15, 85)
    holes: tuple[int, int] = (1, 3)
    hole: tuple[float, float] = (0.08, 0.3)


def image_shape(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width from one number or two.

    Raises:
        ValueError: Not one or two positive whole numbers.

    >>> image_shape(112), image_shape([96, 64])
    ((112, 112), (96, 64))
    """
    shape = (size, size) if isinstance(size, int) else tuple(size)
    if len(shape) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in shape):
        raise ValueError(
            f"Expected `image_size` to be a positive number of pixels, or height and width, but got {size!r}"
        )
    return shape[0], shape[1]


def resize(image: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
    """Bring uint8 `(h, w, 3)` to a side, or `(H, W)`, in pixels: area averaging when it shrinks, bilinear otherwise.

    Another aspect ratio stretches the image; the same array comes back where nothing is to be done.
    """
    height, width = image_shape(size)
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def to_float(image: np.ndarray) -> np.ndarray:
    """From uint8 `(H, W, 3)` to float32 `(3, H, W)` in [0, 1]."""
    return np.divide(image.transpose(2, 0, 1), np.float32(255.0), dtype=np.float32, order="C")


class Augmentation:
    """Training augmentation: every random number of it comes from the generator that it is given.

    Args:
        flip: albumentations' horizontal flip, without chance; None: never.
        pipeline: Composition of all else, for uint8 RGB.
    """

    def __init__(self, flip: Any, pipeline: Any) -> None:
        self.flip = flip
        self.pipeline = pipeline

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Change uint8 `(H, W, 3)`, every draw from `rng`.

        Also whether it was flipped: left and right labels swap then.
        """
        flipped = self.flip is not None and bool(rng.random() < FLIP)
        if flipped:
            image = self.flip(image=image)["image"]
        # One stream for all transforms: `set_random_seed` would give each the same one, and what happens would happen
        # together.
        self.pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        return self.pipeline(image=image)["image"], flipped


STRENGTHS = ("default", "strong", "none")


def build_augmentation(
    image_size: int | Sequence[int], strength: str = "default", *, in_place: bool = True
) -> Augmentation | None:
    """Build the training augmentation: flip, place, colour, sharpness, noise, compression, holes.

    Args:
        image_size: Side, or height and width, in pixels.
        strength: "default" for faces of the kind that is tested; "strong" for those that are not (half of the images
            grey, strong light and shading, low resolution, more holes); "none".
        in_place: False leaves out what moves a pixel, the flip included: for targets that lie in the image.

    Returns:
        A callable `(image, rng) -> (image, flipped)`; None for the `strength` "none".

    Raises:
        ValueError: `strength` is none of these.
    """
    height, width = image_shape(image_size)
    if strength not in STRENGTHS:
        raise ValueError(f"Expected `strength` to be one of {', '.join(STRENGTHS)}, but got {strength!r}")
    if strength == "none":
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for updates in the network
    import albumentations as alb

    unit = min(height, width) / REFERENCE
    moved, looks = (_moved, _looks) if strength == "default" else (_moved_strongly, _looks_strongly)
    steps = [*(moved(alb, height, width) if in_place else []), *looks(alb, unit)]
    return Augmentation(alb.HorizontalFlip(p=1.0) if in_place else None, alb.Compose(steps))


def _moved(alb: Any, height: int, width: int) -> list[Any]:
    border = cv2.BORDER_REPLICATE
    return [
        alb.Affine(scale=SCALE, rotate=ROTATE, keep_ratio=True, border_mode=border, p=0.5),
        alb.Pad(padding=max(1, round(SHIFT * min(height, width))), border_mode=border, p=1.0),
        alb.RandomCrop(height, width, p=1.0),
    ]


def _looks(alb: Any, unit: float) -> list[Any]:
    return [
        alb.ColorJitter(brightness=BRIGHTNESS, contrast=CONTRAST, saturation=SATURATION, hue=(0.0, 0.0), p=0.9),
        alb.RGBShift(CAST, CAST, CAST, p=0.5),
        alb.OneOf(
            [  # a quarter of the images blurred, a quarter noisy
                alb.GaussianBlur(blur_limit=0, sigma_limit=(BLUR[0] * unit, BLUR[1] * unit), p=1.0),
                alb.GaussNoise(std_range=NOISE, p=0.5),
                alb.ImageCompression(quality_range=JPEG, p=0.5),
            ],
            p=0.5,
        ),
        alb.CoarseDropout(
            num_holes_range=(1, 1), hole_height_range=HOLE, hole_width_range=HOLE, fill="random_uniform", p=0.15
        ),
    ]


def _moved_strongly(alb: Any, height: int, width: int) -> list[Any]:
    """No mirrored border: it would show a second mouth."""
    to, turn = Strong.shift, Strong.rotation
    shift = {"x": (-to, to), "y": (-to, to)}
    border = cv2.BORDER_REPLICATE
    return [
        alb.Affine(scale=Strong.scale, rotate=turn, translate_percent=shift, keep_ratio=True, border_mode=border, p=0.9)
    ]


def _looks_strongly(alb: Any, unit: float) -> list[Any]:
    low, high = Strong.blur[0] * unit, Strong.blur[1] * unit
    return [
        alb.ColorJitter(
            brightness=Strong.brightness,
            contrast=Strong.contrast,
            saturation=Strong.saturation,
            hue=(-0.03, 0.03),
            p=0.9,
        ),
        alb.RandomGamma(gamma_limit=Strong.gamma, p=0.5),
        alb.RGBShift(Strong.cast, Strong.cast, Strong.cast, p=0.5),
        alb.Illumination(mode="linear", intensity_range=Strong.shading, p=0.4),
        alb.Sharpen(alpha=(0.1, 0.4), p=0.1),
        alb.OneOf(
            [
                alb.GaussianBlur(blur_limit=0, sigma_limit=(low, high), p=1.0),
                alb.MotionBlur(blur_limit=(3, 5), p=0.3),
                alb.Downscale(scale_range=Strong.resolution, p=1.0),
            ],
            p=0.45,
        ),
        alb.GaussNoise(std_range=Strong.noise, p=0.35),
        alb.ToGray(p=0.5),  # after the noise, which is grey then too
        alb.ImageCompression(quality_range=Strong.jpeg, p=0.35),
        alb.CoarseDropout(
            num_holes_range=Strong.holes,
            hole_height_range=Strong.hole,
            hole_width_range=Strong.hole,
            fill="random_uniform",
            p=0.35,
        ),
    ]

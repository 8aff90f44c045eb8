"""From an image to the array that a network takes: resize, training augmentation, float.

Training augmentation is albumentations' (the last MIT release); evaluation and prediction do nothing but the resize and
run without it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
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
        flip: albumentations' horizontal flip, without chance.
        pipeline: Composition of all else, for uint8 RGB.
    """

    def __init__(self, flip: Any, pipeline: Any) -> None:
        self.flip = flip
        self.pipeline = pipeline

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Change uint8 `(H, W, 3)`, every draw from `rng`.

        Also whether it was flipped: left and right labels swap then.
        """
        flipped = bool(rng.random() < FLIP)
        if flipped:
            image = self.flip(image=image)["image"]
        # One stream for all transforms: `set_random_seed` would give each the same one, and what happens would happen
        # together.
        self.pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        return self.pipeline(image=image)["image"], flipped


def build_augmentation(image_size: int | Sequence[int], strength: str = "default") -> Augmentation | None:
    """Build the training augmentation: flip, small affine, crop, colour, blur or noise or JPEG, coarse dropout.

    Returns:
        A callable `(image, rng) -> (image, flipped)`; None for the `strength` "none".

    Raises:
        ValueError: `strength` is neither "default" nor "none".
    """
    height, width = image_shape(image_size)
    if strength == "none":
        return None
    if strength != "default":
        raise ValueError(f"Expected `strength` to be 'default' or 'none', but got {strength!r}")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for updates in the network
    import albumentations as alb

    unit = min(height, width) / REFERENCE
    border = cv2.BORDER_REPLICATE
    pipeline = alb.Compose(
        [
            alb.Affine(scale=SCALE, rotate=ROTATE, keep_ratio=True, border_mode=border, p=0.5),
            alb.Pad(padding=max(1, round(SHIFT * min(height, width))), border_mode=border, p=1.0),
            alb.RandomCrop(height, width, p=1.0),
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
    )
    return Augmentation(alb.HorizontalFlip(p=1.0), pipeline)

"""How MDHR and AUNCE look at images: the released training augmentations, and what part of a face is tested.

Both codes read faces of 256 pixels and train on crops of 224, so a training face is 8/7 as large as the whole image
would be; a `centre` view shows test faces as large, a `whole` view does not. Neither needs albumentations.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from auformer.data.transforms import image_shape, resize

MARGIN = 32 / 224  # of the image size, that is read more and cropped away
FLIP = 0.5
JITTER = (0.6, 1.4)  # factors of brightness, contrast, saturation
VIEWS = ("whole", "centre")
AUGMENTATIONS = ("mdhr", "aunce")
HUE = 0.1  # of the circle, each way
JITTERED, GREYED = 0.8, 0.2  # shares of AUNCE's images whose colours change, and that lose them
BLUR = (0.1, 2.0)  # standard deviation of a kernel of 3 pixels
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as torchvision


def read_shape(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Size at which an image is read before a crop: 256 for 224.

    >>> read_shape(224), read_shape(112)
    ((256, 256), (128, 128))
    """
    height, width = image_shape(image_size)
    return round(height * (1 + MARGIN)), round(width * (1 + MARGIN))


def shape_of(image_size: int | Sequence[int], view: str) -> tuple[int, int]:
    """Size of the image that a `view` of this size is taken from, `(H, W)` in pixels."""
    return read_shape(image_size) if view == "centre" else image_shape(image_size)


def centre(image: np.ndarray, image_size: int | Sequence[int]) -> np.ndarray:
    """The middle of uint8 `(h, w, 3)`: brought to `read_shape`, the margin cropped off."""
    height, width = image_shape(image_size)
    image = resize(image, read_shape(image_size))
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def see(image: np.ndarray, image_size: int | Sequence[int], view: str) -> np.ndarray:
    """An image uint8 `(h, w, 3)` as a network sees it, `(H, W, 3)`: the `whole`, or its `centre`."""
    return centre(image, image_size) if view == "centre" else resize(image, image_size)


def _blend(image: np.ndarray, other: np.ndarray | float, factor: float) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * other, 0, 255)


def jitter(image: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Change float32 RGB `(H, W, 3)` of 0 to 255 by three factors, in this order, as torchvision's ColorJitter does."""
    image = _blend(image, 0.0, brightness)
    image = _blend(image, float(np.floor((image @ GREY).mean() + 0.5)), contrast)
    return _blend(image, (image @ GREY)[..., None], saturation)


def turn_hue(image: np.ndarray, part: float) -> np.ndarray:
    """Turn the hue of float32 RGB `(H, W, 3)` of 0 to 255 by a part of the circle."""
    hsv = cv2.cvtColor((image / 255).astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * part) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255


class ReleasedAugmentation:
    """Training augmentation of MDHR or AUNCE on images of `read_shape`, every draw from the generator that it is given.

    MDHR: a crop at any place, flip, brightness, contrast, saturation. AUNCE: the same crop and flip; for 80 % of the
    images also hue; 20 % lose their colour; all are blurred. In both codes the flip does not swap left and right
    labels, as there are none.

    Args:
        image_size: Of the crop, in pixels.
        kind: `mdhr` or `aunce`.

    Raises:
        ValueError: It is neither.
    """

    def __init__(self, image_size: int | Sequence[int], kind: str) -> None:
        if kind not in AUGMENTATIONS:
            raise ValueError(f"Expected `kind` to be one of {', '.join(AUGMENTATIONS)}, but got {kind!r}")
        self.shape, self.kind = image_shape(image_size), kind

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Change uint8 `(h, w, 3)`; also whether it was flipped."""
        (height, width), image = self.shape, resize(image, read_shape(self.shape))
        top, left = (int(rng.integers(room + 1)) for room in (image.shape[0] - height, image.shape[1] - width))
        flipped = bool(rng.random() < FLIP)
        factors = rng.uniform(*JITTER, 3)
        chances, hue, sigma = rng.random(2), rng.uniform(-HUE, HUE), rng.uniform(*BLUR)
        cut = image[top : top + height, left : left + width]
        cut = cut[:, ::-1] if flipped else cut
        found: np.ndarray = cut.astype(np.float32)
        if self.kind == "mdhr" or chances[0] < JITTERED:
            found = jitter(found, *factors.tolist())
        if self.kind == "aunce":
            if chances[0] < JITTERED:
                found = turn_hue(found, float(hue))
            if chances[1] < GREYED:
                found = np.repeat((found @ GREY)[..., None], 3, axis=2)
            found = cv2.GaussianBlur(found, (3, 3), float(sigma))
        return np.rint(np.clip(found, 0, 255)).astype(np.uint8), flipped

"""From points on a face to an aligned crop: named crop recipes and the similarity transform that carries them out.

The same recipe must have made the images that a network was trained on and the images that it is asked about: with
another crop ME-GraphAU lost 22 F1 points (CVI-SZU/ME-GraphAU, issue 9). So the constants are stored once: those of
`eyes` here, where the renderer imports them, those of the other conventions in `auformer.faces.recipes`. One transform
for a whole clip: `crop_matrix` of its onset, then `warp` of every frame.

**Pixel coordinates.** The origin is the image's upper left *corner*, so the centre of the first pixel is (0.5, 0.5), an
image of width W reaches from 0 to W, mirroring is ``x -> W - x``, and resizing by a factor multiplies every coordinate
by it. OpenCV puts the origin on the first pixel's *centre* in its warps; the half pixel is added and removed here and
nowhere else.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from auformer.faces.recipes import CROPS, Box, CropRecipe, EyeRecipe

#: Side of the `eyes` crop in inter-pupil distances (IPD), see CROP_RECIPES.
SIDE = 2.75
#: Distance of the `eyes` crop's centre below the middle between the pupils, in IPD.
CENTRE_BELOW = 0.42
#: The fine grid may be coarser than the image by this factor, which does not alias visibly and keeps exact factors
#: exact. [ours]
_NEARLY_ONE = 1.01
_BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "constant": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE}


#: The default, and the renderer's own crop before its seeded jitter and roll.
EYES = EyeRecipe(
    "eyes", 224, "[ours] forehead to chin of an open mouth, chosen on rendered and real faces", "", SIDE, CENTRE_BELOW
)
#: Every crop recipe by name.
CROP_RECIPES: dict[str, CropRecipe] = {"eyes": EYES, **CROPS}


def crop_geometry(recipe: str) -> CropRecipe:
    """The constants of one crop recipe.

    Args:
        recipe: A key of `CROP_RECIPES`.

    Raises:
        ValueError: There is no such recipe.
    """
    if recipe not in CROP_RECIPES:
        raise ValueError(f"Expected `recipe` to be one of {', '.join(sorted(CROP_RECIPES))}, but got {recipe!r}.")
    return CROP_RECIPES[recipe]


def crop_matrix(points: np.ndarray | None, recipe: str = "eyes", size: int = 224, box: Box | None = None) -> np.ndarray:
    """The similarity transform from image coordinates to crop coordinates.

    Args:
        points: (5, 2) pupils, nose tip, mouth corners, image left first, in pixels; `eyes` and `megraphau` read the
            first two rows only, so (2, 2) is enough for them; `box` reads none.
        recipe: A key of `CROP_RECIPES`.
        size: Side of the crop in pixels; a recipe's `native_size` is that of its source.
        box: (x, y, w, h) of the face in pixels, which the recipe `box` needs and no other reads.

    Returns:
        (2, 3) float64 matrix M: crop point = M[:, :2] @ image point + M[:, 2], in the pixel coordinates of this module.

    Raises:
        ValueError: The points are not finite, are of another shape, or the pupils coincide; or the box is missing or
            empty.
    """
    geometry = crop_geometry(recipe)
    if size < 1:
        raise ValueError(f"Expected `size` to be a positive number of pixels, but got {size}.")
    return geometry.square(points, box).matrix(size)


def warp(image: np.ndarray, matrix: np.ndarray, size: int, *, border: str = "reflect") -> np.ndarray:
    """Cut a square crop out of an image by a similarity transform, without aliasing.

    When the crop is smaller than its piece of the image, the piece is sampled on a grid a whole number of times finer
    than the crop and every crop pixel is the mean over its cell (area interpolation); otherwise bilinear interpolation.

    Args:
        image: (H, W, 3) or (H, W) uint8 (or float) image.
        matrix: (2, 3) transform from image to crop coordinates, as `crop_matrix` gives.
        size: Side of the crop in pixels.
        border: What lies outside the image: "reflect" (mirrored), "edge" (its outermost pixels, repeated) or "constant"
            (black).

    Returns:
        (size, size, 3) or (size, size) crop of the image's dtype.

    Raises:
        ValueError: `border` is unknown.
    """
    if border not in _BORDERS:
        raise ValueError(f"Expected `border` to be one of {', '.join(_BORDERS)}, but got {border!r}.")
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    finer = max(1, math.ceil(1 / (scale * _NEARLY_ONE)))
    fine = finer * np.asarray(matrix, dtype=np.float64)
    fine[:, 2] += fine[:, :2] @ np.array([0.5, 0.5]) - 0.5  # OpenCV: the first pixel's centre is (0, 0)
    crop = cv2.warpAffine(
        image, fine, (finer * size, finer * size), flags=cv2.INTER_LINEAR, borderMode=_BORDERS[border]
    )
    return crop if finer == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def align(
    image: np.ndarray, points: np.ndarray | None, recipe: str = "eyes", size: int = 224, *, border: str = "reflect",
    box: Box | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Cut an aligned face out of an image: `crop_matrix`, then `warp`.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        points: `(5, 2)` landmarks in pixels.
        recipe: A key of `CROP_RECIPES`.
        size: Side of the crop in pixels.
        border: As `warp` takes it.
        box: (x, y, w, h) of the face, for the recipe `box` only.

    Returns:
        Crop `(size, size, 3)` uint8 RGB, and the `(2, 3)` float64 matrix from image to crop coordinates.

    Raises:
        ValueError: Landmarks, recipe, size, border or box are not usable.
    """
    matrix = crop_matrix(points, recipe, size, box)
    return warp(image, matrix, size, border=border), matrix

"""Which square of an image is the crop.

One recipe per convention of the field, all worked out from five landmarks, or from a box.

A square is given by its centre and by half its upper side as a vector, so it may be turned but is never stretched.
Where a convention was made with more landmarks than five, or its source states no constant, the recipe says in
`approximation` what ours does in their place. The `eyes` recipe, which the renderer shares, is in
`auformer.faces.align`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

Box = tuple[float, float, float, float]

_SMALLEST = 1.0  # pixels between points that must not coincide [ours]
_EYE_CENTRES = "pupils stand for the means of the eye contours, which move with the lids"


@dataclass(frozen=True, eq=False)
class Square:
    """A square in an image.

    Args:
        centre: (2,) in pixels.
        axis: (2,) half of its upper side in pixels, pointing to the crop's right.
    """

    centre: np.ndarray
    axis: np.ndarray

    def matrix(self, size: int) -> np.ndarray:
        """(2, 3) float64 similarity transform from the image to a crop of `size` pixels per side."""
        cosine, sine = self.axis * (size / 2 / (self.axis @ self.axis))
        linear = np.array([[cosine, sine], [-sine, cosine]])
        return np.column_stack([linear, size / 2 - linear @ self.centre])


@dataclass(frozen=True)
class CropRecipe(ABC):
    """A named way to cut a face out.

    Args:
        name: What manifests and checkpoints call it.
        native_size: Side of the crop in pixels where the convention comes from.
        source: Where the constants come from.
        approximation: What ours does in place of the original, empty where nothing.
    """

    name: str
    native_size: int
    source: str
    approximation: str

    @abstractmethod
    def square(self, points: np.ndarray | None, box: Box | None) -> Square:
        """The crop's square.

        Args:
            points: (5, 2) pupils, nose tip, mouth corners, image left first, in pixels.
            box: (x, y, w, h) of the face in pixels.

        Raises:
            ValueError: What the recipe needs is missing, not finite, or coincides.
        """


@dataclass(frozen=True)
class EyeRecipe(CropRecipe):
    """Eyes level, everything in inter-pupil distances (IPD).

    Args:
        side: Side of the square in IPD, > 0.
        centre_below: Distance of the square's centre below the middle between the pupils, in IPD.

    >>> [round(value, 3) for value in CROPS["megraphau"].pupils[0]]
    [0.329, 0.329]
    """

    side: float
    centre_below: float

    @property
    def pupils(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where the two pupils come to lie, image left first, as fractions (x, y) of the crop's side, in [0, 1]."""
        y = 0.5 - self.centre_below / self.side
        return (0.5 - 0.5 / self.side, y), (0.5 + 0.5 / self.side, y)

    def square(self, points: np.ndarray | None, box: Box | None) -> Square:
        """See `CropRecipe.square`; only the pupils are read."""
        left, right = known_points(points, 2)
        along = right - left
        return Square((left + right) / 2 + self.centre_below * _down(along), along * (self.side / 2))


@dataclass(frozen=True)
class ExtentRecipe(CropRecipe):
    """Eyes level; the upright box around the five landmarks, made square by its longer side, times `enlarge`."""

    enlarge: float

    def square(self, points: np.ndarray | None, box: Box | None) -> Square:
        """See `CropRecipe.square`."""
        points = known_points(points, 5)
        along = points[1] - points[0]
        axes = np.stack([along, _down(along)]) / np.hypot(*along)
        level = points @ axes.T
        low, high = level.min(0), level.max(0)
        return Square((low + high) / 2 @ axes, axes[0] * (self.enlarge * (high - low).max() / 2))


@dataclass(frozen=True)
class QuadRecipe(CropRecipe):
    """The FFHQ quad: turned by eyes and mouth together, sized by the larger of two distances.

    Args:
        per_eyes: Half side in distances between the eyes.
        per_mouth: Half side in distances from eyes to mouth.
        shift: Of the centre from the middle between the eyes towards the mouth, in distances from eyes to mouth.
    """

    per_eyes: float
    per_mouth: float
    shift: float

    def square(self, points: np.ndarray | None, box: Box | None) -> Square:
        """See `CropRecipe.square`; the nose tip is not read."""
        points = known_points(points, 5)
        eyes, between = points[:2].mean(0), points[1] - points[0]
        mouth = points[3:].mean(0) - eyes
        axis = between - _down(mouth)
        length = float(np.hypot(*axis))
        if length < _SMALLEST:
            raise ValueError("Expected `points` of a face, but got a mouth above the eyes, as far as they are apart.")
        half = max(self.per_eyes * np.hypot(*between), self.per_mouth * np.hypot(*mouth))
        return Square(eyes + self.shift * mouth, axis * (half / length))


@dataclass(frozen=True)
class TemplateRecipe(CropRecipe):
    """The similarity that brings the five landmarks nearest to a template, by least squares.

    Umeyama 1991, without reflection. `template`: five places (x, y) as fractions of the crop's side.
    """

    template: tuple[tuple[float, float], ...]

    def square(self, points: np.ndarray | None, box: Box | None) -> Square:
        """See `CropRecipe.square`."""
        points = known_points(points, 5)
        wanted = np.array(self.template) - 0.5
        centred = points - points.mean(0)
        target = wanted - wanted.mean(0)
        # In complex numbers the best turn and scale from the template to the image is one division.
        there, here = target @ np.array([1, 1j]), centred @ np.array([1, 1j])
        factor = (there.conj() @ here) / (there.conj() @ there)
        if abs(factor) < _SMALLEST:
            raise ValueError("Expected `points` of a face, but got five that no turn of the template resembles.")
        axis = np.array([factor.real, factor.imag])
        x, y = wanted.mean(0)
        return Square(points.mean(0) - x * axis - y * _down(axis), axis / 2)


@dataclass(frozen=True)
class BoxRecipe(CropRecipe):
    """Upright: the face's box made square by its longer side, times `enlarge`."""

    enlarge: float

    def square(self, points: np.ndarray | None, box: Box | None) -> Square:
        """See `CropRecipe.square`; the points are not read."""
        if box is None:
            raise ValueError("Expected `box` (x, y, w, h) for the recipe 'box', but got none: pass that of the face.")
        x, y, w, h = (float(value) for value in box)
        if not (np.isfinite([x, y, w, h]).all() and w >= _SMALLEST and h >= _SMALLEST):
            raise ValueError(f"Expected `box` to be (x, y, w, h) of at least one pixel, but got {tuple(box)}.")
        return Square(np.array([x + w / 2, y + h / 2]), np.array([self.enlarge * max(w, h) / 2, 0.0]))


def known_points(points: np.ndarray | None, count: int) -> np.ndarray:
    """The first `count` of the five landmarks, (count, 2) float64.

    Raises:
        ValueError: There are fewer, they are not finite, or the pupils coincide.
    """
    if points is None:
        raise ValueError("Expected `points` of shape (5, 2), pupils first, but got none.")
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] < count:
        raise ValueError(f"Expected `points` to be of shape (5, 2), pupils first, but got {points.shape}.")
    if not np.isfinite(points[:count]).all():
        raise ValueError(f"Expected `points` to be finite pixel coordinates, but got {points[:count].tolist()}.")
    distance = float(np.hypot(*(points[1] - points[0])))
    if distance < _SMALLEST:
        raise ValueError(f"Expected `points` to hold two different pupils, but they are {distance:.3g} pixels apart.")
    return points[:count]


def _down(along: np.ndarray) -> np.ndarray:
    """A vector (2,) turned clockwise by a right angle as seen on the screen: from right to down."""
    return np.array([-along[1], along[0]])


#: Every recipe but `eyes`.
CROPS: dict[str, CropRecipe] = {
    "megraphau": EyeRecipe(
        "megraphau",
        224,
        "CVI-SZU/ME-GraphAU issue 2 and utils.py: aligned to 256 pixels, of which the network sees the central 224",
        "[ours] the source does not say where the eyes lie: at 0.35 of the 256 pixels from the sides and from above, "
        "as by the default of imutils' FaceAligner",
        224 / 256 / 0.30,
        (0.5 - 0.35) / 0.30,
    ),
    "jaanet": ExtentRecipe(
        "jaanet",
        200,
        "ZhiwenShao/PyTorch-JAANet, dataset/face_transform.py: 2.9 times the extent of eye centres, nose and mouth "
        "corners, 200 pixels whose outer centres lie on the square's sides",
        _EYE_CENTRES,
        2.9 * 200 / 199,
    ),
    "ffhq": QuadRecipe(
        "ffhq", 256, "the FFHQ quad as in ihp-lab/FG-Net and ihp-lab/LibreFace", _EYE_CENTRES, 2.0, 1.8, 0.1
    ),
    "openface": TemplateRecipe(
        "openface",
        112,
        "OpenFace 2, lib/local/FaceAnalyser: similarity to the mean shape in millimetres, 0.7 pixels each, 112 pixels",
        "[ours] five landmarks in place of 68: pupils 64 mm apart, 38 mm above the centre, the others as on rendered "
        "faces; no mask",
        ((0.3, 0.2625), (0.7, 0.2625), (0.5, 0.4745), (0.3384, 0.7061), (0.6616, 0.7061)),
    ),
    "box": BoxRecipe(
        "box", 224, "cosanlab/py-feat, feat/detector_v2.py: box made square with a factor of 1.2", "", 1.2
    ),
}

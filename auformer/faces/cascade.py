"""The offline back-end: the Haar cascades that come inside OpenCV 4 (Viola and Jones 2001; Lienhart and Maydt 2002).

What it finds: upright faces that look at the camera; of rendered faces of unseen identities 99 % at 112 pixels and
more, 95 % of those tilted by 15 degrees, 78 % at 20, hardly any at 30; nearly all turned by 25 degrees [ours]. What it
does not: faces turned or tilted further, upside down, covered (mask, hand, strong shadow), or small; and it misses dark
skin more often than light. It takes an arrangement of light and dark for a face now and then.

Landmarks come from the network of `auformer.faces.regressor`; OpenCV's eye cascades check it. An eye window's centre is
taken for the pupil, so gaze to the side or half-closed lids move it a little: on 720 rendered faces of unseen
identities by 0.02 inter-pupil distances (median; 95th percentile 0.05 in lab A, 0.09 in lab B), at 64 pixels by 0.03 to
0.04 (0.10 and 0.14); nose tip and mouth corners, placed by proportion, know nothing of expression and are off by 0.08
(0.2). [ours]
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from auformer.errors import MissingExtraError
from auformer.faces.align import warp
from auformer.faces.certainty import locate_surely, search
from auformer.faces.face import Face
from auformer.faces.recipes import Box
from auformer.faces.regressor import MODEL, model_version

# Pupils in the frontal-face cascade's box, as fractions of its side: medians over 480 rendered faces of both labs.
# [ours]
_PUPILS = np.array([[0.30, 0.413], [0.70, 0.413]])
# Nose tip and mouth corners from the middle between the pupils, in IPD along and across the eye line: medians over the
# same. [ours]
_BELOW = np.array([[0.0, 0.53], [-0.404, 1.109], [0.404, 1.109]])

_PATCH = 0.44  # side of the piece of the box that is searched for one eye, centred on its expected place [ours]
_PATCH_PIXELS = 100  # to which the piece is brought, so that the eye is about 50 pixels wide [ours]
_EYE_PIXELS = (35, 70)  # smallest and largest eye window in the piece; found ones have 51 +- 5 [ours]
_SEARCH_STEP, _NEIGHBOURS = 1.05, 2  # fine steps: 1.1 doubles the error and halves the time (12 to 5 ms a face) [ours]
_FURTHEST = 0.12  # from the expected place, in sides of the box; a tilt of 17 degrees moves a pupil as far [ours]
_SHARED = 0.5  # of one eye's shift from its expected place, given to an eye that is not found; 0 and 1 are worse [ours]
_SPACING = (0.28, 0.56)  # pupils apart, in sides of the box; 0.40 +- 0.03 on rendered faces [ours]
_STEEPEST = np.tan(np.radians(25))  # slope of the eye line; the face cascade finds little beyond 20 degrees [ours]


def find_points(
    gray: np.ndarray, box: tuple[float, float, float, float], cascades: list[cv2.CascadeClassifier]
) -> tuple[np.ndarray, str]:
    """Five landmarks of a face whose box is known, by the eye cascades.

    Args:
        gray: `(H, W)` uint8 image.
        box: (x, y, w, h) from OpenCV's frontal-face cascade, in pixels.
        cascades: Eye cascades, the preferred one first.

    Returns:
        `(5, 2)` float64 in pixels, and how they were found: `eyes`, `one_eye` or `box`.
    """
    side = box[2]
    expected = np.array(box[:2]) + _PUPILS * side
    found = [_find_eye(gray, place, side, cascades) for place in expected]
    if found[0] is not None and found[1] is not None and not _is_plausible(found[1] - found[0], side):
        nearer = int(np.hypot(*(found[0] - expected[0])) > np.hypot(*(found[1] - expected[1])))
        found[1 - nearer] = None
    seen = [eye for eye in range(2) if found[eye] is not None]
    shift = _SHARED * (found[seen[0]] - expected[seen[0]]) if seen else np.zeros(2)
    pupils = np.array([expected[eye] + shift if found[eye] is None else found[eye] for eye in range(2)])
    return complete_points(pupils), ("box", "one_eye", "eyes")[len(seen)]


def complete_points(pupils: np.ndarray) -> np.ndarray:
    """Place nose tip and mouth corners of an upright frontal face by its pupils `(2, 2)`; returns all five `(5, 2)`."""
    along = pupils[1] - pupils[0]
    across = np.array([-along[1], along[0]])
    return np.vstack([pupils, pupils.mean(0) + _BELOW @ np.stack([along, across])])


def _find_eye(
    gray: np.ndarray, place: np.ndarray, side: float, cascades: list[cv2.CascadeClassifier]
) -> np.ndarray | None:
    """Centre (2,) of the eye window nearest to its expected place, None if no cascade finds one near enough."""
    scale = _PATCH_PIXELS / (_PATCH * side)
    middle = _PATCH_PIXELS / 2
    matrix = np.column_stack([np.eye(2) * scale, middle - scale * place])
    patch = warp(gray, matrix, _PATCH_PIXELS)
    low, high = ((pixels, pixels) for pixels in _EYE_PIXELS)
    for cascade in cascades:
        windows = np.array(
            cascade.detectMultiScale(patch, _SEARCH_STEP, _NEIGHBOURS, minSize=low, maxSize=high), dtype=float
        )
        if not len(windows):
            continue
        away = (windows[:, :2] + windows[:, 2:] / 2 - middle) / scale
        nearest = away[np.argmin(np.hypot(*away.T))]
        if np.hypot(*nearest) <= _FURTHEST * side:
            return place + nearest
    return None


def _is_plausible(apart: np.ndarray, side: float) -> bool:
    """Whether two pupils `apart` (2,) can be those of one upright face of this box."""
    return _SPACING[0] * side <= np.hypot(*apart) <= _SPACING[1] * side and abs(apart[1]) <= _STEEPEST * apart[0]


# Inter-pupil distances between the two, of the pupil where they are further apart. On rendered faces the network is
# nearer to the truth beyond any threshold (experiments/results/points.md); the check is there for faces unlike those.
# [ours]
_CONTRADICTION = 0.3
_SURE = 0.9  # certainty from which the eye cascades, 17 ms of a face's 55, are not asked; 98 % of photographs [ours]


def choose_points(
    gray: np.ndarray, box: Box, cascades: list[cv2.CascadeClassifier]
) -> tuple[np.ndarray, str, bool, float]:
    """As `find_points`, by the network, which the eye cascades check where its head is not sure of a face.

    Returns:
        `(5, 2)` float64 landmarks in pixels; their source, `regressor` or `eyes`; whether there are eyes: by the head,
        or because the cascades found one; and the head's certainty.
    """
    points, certainty = locate_surely(gray, box)
    if certainty >= _SURE:
        return points, "regressor", True, certainty
    checked, seen = find_points(gray, box, cascades)
    if seen == "eyes" and contradiction(points, checked) > _CONTRADICTION:
        return checked, "eyes", True, certainty
    return points, "regressor", seen != "box", certainty


def contradiction(points: np.ndarray, checked: np.ndarray) -> float:
    """How far two answers (5, 2) put a pupil apart, in inter-pupil distances of the second."""
    away = np.hypot(*(points[:2] - checked[:2]).T).max()
    return float(away / max(np.hypot(*(checked[1] - checked[0])), 1e-6))


# All [ours] but OpenCV's own. Of OpenCV's four frontal cascades this one is best on rendered faces: 2 % missed, nothing
# invented; the eye cascades err by .021 and .030 IPD on them.
_FACE = "haarcascade_frontalface_alt2.xml"
_EYES = ("haarcascade_eye_tree_eyeglasses.xml", "haarcascade_eye.xml")
_LAST_THRESHOLD = 53.7556  # stage threshold of the last stage in _FACE; what exceeds it is the margin of a face
_WORKING = 640  # longest side of the copy that faces are searched in
_WORKING_LARGE = 320  # the same where only large faces are searched
_LARGE = 0.2  # width of a large face, of the longest side; with both, 1024 x 768 pixels take a fifth of the time
_SMALLEST = 24  # pixels in that copy; the cascade's own window has 20
# The same in the smaller copy that is searched first, and how that is done: of 89 faces in photographs all are found in
# it, nothing is invented, in a quarter of the time of the larger copy.
_FIRST, _FIRST_STEP, _FIRST_NEIGHBOURS = 20, 1.2, 2
_MARGIN = 0.75  # of the smallest size wanted: else a smaller face is reported by the larger windows around it
_PADDING = 0.2  # of the shorter side, edge repeated: finds faces that fill the image (misses 8 % without, 2 % with)
_STEP, _FACE_NEIGHBOURS = 1.1, 3  # OpenCV's own defaults
_SPOT = 5  # pixels: spots of the second look; 3 to 13 do for faces of 200 pixels, 3 to 5 for faces of 60
_DOUBTFUL = 0.6  # score below which a face may be none, so that the landmark network looks for itself
_BY_NETWORK = 0.8  # factor on its certainty, so that it counts less than a sure face of the cascade
_WITHOUT_EYES = 0.6  # factor on the score where no eye is found, which is rare on faces and common on what is none

_per_thread = threading.local()  # cv2's classifiers keep scratch memory and must not be shared between threads


@dataclass(frozen=True)
class Cascade:
    """Finds faces by OpenCV's cascades and five landmarks each by the network and the eye cascades.

    Args:
        largest: Only the largest face is wanted: small ones are searched where there is no large one.
    """

    largest: bool = False

    def __call__(self, image: np.ndarray, file: str, frame: int | None, min_size: int) -> list[Face]:
        """Faces of an image (H, W, 3) uint8 RGB, see `find_faces`; `file` and `frame` are not read."""
        return find_faces(image, min_size, self.largest)

    def version(self) -> str:
        """OpenCV's version, which brings the cascades, and the network's."""
        return f"OpenCV {cv2.__version__} {_FACE}, {MODEL.name} {model_version()}"


def find_faces(image: np.ndarray, min_size: int, largest: bool = False) -> list[Face]:
    """Faces by OpenCV's cascades in `(H, W, 3)` uint8 RGB, in no particular order.

    All of a box of `min_size` pixels and more are found, somewhat smaller ones may be; with `largest`, large faces will
    do where there are any.

    Raises:
        MissingExtraError: This OpenCV has no cascades.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    faces = []
    for box, weight in (find_large_boxes(gray, min_size) if largest else []) or find_boxes(gray, min_size):
        points, source, eyes, certainty = choose_points(gray, box, cascades()[1:])
        score = 1 - float(np.exp(min(0.0, _LAST_THRESHOLD - weight)))
        faces.append(Face(box, score * (1 if eyes else _WITHOUT_EYES), points, source, certainty))
    if not any(face.score >= _DOUBTFUL for face in faces):
        faces += [
            Face(box, certainty * _BY_NETWORK, points, "regressor", certainty)
            for box, points, certainty in search(gray, min_size)
        ]
    return faces


def find_boxes(gray: np.ndarray, min_size: int) -> list[tuple[Box, float]]:
    """Boxes (x, y, w, h) in pixels of a grey image (H, W), each with the weight of the cascade's last stage.

    First in a copy just large enough for the smallest face, then, where there is none, in the larger one.
    """
    longest = min(_WORKING, round(max(gray.shape) * min(1.0, _FIRST / max(min_size, 1))))
    if longest >= _FIRST:
        copy, scale, pad, _ = _prepare(gray, min_size, longest)
        found = _look(copy, max(_FIRST, int(min_size * scale)), _FIRST_STEP, _FIRST_NEIGHBOURS)
        if len(found[0]):
            return _in_pixels(found, scale, pad)
    copy, scale, pad, smallest = _prepare(gray, min_size, _WORKING)
    found = _look(copy, smallest)
    return _in_pixels(found if len(found[0]) else _look(_without_highlights(copy), smallest), scale, pad)


def find_large_boxes(gray: np.ndarray, min_size: int) -> list[tuple[Box, float]]:
    """The same for faces as wide as a fifth of the image's longer side, by one look at a smaller copy."""
    copy, scale, pad, smallest = _prepare(
        gray, max(min_size, round(_LARGE / _MARGIN * max(gray.shape))), _WORKING_LARGE
    )
    return _in_pixels(_look(copy, smallest), scale, pad)


def _prepare(gray: np.ndarray, min_size: int, working: int) -> tuple[np.ndarray, float, int, int]:
    """The copy that is searched, its scale, the width of its margin, and the smallest window in it."""
    scale = min(1.0, working / max(gray.shape))
    copy = gray if scale == 1 else cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    pad = round(_PADDING * min(copy.shape))
    padded = cv2.copyMakeBorder(copy, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    return padded, scale, pad, max(_SMALLEST, round(_MARGIN * min_size * scale))


def _in_pixels(found: tuple[np.ndarray, np.ndarray], scale: float, pad: int) -> list[tuple[Box, float]]:
    """Boxes and weights in pixels of the image."""
    places = (found[0] - (pad, pad, 0, 0)) / scale
    return [
        ((float(x), float(y), float(w), float(h)), float(weight))
        for (x, y, w, h), weight in zip(places, found[1], strict=True)
    ]


def _look(
    gray: np.ndarray, smallest: int, step: float = _STEP, neighbours: int = _FACE_NEIGHBOURS
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) and last-stage weights (n,) of the faces in a grey image."""
    boxes, _, weights = cascades()[0].detectMultiScale3(
        gray, step, neighbours, minSize=(smallest, smallest), outputRejectLevels=True
    )
    return np.array(boxes, dtype=float).reshape(-1, 4), np.array(weights, dtype=float).reshape(-1)


def _without_highlights(gray: np.ndarray) -> np.ndarray:
    """Darken small bright spots: the whites of the eyes and the light on them.

    The cascade expects eyes that are darker than the cheeks and so misses many faces with dark skin. This second look
    finds two thirds of the rendered faces that the first one misses, nearly all of them of dark skin. [ours]
    """
    around = cv2.erode(gray, np.ones((_SPOT, _SPOT), np.uint8))
    return np.minimum(gray, cv2.GaussianBlur(around, (0, 0), _SPOT / 3))


def cascades() -> list[cv2.CascadeClassifier]:
    """The face cascade and the eye cascades, loaded once per thread."""
    if not hasattr(_per_thread, "cascades"):
        try:
            folder = Path(importlib.import_module("cv2.data").haarcascades)
            loaded = [cv2.CascadeClassifier(str(folder / name)) for name in (_FACE, *_EYES)]
        except (AttributeError, ModuleNotFoundError):
            loaded = []
        if not loaded or any(cascade.empty() for cascade in loaded):
            raise MissingExtraError(
                f"Expected OpenCV 4 with its Haar cascades, but got OpenCV {cv2.__version__} without. "
                'Run: pip install "opencv-python-headless>=4.9,<5"'
            )
        _per_thread.cascades = loaded
    return _per_thread.cascades

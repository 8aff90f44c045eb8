"""Pupils inside a face box by OpenCV's eye cascades, and the other points by proportion.

The check on the network of `auformer.faces.regressor`, see `auformer.faces.points`. An eye window's centre is taken for the pupil, so gaze
to the side or half-closed lids move it a little: on 720 rendered faces of unseen identities by 0.02 inter-pupil distances (median; 95th
percentile 0.05 in lab A, 0.09 in lab B), at 64 pixels by 0.03 to 0.04 (0.10 and 0.14); nose tip and mouth corners, which know nothing of
expression, are off by 0.08 (0.2). [ours]
"""

from __future__ import annotations

import cv2
import numpy as np

from auformer.faces.align import warp

# Pupils in the frontal-face cascade's box, as fractions of its side: medians over 480 rendered faces of both labs. [ours]
_PUPILS = np.array([[0.30, 0.413], [0.70, 0.413]])
# Nose tip and mouth corners from the middle between the pupils, in IPD along and across the eye line: medians over the same. [ours]
_BELOW = np.array([[0.0, 0.53], [-0.404, 1.109], [0.404, 1.109]])

_PATCH = 0.44  # side of the piece of the box that is searched for one eye, centred on its expected place [ours]
_PATCH_PIXELS = 100  # to which the piece is brought, so that the eye is about 50 pixels wide [ours]
_EYE_PIXELS = (35, 70)  # smallest and largest eye window in the piece; found ones have 51 +- 5 [ours]
_SEARCH_STEP, _NEIGHBOURS = 1.05, 2  # fine steps: 1.1 doubles the error and halves the time (12 to 5 ms a face) [ours]
_FURTHEST = 0.12  # from the expected place, in sides of the box; a tilt of 17 degrees moves a pupil as far [ours]
_SHARED = 0.5  # of one eye's distance from its expected place, given to an eye that is not found; 0 and 1 are worse [ours]
_SPACING = (0.28, 0.56)  # pupils apart, in sides of the box; 0.40 +- 0.03 on rendered faces [ours]
_STEEPEST = np.tan(np.radians(25))  # slope of the eye line; the face cascade itself finds little beyond 20 degrees [ours]


def find_points(gray: np.ndarray, box: tuple[float, float, float, float], cascades: list[cv2.CascadeClassifier]) -> tuple[np.ndarray, str]:
    """Five points of a face whose box is known.

    Args:
        gray: (H, W) uint8 image.
        box: (x, y, w, h) from OpenCV's frontal-face cascade, in pixels.
        cascades: eye cascades, the preferred one first.

    Returns:
        (5, 2) float64 points in pixels, and their source: `eyes`, `one_eye` or `box` (see `Face`).
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
    """Place nose tip and mouth corners of an upright frontal face by its pupils.

    Args:
        pupils: (2, 2) in pixels, image left first.

    Returns:
        (5, 2) pupils, nose tip, mouth corners.
    """
    along = pupils[1] - pupils[0]
    across = np.array([-along[1], along[0]])
    return np.vstack([pupils, pupils.mean(0) + _BELOW @ np.stack([along, across])])


def _find_eye(gray: np.ndarray, place: np.ndarray, side: float, cascades: list[cv2.CascadeClassifier]) -> np.ndarray | None:
    """Centre (2,) of the eye window nearest to its expected place, None if no cascade finds one near enough."""
    scale = _PATCH_PIXELS / (_PATCH * side)
    middle = _PATCH_PIXELS / 2
    matrix = np.column_stack([np.eye(2) * scale, middle - scale * place])
    patch = warp(gray, matrix, _PATCH_PIXELS)
    low, high = ((pixels, pixels) for pixels in _EYE_PIXELS)
    for cascade in cascades:
        windows = np.array(cascade.detectMultiScale(patch, _SEARCH_STEP, _NEIGHBOURS, minSize=low, maxSize=high), dtype=float)
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

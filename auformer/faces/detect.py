"""Find the faces in an image: several back-ends behind one function."""

from __future__ import annotations

import numpy as np

from auformer.errors import FaceNotFoundError
from auformer.faces.cascade import find_faces
from auformer.faces.face import Face

BACKENDS = ("cascade",)
MIN_SCORE = 0.5  # [ours] 98 % of rendered faces score more; see tests/faces/test_detect_rendered.py
MIN_SIZE = 40  # pixels; an inter-pupil distance of 16: a crop of 44 pixels, too little for furrows already [ours]


def detect(image: np.ndarray, *, backend: str = "cascade", min_score: float = MIN_SCORE, min_size: int = MIN_SIZE) -> list[Face]:
    """Find upright faces that look at the camera, the largest first.

    Args:
        image: (H, W, 3) uint8 RGB.
        backend: `cascade`, OpenCV's Haar cascades, which need no download.
        min_score: faces below this score, in [0, 1], are left out.
        min_size: faces whose box is narrower, in pixels, are left out; of an image of more than 640 pixels, also faces below 1/27 of
            its longer side.

    Returns:
        The faces, by falling width of the box; empty if there are none. Of two boxes on one place the one with the higher score stays.

    Raises:
        ValueError: if the image is not (H, W, 3) uint8 or there is no such back-end.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"Expected `image` to be a uint8 RGB array of shape (H, W, 3), but got {got}.")
    if backend not in BACKENDS:
        raise ValueError(f"Expected `backend` to be one of {', '.join(BACKENDS)}, but got {backend!r}.")
    if not 0 <= min_score <= 1:
        raise ValueError(f"Expected `min_score` to lie in [0, 1], but got {min_score}.")
    faces = [face for face in find_faces(image, min_size) if face.score >= min_score and face.box[2] >= min_size]
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_on_one_place(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.box[2])


def require_faces(image: np.ndarray, *, backend: str = "cascade", min_score: float = MIN_SCORE, min_size: int = MIN_SIZE) -> list[Face]:
    """As `detect`, where an image without a face is an error.

    Raises:
        FaceNotFoundError: if no face is found; the message says what can be found.
        ValueError: as `detect`.
    """
    faces = detect(image, backend=backend, min_score=min_score, min_size=min_size)
    if not faces:
        height, width = image.shape[:2]
        raise FaceNotFoundError(
            f"no face found in {width} x {height} pixels: the detector sees upright, uncovered faces of at least {min_size} pixels that "
            "look at the camera (turned by at most about 25 degrees, tilted by about 15)"
        )
    return faces


def _on_one_place(face: Face, other: Face) -> bool:
    """Whether the centre of either box lies inside the other."""
    return _holds(face.box, other.box) or _holds(other.box, face.box)


def _holds(outer: tuple[float, float, float, float], inner: tuple[float, float, float, float]) -> bool:
    """Whether the centre of `inner` lies inside `outer`."""
    x, y = inner[0] + inner[2] / 2, inner[1] + inner[3] / 2
    return outer[0] <= x <= outer[0] + outer[2] and outer[1] <= y <= outer[1] + outer[3]

"""Find the faces in an image: several back-ends behind one function, and behind one object that can be pickled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from auformer.errors import FaceNotFoundError
from auformer.faces.cascade import Cascade
from auformer.faces.face import Face
from auformer.faces.recipes import Box
from auformer.faces.yunet import make_yunet

BACKENDS = ("cascade", "yunet", "yunet:FILE", "table:FILE")
NO_FACE = "no face found"  # what messages begin with
MIN_SCORE = 0.5  # of the cascade [ours] 98 % of rendered faces score more; see tests/faces/test_detect.py
MIN_SIZE = 40  # pixels; an inter-pupil distance of 16: a crop of 44 pixels, too little for furrows already [ours]


class Backend(Protocol):
    """What finds faces before they are sorted and sifted."""

    def __call__(self, image: np.ndarray, file: str, frame: int | None, min_size: int) -> list[Face]:
        """Faces in no particular order."""

    def version(self) -> str:
        """What its answers depend on, in plain text."""


@dataclass(frozen=True)
class Detector:
    """A face detector by one back-end. It can be pickled; each process and thread loads it on first use.

    Args:
        name: Of the back-end, without its file.
        version: What the answers depend on, for sidecars.
        backend: Does it.
        min_score: Faces below this score, in [0, 1], are left out.
        min_size: Faces whose box is narrower, in pixels, are left out.
    """

    name: str
    version: str
    backend: Backend
    min_score: float
    min_size: int

    def __call__(self, image: np.ndarray, *, file: str = "", frame: int | None = None) -> list[Face]:
        """The faces of `(H, W, 3)` uint8 RGB, by falling width of the box; empty if there are none.

        Of two boxes on one place the one with the higher score stays. Tables read `file` and `frame`, the manifest's
        name and frame number (None for an image).

        Raises:
            ValueError: The image is not `(H, W, 3)` uint8, or a table does not fit to what is asked.
        """
        good = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.size
        if not good or image.shape[2] != 3:
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"Expected `image` to be a uint8 RGB array of shape (H, W, 3), but got {got}.")
        found = self.backend(image, file, frame, self.min_size)
        kept: list[Face] = []
        for face in sorted(found, key=lambda face: -face.score):
            wanted = face.score >= self.min_score and face.box[2] >= self.min_size
            if wanted and not any(_on_one_place(face, other) for other in kept):
                kept.append(face)
        return sorted(kept, key=lambda face: -face.box[2])


def make_detector(
    spec: str, *, min_score: float | None = None, min_size: int | None = None, cache: str | Path | None = None,
    largest: bool = False,
) -> Detector:  # fmt: skip
    """A face detector by its specification.

    Args:
        spec: `cascade`, OpenCV's Haar cascades, which need no download; `yunet`, OpenCV's FaceDetectorYN, whose model
            is fetched on first use; `yunet:FILE`, the same with a model file; `table:FILE`, boxes or landmarks from a
            file, see `auformer.faces.table`.
        min_score: Faces below this score, in [0, 1], are left out; None for the back-end's own (0.5, 0.6, and 0 for
            tables).
        min_size: Faces whose box is narrower, in pixels, are left out; None for 40, and 0 for tables. The cascade also
            leaves out, of an image of more than 640 pixels, faces below 1/27 of its longer side.
        cache: Folder for fetched files, see `auformer.faces.yunet.cache_folder`.
        largest: Only the largest face of an image is wanted; the cascade is then three times as fast, and may leave out
            smaller ones.

    Raises:
        ValueError: There is no such back-end, or its file cannot be used.
        ConnectionError: If a file that must be fetched cannot be.
    """
    name, colon, path = spec.partition(":")
    if min_score is not None and not 0 <= min_score <= 1:
        raise ValueError(f"Expected `min_score` to lie in [0, 1], but got {min_score}.")
    backend: Backend
    if spec == "cascade":
        backend = Cascade(largest)
    elif name == "yunet" and (path or not colon):
        backend = make_yunet(path, min_score, cache)
    elif name == "table" and path:
        from auformer.faces.table import make_table

        backend = make_table(path)
    else:
        raise ValueError(f"Expected the face detector to be one of {', '.join(BACKENDS)}, but got {spec!r}.")
    if min_score is None:
        min_score = MIN_SCORE if name == "cascade" else 0.0
    if min_size is None:
        min_size = 0 if name == "table" else MIN_SIZE
    return Detector(name, backend.version(), backend, min_score, min_size)


def detect(
    image: np.ndarray, *, backend: str = "cascade", min_score: float | None = None, min_size: int | None = None
) -> list[Face]:
    """Find upright faces that look at the camera, the largest first, in `(H, W, 3)` uint8 RGB.

    The other arguments are those of `make_detector`; for many images make the face detector once.

    Raises:
        ValueError: The image is not `(H, W, 3)` uint8, or there is no such back-end.
    """
    return make_detector(backend, min_score=min_score, min_size=min_size)(image)


def require_faces(
    image: np.ndarray, *, backend: str | Detector = "cascade", file: str = "", min_score: float | None = None,
    min_size: int | None = None,
) -> list[Face]:  # fmt: skip
    """As `detect`, where an image without a face is an error.

    `backend` may be a `Detector`, whose own limits then hold; `file` is the image's name, read by tables only.

    Raises:
        FaceNotFoundError: No face is found; the message says what can be found.
        ValueError: As `detect`.
    """
    detector = make_detector(backend, min_score=min_score, min_size=min_size) if isinstance(backend, str) else backend
    faces = detector(image, file=file)
    if not faces:
        raise FaceNotFoundError(no_face(image.shape, detector))
    return faces


_SEES = {
    "cascade": "the face detector sees upright, uncovered faces of at least {size} pixels that look at the camera "
    "(turned by at most about 25 degrees, tilted by about 15)",
    "yunet": "YuNet sees faces of at least {size} pixels",
    "table": "the table has none for this file",
}


def no_face(shape: Sequence[int], detector: object = None) -> str:
    """What to say of an image `(H, W, ...)` without a face: its size, and what can be found.

    Args:
        shape: Of the image.
        detector: What has looked, where it is a `Detector`; None for the default one.
    """
    name, size = getattr(detector, "name", ""), getattr(detector, "min_size", 0)
    sees = _SEES["cascade"].format(size=MIN_SIZE) if detector is None else _SEES.get(name, "").format(size=size)
    return f"{NO_FACE} in {shape[1]} x {shape[0]} pixels" + (f": {sees}" if sees else "")


def _on_one_place(face: Face, other: Face) -> bool:
    """Whether the centre of either box lies inside the other."""
    return _holds(face.box, other.box) or _holds(other.box, face.box)


def _holds(outer: Box, inner: Box) -> bool:
    x, y = inner[0] + inner[2] / 2, inner[1] + inner[3] / 2
    return outer[0] <= x <= outer[0] + outer[2] and outer[1] <= y <= outer[1] + outer[3]

"""Faces of large photographs in an image that was made smaller while it was decoded.

A JPEG file of 12 megapixels is decoded to a quarter of its sides in a sixth of the time, and landmarks and crops are
cut out of that. It counts only where every face in it has more pixels than the networks take in: with a smaller face,
or none, the whole is read and searched instead.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from auformer.faces import Face
from auformer.faces.detect import Detector

ENOUGH = 1000  # pixels of the longer side that a photograph keeps; the cascade searches in 640 [ours]
_ROOM = 1.25  # width of a face's box in sides of the network's input, from which its crop is not enlarged [ours]
_SMALLEST = 160  # pixels of a face's box in any case: the landmark network's own input, twice and more [ours]
_BY = ("cascade",)  # face detectors whose answer does not depend on the size beyond that


def may_reduce(detector: object) -> bool:
    """Whether a face detector can search in a smaller image; tables of faces know the whole one alone."""
    return isinstance(detector, Detector) and detector.name in _BY


def find_in_reduced(detector: object, image: np.ndarray, factor: int, side: int) -> list[Face] | None:
    """Faces of an image (H, W, 3) that is smaller than the photograph, in its own pixels.

    Args:
        detector: A face detector.
        image: uint8 RGB.
        factor: By how much it is smaller.
        side: Pixels of the network's input.

    Returns:
        None where the whole photograph is needed: there is a face with too few pixels, or none, or `may_reduce` is
        false of the face detector.
    """
    if not (isinstance(detector, Detector) and may_reduce(detector)):
        return None
    faces = replace(detector, min_size=math.ceil(detector.min_size / factor))(image)
    smallest = min((face.box[2] for face in faces), default=0.0)
    return faces if smallest >= max(_SMALLEST, _ROOM * side) else None


def enlarged(face: Face, factor: int) -> Face:
    """A face in pixels of the whole photograph."""
    x, y, w, h = (factor * value for value in face.box)
    return replace(face, box=(x, y, w, h), points=factor * face.points)

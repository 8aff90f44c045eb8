"""The second renderer: scanned geometry of a user's own copy of ICT-FaceKit, for faces as photographs show them.

The model is read, never contained: `read_facekit`. Everything else (action units on its shapes, skin, hair, light,
camera) is this package's. numba comes with the extra `scanned`.
"""

from __future__ import annotations

from auformer.synthetic.scanned.expressions import sample_expression
from auformer.synthetic.scanned.facekit import FaceKit, read_facekit
from auformer.synthetic.scanned.person import Person
from auformer.synthetic.scanned.renderer import ScannedFace, ScannedRenderer
from auformer.synthetic.scanned.scenes import sample_scene

__all__ = [
    "FaceKit", "Person", "ScannedFace", "ScannedRenderer", "read_facekit", "sample_expression", "sample_scene",
]  # fmt: skip

"""Faces in images: `detect` finds them with five points each, `align` cuts them out by a named crop recipe. OpenCV and numpy only."""

from __future__ import annotations

from auformer.faces.align import CROP_RECIPES, CropRecipe, align, crop_geometry, crop_matrix, warp
from auformer.faces.detect import BACKENDS, detect, require_faces
from auformer.faces.face import Face

__all__ = [
    "BACKENDS",
    "CROP_RECIPES",
    "CropRecipe",
    "Face",
    "align",
    "crop_geometry",
    "crop_matrix",
    "detect",
    "require_faces",
    "warp",
]

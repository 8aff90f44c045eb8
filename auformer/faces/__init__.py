"""Faces in images: `detect` finds them with five points each, `align` cuts them out by a named crop recipe."""

from __future__ import annotations

from auformer.faces.align import CROP_RECIPES, align, crop_geometry, crop_matrix, warp
from auformer.faces.detect import BACKENDS, Detector, detect, make_detector, require_faces
from auformer.faces.face import POINT_COLUMNS, Face
from auformer.faces.recipes import CropRecipe

__all__ = [
    "BACKENDS",
    "CROP_RECIPES",
    "POINT_COLUMNS",
    "CropRecipe",
    "Detector",
    "Face",
    "align",
    "crop_geometry",
    "crop_matrix",
    "detect",
    "make_detector",
    "require_faces",
    "warp",
]

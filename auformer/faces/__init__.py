"""Faces in images: `detect` finds them with five landmarks each, `align` cuts them out by a named crop recipe."""

from __future__ import annotations

from auformer.faces.align import CROP_RECIPES, align, crop_geometry, crop_matrix, warp
from auformer.faces.detect import BACKENDS, Detector, detect, make_detector, no_face, require_faces
from auformer.faces.face import LANDMARKS, POINT_COLUMNS, Face
from auformer.faces.recipes import CropRecipe

__all__ = [
    "BACKENDS", "CROP_RECIPES", "LANDMARKS", "POINT_COLUMNS", "CropRecipe", "Detector", "Face", "align",
    "crop_geometry", "crop_matrix", "detect", "make_detector", "no_face", "require_faces", "warp",
]  # fmt: skip

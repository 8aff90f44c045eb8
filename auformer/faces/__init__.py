"""Faces in images: `detect` finds them with five points each, `align` cuts them out by a named crop recipe."""

from __future__ import annotations

from auformer.faces.align import CROP_RECIPES, CropRecipe, align, crop_geometry, crop_matrix, warp

__all__ = ["CROP_RECIPES", "CropRecipe", "align", "crop_geometry", "crop_matrix", "warp"]

"""From people's own photos to action units: `AUPredictor` finds, aligns and predicts, `tables` and `pictures` are the outputs."""

from __future__ import annotations

from auformer.inference.predictor import AUPredictor
from auformer.inference.results import FacePrediction, PhotoPrediction

__all__ = ["AUPredictor", "FacePrediction", "PhotoPrediction"]

"""From people's own photos and videos to action units: `AUPredictor` finds, follows, aligns and predicts."""

from __future__ import annotations

from auformer.inference.predictor import AUPredictor
from auformer.inference.readers import read_predictions
from auformer.inference.results import FacePrediction, ImagePrediction, SourceEnd
from auformer.inference.selection import Selection
from auformer.inference.sources import Source, find_sources

__all__ = ["AUPredictor", "FacePrediction", "ImagePrediction", "Selection", "Source", "SourceEnd", "find_sources", "read_predictions"]

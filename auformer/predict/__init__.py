"""From people's own photos and videos to action units: `AUPredictor` finds, follows, aligns and predicts."""

from __future__ import annotations

from auformer.predict.compare import read_predictions
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import Source, find_sources
from auformer.predict.types import FacePrediction, ImagePrediction, Selection, SourceEnd

__all__ = [
    "AUPredictor",
    "FacePrediction",
    "ImagePrediction",
    "Selection",
    "Source",
    "SourceEnd",
    "find_sources",
    "read_predictions",
]

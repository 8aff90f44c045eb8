"""From people's own photos and videos to action units: faces found, tracked, aligned and predicted.

Names are looked up when they are first used (PEP 562), so that reading a table loads no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
    from auformer.predict.cluster.run import merge_tables
    from auformer.predict.compare import read_predictions
    from auformer.predict.predictor import AUPredictor
    from auformer.predict.progress import Progress, Written
    from auformer.predict.run import predict_to_files
    from auformer.predict.sources import Source, find_sources
    from auformer.predict.types import FacePrediction, ImagePrediction, Selection, SourceEnd

__all__ = [
    "AUPredictor", "FacePrediction", "ImagePrediction", "Progress", "Selection", "Source", "SourceEnd", "Written",
    "find_sources", "merge_tables", "predict_to_files", "read_predictions",
]  # fmt: skip
__getattr__, __dir__ = lazy_names(__name__, {
    "cluster.run": ["merge_tables"], "compare": ["read_predictions"], "predictor": ["AUPredictor"],
    "progress": ["Progress", "Written"], "run": ["predict_to_files"], "sources": ["Source", "find_sources"],
    "types": ["FacePrediction", "ImagePrediction", "Selection", "SourceEnd"],
})  # fmt: skip

"""From people's own photos and videos to action units: faces found, tracked, aligned and predicted.

Names are looked up when they are first used (PEP 562), so that reading a table loads no network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.predict.cluster.run import merge_tables
    from auformer.predict.compare import read_predictions
    from auformer.predict.predictor import AUPredictor
    from auformer.predict.progress import Progress, Written
    from auformer.predict.run import predict_to_files
    from auformer.predict.sources import Source, find_sources
    from auformer.predict.types import FacePrediction, ImagePrediction, Selection, SourceEnd

_LAZY = {
    "AUPredictor": "predictor",
    "FacePrediction": "types",
    "ImagePrediction": "types",
    "Progress": "progress",
    "Selection": "types",
    "Source": "sources",
    "SourceEnd": "types",
    "Written": "progress",
    "find_sources": "sources",
    "merge_tables": "cluster.run",
    "predict_to_files": "run",
    "read_predictions": "compare",
}

__all__ = [
    "AUPredictor",
    "FacePrediction",
    "ImagePrediction",
    "Progress",
    "Selection",
    "Source",
    "SourceEnd",
    "Written",
    "find_sources",
    "merge_tables",
    "predict_to_files",
    "read_predictions",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)

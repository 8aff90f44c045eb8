"""AUFormer: facial action units from a frozen vision transformer and one small expert per action unit.

An independent implementation of Yuan et al., "AUFormer: Vision Transformers are Parameter-Efficient Facial Action Unit
Detectors" (ECCV 2024). A manifest of faces goes in, a predictions file comes out, and everything else reads one of the
two.

Importing this package is instant: the names below are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.data.datamodule import AUDataModule
    from auformer.losses import MDWALoss
    from auformer.models import AUFormer, load_detector
    from auformer.predict import AUPredictor
    from auformer.training.module import AUModule

__version__ = "0.1.0"

_LAZY = {
    "AUDataModule": "auformer.data.datamodule",
    "AUFormer": "auformer.models",
    "AUModule": "auformer.training.module",
    "AUPredictor": "auformer.predict",
    "MDWALoss": "auformer.losses",
    "load_detector": "auformer.models",
}

__all__ = ["AUDataModule", "AUFormer", "AUModule", "AUPredictor", "MDWALoss", "__version__", "load_detector"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names of the package, those not yet imported among them."""
    return sorted({*globals(), *_LAZY})

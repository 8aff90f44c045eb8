"""AUFormer: facial action units from a frozen vision transformer and one small expert per action unit.

An independent implementation of Yuan et al., "AUFormer: Vision Transformers are Parameter-Efficient Facial Action Unit
Detectors" (ECCV 2024). A manifest of faces goes in, a predictions file comes out, and everything else reads one of the
two.

Importing this package is instant: the names below are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
    from auformer.data.datamodule import AUDataModule
    from auformer.losses import MDWALoss
    from auformer.models import AUFormer, load_detector
    from auformer.predict import AUPredictor
    from auformer.training.module import AUModule

__version__ = "0.1.0"

__all__ = ["AUDataModule", "AUFormer", "AUModule", "AUPredictor", "MDWALoss", "__version__", "load_detector"]
__getattr__, __dir__ = lazy_names(__name__, {
    "data.datamodule": ["AUDataModule"], "losses": ["MDWALoss"], "models": ["AUFormer", "load_detector"],
    "predict": ["AUPredictor"], "training.module": ["AUModule"],
})  # fmt: skip

"""Manifests of faces, their images, splits, and the data module that feeds training.

Names are looked up when they are first used (PEP 562), so that reading a table imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
    from auformer.data.datamodule import AUDataModule
    from auformer.data.dataset import AUDataset
    from auformer.data.images import read_image, write_image
    from auformer.data.manifest import read_manifest, read_predictions, write_manifest, write_predictions

__all__ = [
    "AUDataModule", "AUDataset", "read_image", "read_manifest", "read_predictions", "write_image", "write_manifest",
    "write_predictions",
]  # fmt: skip
__getattr__, __dir__ = lazy_names(__name__, {
    "datamodule": ["AUDataModule"], "dataset": ["AUDataset"], "images": ["read_image", "write_image"],
    "manifest": ["read_manifest", "read_predictions", "write_manifest", "write_predictions"],
})  # fmt: skip

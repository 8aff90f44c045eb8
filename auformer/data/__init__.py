"""Manifests of faces, their images, splits, and the data module that feeds training.

Names are looked up when they are first used (PEP 562), so that reading a table imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.data.datamodule import AUDataModule
    from auformer.data.dataset import AUDataset
    from auformer.data.images import read_image, write_image
    from auformer.data.manifest import read_manifest, read_predictions, write_manifest, write_predictions

_LAZY = {
    "AUDataModule": "auformer.data.datamodule",
    "AUDataset": "auformer.data.dataset",
    "read_image": "auformer.data.images",
    "read_manifest": "auformer.data.manifest",
    "read_predictions": "auformer.data.manifest",
    "write_image": "auformer.data.images",
    "write_manifest": "auformer.data.manifest",
    "write_predictions": "auformer.data.manifest",
}

__all__ = [
    "AUDataModule",
    "AUDataset",
    "read_image",
    "read_manifest",
    "read_predictions",
    "write_image",
    "write_manifest",
    "write_predictions",
]


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

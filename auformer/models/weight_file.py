"""Local files with the weights of a ViT, as timm is to load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timm.models import load_state_dict

from auformer.errors import CheckpointError

_CLASSIFIERS = ("head.", "head_dist.")  # names that timm's plain ViTs give to what comes after pooling


def weight_overlay(path: Path) -> dict[str, Any]:
    """The entries of timm's `pretrained_cfg` that load a local file into a model without a classifier, of any image size.

    timm resamples patch and position embedding. The classifier is taken out here, because with its own `file=` route timm stops being
    strict about every other key as soon as it has to drop a classifier itself. Pickles are read with `weights_only`.

    Args:
        path: `.safetensors`, `.pth` (or any file of `torch.save`), or `.npz` as Google publishes them.

    Raises:
        CheckpointError: The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"Expected `checkpoint_path` to be a .safetensors, .pth or .npz file, but {path} does not exist")
    if path.suffix == ".npz":
        return {"file": str(path), "custom_load": True}
    try:
        tensors = load_state_dict(str(path))
    except Exception as error:
        raise CheckpointError(f"Cannot read the backbone weights {path}: {error}") from error
    kept = {name: value for name, value in tensors.items() if not name.startswith(_CLASSIFIERS)}
    return {"state_dict": kept, "classifier": None, "custom_load": False}

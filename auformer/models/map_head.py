"""Where an action unit (AU) shows: a small head on a trained AUFormer, which stays as it is, to the bit [ours].

The norm of an expert's output does not say where its AU changes a face (experiments/results/maps.md). This head was
fitted to what does: the difference of a rendered face with and without the AU (`auformer.synthetic.change`). Per AU it
has one linear map of what a patch carries, and one number per place of the grid, which are the AU's usual place. Fitted
by experiments/pretraining/fit_maps.py. Its file lies beside the adapter file and is bound to the frozen weights and the
experts by their fingerprints; thresholds and heads of the network may change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from auformer.files import atomic_path
from auformer.models.backbone import fingerprint
from auformer.models.network import AUNetwork

BELONGS = "belongs_to"  # key of the file's metadata


class MapHead:
    """The head; no module, so that it is no part of the network's state.

    Args:
        weight: (N, F) per AU, of what a patch carries.
        place: (N, T) per AU and patch.
    """

    def __init__(self, weight: Tensor, place: Tensor) -> None:
        self.weight, self.place = weight, place

    def __call__(self, features: Tensor) -> Tensor:
        """From `AUFormer.patch_features` `(B, T, F)` to maps `(B, N, T)`, each of sum 1."""
        weight, place = (one.to(features.device, torch.float32) for one in (self.weight, self.place))
        return (torch.einsum("btf,nf->bnt", features.float(), weight) + place).softmax(-1)


def maps_path(adapter: Path) -> Path:
    """Where the head of an adapter file lies: `a/adapter.safetensors` has `a/adapter.maps.safetensors`."""
    return adapter.with_suffix(".maps.safetensors")


def belongs_to(network: AUNetwork) -> str:
    """What the head of an AUFormer is bound to: its frozen weights and its experts."""
    experts: Any = network.groups
    return f"{network.fingerprint} {fingerprint(experts)}"


def save_map_head(adapter: Path, network: AUNetwork, head: MapHead) -> Path:
    """Write the head of a network beside its adapter file, atomically."""
    tensors = {"weight": head.weight.contiguous(), "place": head.place.contiguous()}
    path = maps_path(adapter)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={BELONGS: belongs_to(network)}))
    return path


def read_map_head(adapter: Path, network: AUNetwork) -> MapHead | None:
    """The head beside an adapter file; None where there is none, or one of other weights, as after a new training."""
    path = maps_path(adapter)
    if not path.is_file():
        return None
    with safe_open(path, framework="pt", device="cpu") as file:
        if (file.metadata() or {}).get(BELONGS) != belongs_to(network):
            return None
        return MapHead(file.get_tensor("weight"), file.get_tensor("place"))

"""Networks in plain torch: the frozen ViT, AUFormer on it, the baselines, and the files they are kept in."""

from __future__ import annotations

from auformer.models.adapter_file import read_adapter_header, save_adapter
from auformer.models.auformer import AUFormer
from auformer.models.backbone import create_backbone
from auformer.models.baselines import (
    SSF,
    AdaptFormer,
    BitFit,
    Convpass,
    FullFineTuning,
    HoulsbyAdapter,
    LastBlocks,
    LinearProbe,
    LoRA,
    VPTDeep,
)
from auformer.models.checkpoints import load_adapter, load_detector, open_detector
from auformer.models.export import OnnxDetector, export_detector
from auformer.models.network import AUNetwork

__all__ = [
    "SSF", "AUFormer", "AUNetwork", "AdaptFormer", "BitFit", "Convpass", "FullFineTuning", "HoulsbyAdapter",
    "LastBlocks", "LinearProbe", "LoRA", "OnnxDetector", "VPTDeep", "create_backbone", "export_detector",
    "load_adapter", "load_detector", "open_detector", "read_adapter_header", "save_adapter",
]  # fmt: skip

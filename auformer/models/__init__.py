"""Networks in plain torch: the frozen ViT, AUFormer on it, the baselines, and the files they are kept in.

Names are looked up when they are first used (PEP 562), so that predicting by onnxruntime imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
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
    from auformer.models.export import export_detector
    from auformer.models.network import AUNetwork
    from auformer.models.onnx_file import OnnxDetector

__all__ = [
    "SSF", "AUFormer", "AUNetwork", "AdaptFormer", "BitFit", "Convpass", "FullFineTuning", "HoulsbyAdapter",
    "LastBlocks", "LinearProbe", "LoRA", "OnnxDetector", "VPTDeep", "create_backbone", "export_detector",
    "load_adapter", "load_detector", "open_detector", "read_adapter_header", "save_adapter",
]  # fmt: skip
__getattr__, __dir__ = lazy_names(__name__, {
    "adapter_file": ["read_adapter_header", "save_adapter"], "auformer": ["AUFormer"],
    "backbone": ["create_backbone"], "network": ["AUNetwork"], "onnx_file": ["OnnxDetector"],
    "baselines": [
        "SSF", "AdaptFormer", "BitFit", "Convpass", "FullFineTuning", "HoulsbyAdapter", "LastBlocks", "LinearProbe",
        "LoRA", "VPTDeep",
    ],
    "checkpoints": ["load_adapter", "load_detector", "open_detector"], "export": ["export_detector"],
})  # fmt: skip

"""Networks that AUFormer is compared with: same backbone, same standardised features, same head (but the linear probe)."""

from __future__ import annotations

from auformer.models.rivals.adaptformer import AdaptFormer
from auformer.models.rivals.bitfit import BitFit
from auformer.models.rivals.convpass import Convpass
from auformer.models.rivals.full_finetuning import FullFineTuning
from auformer.models.rivals.houlsby_adapter import HoulsbyAdapter
from auformer.models.rivals.last_blocks import LastBlocks
from auformer.models.rivals.linear_probe import LinearProbe
from auformer.models.rivals.lora import LoRA
from auformer.models.rivals.ssf import SSF
from auformer.models.rivals.vpt_deep import VPTDeep

__all__ = [
    "SSF",
    "AdaptFormer",
    "BitFit",
    "Convpass",
    "FullFineTuning",
    "HoulsbyAdapter",
    "LastBlocks",
    "LinearProbe",
    "LoRA",
    "VPTDeep",
]

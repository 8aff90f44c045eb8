"""Networks that AUFormer is compared with: same backbone, same standardised features."""

from __future__ import annotations

from auformer.models.rivals.full_finetuning import FullFineTuning
from auformer.models.rivals.linear_probe import LinearProbe

__all__ = ["FullFineTuning", "LinearProbe"]

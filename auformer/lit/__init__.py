"""AUModule, the Lightning module that trains AUFormer and its rivals."""

from __future__ import annotations

from auformer.lit.module import AUModule
from auformer.lit.scores import NonFiniteLossError

__all__ = ["AUModule", "NonFiniteLossError"]

"""Which parameters decay, and the learning rate over the run."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from auformer.models import AUNetwork

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def parameter_groups(network: AUNetwork, weight_decay: float, *, decay_all: bool = False) -> list[dict[str, Any]]:
    """Trainable parameters in two groups for AdamW: with weight decay, and without.

    No decay for biases, norms and other vectors (layer scale), nor for what timm names in `no_weight_decay` (position
    embedding, class and register tokens), which matters where the ViT itself is trained. Parameters that require no
    gradient and empty groups are left out. With `decay_all` everything decays, as in MDHR's released code.

    Raises:
        ValueError: Nothing is trainable.
    """
    norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, _NORMS)
        for parameter in module.parameters(recurse=False)
    }
    spared = {f"backbone.{name}" for name in network.backbone.no_weight_decay()}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            bias = "bias" in name.rpartition(".")[2]
            spare = parameter.ndim <= 1 or bias or name in spared or id(parameter) in norms
            (plain if spare and not decay_all else decayed).append(parameter)
    if not decayed and not plain:
        raise ValueError(f"Expected `network` to have trainable parameters, but got none in {type(network).__name__}")
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class WarmupCosine:
    """Factor on the learning rate of each optimiser step: linear warm-up times a cosine over the whole run.

    `min(1, (s + 1) / w) * (1 + cos(pi s / S)) / 2` for step `s` of `S`, `w = warmup_fraction * S` [ours].

    Args:
        steps: Optimiser steps of the run `S`.
        warmup_fraction: Part of them over which the rate rises, 0 to 1.

    Raises:
        ValueError: An argument is out of range.

    >>> factor = WarmupCosine(steps=100, warmup_fraction=0.1)
    >>> [round(factor(step), 3) for step in (0, 4, 9, 50, 100)]
    [0.1, 0.498, 0.98, 0.5, 0.0]
    """

    def __init__(self, steps: int, warmup_fraction: float) -> None:
        if steps < 1:
            raise ValueError(f"Expected `steps` to be at least 1, but got {steps}")
        if not 0 <= warmup_fraction <= 1:
            raise ValueError(f"Expected `warmup_fraction` to be in [0, 1], but got {warmup_fraction}")
        self.steps = steps
        self.warmup = max(warmup_fraction * steps, 1.0)

    def __call__(self, step: int) -> float:
        """Factor in [0, 1] for step 0, 1, ..., `steps`; 0 beyond."""
        position = min(step / self.steps, 1.0)
        return min(1.0, (step + 1) / self.warmup) * 0.5 * (1.0 + math.cos(math.pi * position))

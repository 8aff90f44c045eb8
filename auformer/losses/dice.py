"""Weighted Dice loss of JAA-Net (Shao et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from auformer.losses.batch import prepared

DICE_SMOOTH = 1.0  # added to numerator and denominator of the Dice coefficient (JAA-Net)


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted Dice loss over the batch (JAA-Net), a smooth relative of 1 - F1.

    Per AU ``w_i [1 - (2 sum y p + 1) / (sum y + sum p^2 + 1)]`` with sums over the annotated rows of the batch, then the mean
    over the AUs that have an annotated row.

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
        weight: AU weights ``(N,)``; None for 1 each.

    Example:
        >>> float(dice_loss(torch.zeros(2, 1), torch.tensor([[1], [-1]])))  # 1 - (1 + 1) / (1 + 0.25 + 1)
        0.1111...
    """
    logits, target, known, weight = prepared(logits, target, weight)
    probs = torch.where(known, logits.sigmoid(), 0.0)
    truth = torch.where(known, target, 0).to(probs.dtype)
    overlap = 2.0 * (truth * probs).sum(0) + DICE_SMOOTH
    size = truth.sum(0) + probs.square().sum(0) + DICE_SMOOTH
    return (weight * (1.0 - overlap / size)).sum() / known.any(0).sum().clamp_min(1)

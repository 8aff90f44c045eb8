"""Binary cross-entropy, plain or weighted, and focal loss: what MDWA is compared with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from auformer.losses.batch import prepared, reduced

FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25  # the best setting of the paper: Lin et al., ICCV 2017, table 1b


def bce_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over annotated entries, times the AU weights where there are any.

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
        weight: AU weights ``(N,)``; None for 1 each.

    Example:
        >>> float(bce_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]), torch.tensor([0.5, 1.5])))  # log 2
        0.6931...
    """
    logits, target, known, weight = prepared(logits, target, weight)
    entries = -weight * torch.where(target == 1, functional.logsigmoid(logits), functional.logsigmoid(-logits))
    return reduced(entries, known, "mean")


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = FOCAL_GAMMA, alpha: float = FOCAL_ALPHA) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017, equation 5), the mean over annotated entries.

    ``-alpha (1 - p)^gamma log p`` for positives and ``-(1 - alpha) p^gamma log(1 - p)`` for negatives, with ``p = sigmoid(z)``.

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
        gamma: Exponent of the focusing factor, at least 1: between 0 and 1 its gradient is not finite.
        alpha: Factor of the positives, 0 to 1.

    Raises:
        ValueError: An option is out of its range.

    Example:
        >>> float(focal_loss(torch.zeros(1, 1), torch.ones(1, 1)))  # 0.25 * 0.25 * log 2
        0.0433...
    """
    if not 1 <= gamma < float("inf") or not 0 <= alpha <= 1:
        raise ValueError(f"Expected `gamma` to be at least 1 and `alpha` to be in [0, 1], but got {gamma} and {alpha}.")
    logits, target, known, _ = prepared(logits, target, None)
    signed = torch.where(target == 1, logits, -logits)  # p_t = sigmoid(signed)
    missed = torch.sigmoid(-signed).clamp_min(torch.finfo(logits.dtype).tiny)
    share = torch.where(target == 1, torch.full_like(logits, alpha), 1.0 - alpha)
    return reduced(-share * missed**gamma * functional.logsigmoid(signed), known, "mean")

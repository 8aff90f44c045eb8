"""Asymmetric losses before MDWA: ASL and WA."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from auformer.losses.batch import prepared, reduced
from auformer.losses.mdwa import mdwa_loss

ASL_GAMMA, ASL_MARGIN = 4.0, 0.05  # exponent and margin of negatives: Ridnik et al., ICCV 2021, section 4.1; 0 for positives


def asl_loss(logits: Tensor, target: Tensor, *, gamma: float = ASL_GAMMA, margin: float = ASL_MARGIN) -> Tensor:
    """Asymmetric loss for multi-label classification (Ridnik et al., ICCV 2021), the mean over annotated entries.

    ``-log p`` for positives and ``-p_m^gamma log(1 - p_m)`` for negatives with ``p_m = max(p - m, 0)``: MDWA without AU weights and with
    one exponent for all. The gradient flows through the focusing factor, as the paper analyses it (equation 10).

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
        gamma: Exponent of negatives, 0 or at least 1.
        margin: Margin ``m`` in [0, 1).

    Example:
        >>> float(asl_loss(torch.zeros(1, 1), torch.zeros(1, 1)))  # 0.45^4 * -log(0.55)
        0.0245...
    """
    return mdwa_loss(logits, target, logits.new_ones(logits.shape[-1:]), margin=margin, gamma_low=gamma, gamma_high=gamma)


def wa_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted asymmetric loss of ME-GraphAU (Luo et al., IJCAI 2022), the mean over annotated entries.

    ``-w_i [ y log p + (1 - y) p log(1 - p) ]``; no gradient flows through the focusing factor ``p`` before the logarithm.

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
        weight: AU weights ``(N,)``, see :func:`au_weights`.

    Example:
        >>> float(wa_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1)))  # 0.5 * log 2
        0.3465...
    """
    logits, target, known, weight = prepared(logits, target, weight)
    negative = logits.detach().sigmoid() * functional.logsigmoid(-logits)
    return reduced(-weight * torch.where(target == 1, functional.logsigmoid(logits), negative), known, "mean")

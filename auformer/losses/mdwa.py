"""MDWA, the loss of AUFormer (Yuan et al., ECCV 2024), which extends the WA loss of ME-GraphAU (Luo et al., IJCAI 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from auformer.losses.batch import prepared, reduced
from auformer.losses.weights import GAMMA_HIGH, GAMMA_LOW, difficulty_exponents

MARGIN = 0.05  # m of MDWA, read off the loss curve in the paper's pipeline figure (529 points, RMSE 0.0014 with gamma = 1)


def mdwa_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    margin: float = MARGIN,
    gamma_low: float = GAMMA_LOW,
    gamma_high: float = GAMMA_HIGH,
    reduction: str = "mean",
) -> Tensor:
    """Margin-truncated difficulty-aware weighted asymmetric loss.

    ``-w_i [ y log p_i + (1 - y) p_m,i^gamma_i log(1 - p_m,i) ]`` with ``p = sigmoid(z)`` and ``p_m = max(p - m, 0)``. The gradient
    flows through the focusing factor ``p_m^gamma`` (the WA loss stops it), so it falls again for negatives of high probability,
    which are likely label errors.

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated; integer or float.
        weight: AU weights ``(N,)``, positive, see :func:`au_weights`.
        margin: Margin ``m`` in [0, 1) that is taken off the probability of negatives.
        gamma_low: Exponent of the AU with the smallest weight, 0 or at least 1.
        gamma_high: Exponent of the AU with the largest weight, at least ``gamma_low``.
        reduction: ``"mean"`` over annotated entries, ``"sum"``, or ``"none"``: ``(B, N)`` with 0 where not annotated.

    Returns:
        Scalar, or ``(B, N)`` for ``reduction="none"``; in float32, or float64 for float64 logits.

    Raises:
        ValueError: If a shape, a label, the margin, an exponent or the reduction is not valid.

    Example:
        >>> float(mdwa_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1)))  # 0.45 * -log(0.55)
        0.2690...
    """
    check_shape_of_curve(margin, gamma_low, gamma_high)
    logits, target, known, weight = prepared(logits, target, weight)
    probs = logits.sigmoid()
    gamma = difficulty_exponents(weight, gamma_low, gamma_high)
    truncated = probs - margin
    active = truncated > torch.finfo(truncated.dtype).tiny  # below it the power would overflow backwards, and its term is 0
    focus = torch.where(active, truncated, 1.0) ** gamma
    # log(1 - p_m) = log((1 - p) + m): exact for p -> 1, and log-sigmoid itself for m = 0.
    log_margin = logits.new_full((), math.log(margin) if margin > 0 else -math.inf)
    log_rest = torch.logaddexp(functional.logsigmoid(-logits), log_margin)
    negative = torch.where(active, focus * log_rest, 0.0)
    entries = -weight * torch.where(target == 1, functional.logsigmoid(logits), negative)
    return reduced(entries, known, reduction)


def check_shape_of_curve(margin: float, gamma_low: float, gamma_high: float) -> None:
    """Refuse margins and exponents that leave the curve without a finite gradient."""
    if not 0 <= margin < 1:
        raise ValueError(f"Expected `margin` to be in [0, 1), but got {margin}.")
    if not (gamma_low == 0 or gamma_low >= 1):
        raise ValueError(f"Expected `gamma_low` to be 0 or at least 1, but got {gamma_low}.")
    if not gamma_low <= gamma_high < math.inf:
        raise ValueError(f"Expected `gamma_high` to be at least `gamma_low` = {gamma_low}, but got {gamma_high}.")

"""Losses for labels of action units: MDWA, weighted Dice, and those that they are compared with.

The total is the one of AUFormer (Yuan et al., ECCV 2024, arxiv.org/abs/2403.04697): ``L_MDWA(main) + L_WDI(main) +
lambda * L_MDWA(expert heads)``; any other loss takes the place of MDWA in it. Labels are 1 (active), 0 (inactive) and
-1 (not annotated). An entry that is not annotated contributes nothing to value or gradient of any term; every mean is
over annotated entries; without any, a loss is exactly 0. Everything is computed in at least float32 (half types are
raised, float64 stays); values and gradients are finite for logits up to 1e4 in size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "AULoss", "MDWALoss", "asl_loss", "au_weights", "bce_loss", "dice_loss", "difficulty_exponents", "focal_loss",
    "mdwa_loss", "region_loss", "region_targets", "wa_loss",
]  # fmt: skip


def _prepared(logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check one batch and raise it to at least float32: logits, target, mask of the annotated entries, weights.

    Logits that no label speaks about become 0, whatever they were. Label values are checked on the CPU only: elsewhere
    a look at them would stall the device in every step.
    """
    if logits.ndim != 2 or logits.shape[1] == 0 or target.shape != logits.shape:
        shapes = f"{tuple(logits.shape)} and {tuple(target.shape)}"
        raise ValueError(f"Expected `logits` and `target` to have one shape (B, N), but got {shapes}.")
    known = (target == 0) | (target == 1)
    if target.device.type == "cpu" and not bool((known | (target == -1)).all()):
        wrong = target[~known & (target != -1)][0].item()
        raise ValueError(f"Expected `target` to hold 1, 0 or -1 (not annotated), but got {wrong}.")
    logits = torch.where(known, logits.to(torch.promote_types(logits.dtype, torch.float32)), 0.0)
    weight = logits.new_ones(logits.shape[1]) if weight is None else weight
    if weight.shape != logits.shape[1:]:
        raise ValueError(f"Expected `weight` to have shape ({logits.shape[1]},), but got {tuple(weight.shape)}.")
    return logits, target, known, weight.to(logits)


def _reduced(entries: Tensor, known: Tensor, reduction: str) -> Tensor:
    entries = torch.where(known, entries, 0.0)
    if reduction == "mean":
        return entries.sum() / known.sum().clamp_min(1)
    if reduction in ("none", "sum"):
        return entries if reduction == "none" else entries.sum()
    raise ValueError(f"Expected `reduction` to be 'mean', 'sum' or 'none', but got {reduction!r}.")


GAMMA_LOW, GAMMA_HIGH = 1.0, 2.0  # exponents of the AUs with smallest and largest weight [ours; the curve shows 1]
MARGIN = 0.05  # m of MDWA, read off the loss curve in the paper's figure (529 points, RMSE 0.0014 with gamma = 1)
FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25  # the best setting in the paper's table 1b
ASL_GAMMA, ASL_MARGIN = 4.0, 0.05  # exponent and margin of negatives, section 4.1 of the paper; 0 for positives
DICE_SMOOTH = 1.0  # added to numerator and denominator of the Dice coefficient (JAA-Net)


def au_weights(positives: Any, annotated: Any, *, au_names: Sequence[str] | None = None) -> Tensor:
    """Weigh action units by the inverse of their occurrence rate, to a mean of 1 (ME-GraphAU).

    ``w_i = N (1 / r_i) / sum_j (1 / r_j)`` with ``r_i = positives_i / annotated_i`` in the training rows of the run.

    Args:
        positives: Rows in which each AU is active, ``(N,)``: list, array or tensor.
        annotated: Rows in which each AU is annotated (label 0 or 1), ``(N,)``.
        au_names: Names of the AUs, used in the error message only.

    Returns:
        Weights ``(N,)`` in torch's default dtype; they are positive and add up to ``N``.

    Raises:
        ValueError: If the counts do not fit together, or an AU has no positive row (named in the message).

    Example:
        >>> au_weights([10, 20], [100, 100])
        tensor([1.3333, 0.6667])
    """
    positive, total = torch.as_tensor(positives).double(), torch.as_tensor(annotated).double()
    if positive.ndim != 1 or positive.shape != total.shape or not bool(((positive >= 0) & (positive <= total)).all()):
        counts = f"{positive.tolist()} and {total.tolist()}"
        raise ValueError(
            f"Expected `positives` to hold one count per AU, at most that of `annotated`, but got {counts}."
        )
    lacking = [index for index, count in enumerate(positive.tolist()) if count == 0]
    if lacking:
        names = [f"number {index}" if au_names is None else str(au_names[index]) for index in lacking]
        raise ValueError(
            f"Expected every AU to have a positive training row, but got none for {', '.join(names)}: "
            "leave the AU out, or train on rows that show it."
        )
    inverse = total / positive
    return (inverse * (inverse.numel() / inverse.sum())).to(torch.get_default_dtype())


def difficulty_exponents(weight: Tensor, gamma_low: float = GAMMA_LOW, gamma_high: float = GAMMA_HIGH) -> Tensor:
    """Exponent of the focusing factor of each AU, from its weight.

    ``gamma_i = gamma_low + (gamma_high - gamma_low) * (w_i - min w) / (max w - min w)`` [ours; the paper only says that
    the negatives of AUs differ in difficulty]: a rarer AU has more easy ones and gets the stronger focus. Equal weights
    give ``gamma_low``.

    Returns:
        Exponents ``(N,)`` in ``[gamma_low, gamma_high]`` for weights ``(N,)``.

    Example:
        >>> difficulty_exponents(torch.tensor([0.5, 1.0, 1.5]))
        tensor([1.0000, 1.5000, 2.0000])
    """
    above = weight - weight.min()
    return gamma_low + (gamma_high - gamma_low) * above / above.max().clamp_min(torch.finfo(above.dtype).tiny)


def bce_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over annotated entries, times the AU weights where there are any.

    Arguments as of :func:`mdwa_loss`; without ``weight`` every AU has 1.

    Example:
        >>> float(bce_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]), torch.tensor([0.5, 1.5])))  # log 2
        0.6931...
    """
    logits, target, known, weight = _prepared(logits, target, weight)
    entries = -weight * torch.where(target == 1, functional.logsigmoid(logits), functional.logsigmoid(-logits))
    return _reduced(entries, known, "mean")


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = FOCAL_GAMMA, alpha: float = FOCAL_ALPHA) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017, arxiv.org/abs/1708.02002, equation 5), the mean over annotated entries.

    ``-alpha (1 - p)^gamma log p`` for positives and ``-(1 - alpha) p^gamma log(1 - p)`` for negatives, with ``p =
    sigmoid(z)``.

    Args:
        logits: ``(B, N)``.
        target: ``(B, N)``: 1, 0, or -1 for not annotated.
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
    logits, target, known, _ = _prepared(logits, target, None)
    signed = torch.where(target == 1, logits, -logits)  # p_t = sigmoid(signed)
    missed = torch.sigmoid(-signed).clamp_min(torch.finfo(logits.dtype).tiny)
    share = torch.where(target == 1, torch.full_like(logits, alpha), 1.0 - alpha)
    return _reduced(-share * missed**gamma * functional.logsigmoid(signed), known, "mean")


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

    ``-w_i [ y log p_i + (1 - y) p_m,i^gamma_i log(1 - p_m,i) ]`` with ``p = sigmoid(z)`` and ``p_m = max(p - m, 0)``.
    The gradient flows through the focusing factor ``p_m^gamma`` (the WA loss stops it), so it falls again for negatives
    of high probability, which are likely label errors.

    Args:
        logits: Logits ``(B, N)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated; integer or float.
        weight: AU weights ``(N,)``, positive, see :func:`au_weights`.
        margin: Margin ``m`` in [0, 1) that is taken off the probability of negatives.
        gamma_low: Exponent of the AU with the smallest weight, 0 or at least 1.
        gamma_high: Exponent of the AU with the largest weight, at least ``gamma_low``.
        reduction: ``"mean"`` over annotated entries, ``"sum"``, or ``"none"``: ``(B, N)`` with 0 where not annotated.

    Raises:
        ValueError: If a shape, a label, the margin, an exponent or the reduction is not valid.

    Example:
        >>> float(mdwa_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1)))  # 0.45 * -log(0.55)
        0.2690...
    """
    _check_curve(margin, gamma_low, gamma_high)
    logits, target, known, weight = _prepared(logits, target, weight)
    probs = logits.sigmoid()
    gamma = difficulty_exponents(weight, gamma_low, gamma_high)
    truncated = probs - margin
    active = truncated > torch.finfo(truncated.dtype).tiny  # below, the power would overflow backwards; its term is 0
    focus = torch.where(active, truncated, 1.0) ** gamma
    # log(1 - p_m) = log((1 - p) + m): exact for p -> 1, and log-sigmoid itself for m = 0.
    log_margin = logits.new_full((), math.log(margin) if margin > 0 else -math.inf)
    log_rest = torch.logaddexp(functional.logsigmoid(-logits), log_margin)
    negative = torch.where(active, focus * log_rest, 0.0)
    entries = -weight * torch.where(target == 1, functional.logsigmoid(logits), negative)
    return _reduced(entries, known, reduction)


def _check_curve(margin: float, gamma_low: float, gamma_high: float) -> None:
    """Refuse margins and exponents that leave the curve without a finite gradient."""
    if not 0 <= margin < 1:
        raise ValueError(f"Expected `margin` to be in [0, 1), but got {margin}.")
    if not (gamma_low == 0 or gamma_low >= 1):
        raise ValueError(f"Expected `gamma_low` to be 0 or at least 1, but got {gamma_low}.")
    if not gamma_low <= gamma_high < math.inf:
        raise ValueError(f"Expected `gamma_high` to be at least `gamma_low` = {gamma_low}, but got {gamma_high}.")


def asl_loss(logits: Tensor, target: Tensor, *, gamma: float = ASL_GAMMA, margin: float = ASL_MARGIN) -> Tensor:
    """Asymmetric loss (ASL, Ridnik et al., ICCV 2021, arxiv.org/abs/2009.14119), the mean over annotated entries.

    ``-log p`` for positives and ``-p_m^gamma log(1 - p_m)`` for negatives with ``p_m = max(p - m, 0)``: MDWA without AU
    weights and with one exponent for all. The gradient flows through the focusing factor, as the paper analyses it
    (equation 10).

    Args:
        logits: ``(B, N)``.
        target: ``(B, N)``: 1, 0, or -1 for not annotated.
        gamma: Exponent of negatives, 0 or at least 1.
        margin: Margin ``m`` in [0, 1).

    Example:
        >>> float(asl_loss(torch.zeros(1, 1), torch.zeros(1, 1)))  # 0.45^4 * -log(0.55)
        0.0245...
    """
    ones = logits.new_ones(logits.shape[-1:])
    return mdwa_loss(logits, target, ones, margin=margin, gamma_low=gamma, gamma_high=gamma)


def wa_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """WA loss (ME-GraphAU, Luo et al., IJCAI 2022, arxiv.org/abs/2205.01782), the mean over annotated entries.

    ``-w_i [ y log p + (1 - y) p log(1 - p) ]``; no gradient flows through the focusing factor ``p`` before the
    logarithm.

    Arguments as of :func:`mdwa_loss`.

    Example:
        >>> float(wa_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1)))  # 0.5 * log 2
        0.3465...
    """
    logits, target, known, weight = _prepared(logits, target, weight)
    negative = logits.detach().sigmoid() * functional.logsigmoid(-logits)
    return _reduced(-weight * torch.where(target == 1, functional.logsigmoid(logits), negative), known, "mean")


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted Dice loss over the batch (JAA-Net, Shao et al., arxiv.org/abs/2003.08834), a smooth relative of 1 - F1.

    Per AU ``w_i [1 - (2 sum y p + 1) / (sum y + sum p^2 + 1)]`` with sums over the annotated rows of the batch, then
    the mean over the AUs that have an annotated row.

    Arguments as of :func:`mdwa_loss`; without ``weight`` every AU has 1.

    Example:
        >>> float(dice_loss(torch.zeros(2, 1), torch.tensor([[1], [-1]])))  # 1 - (1 + 1) / (1 + 0.25 + 1)
        0.1111...
    """
    logits, target, known, weight = _prepared(logits, target, weight)
    probs = torch.where(known, logits.sigmoid(), 0.0)
    truth = torch.where(known, target, 0).to(probs.dtype)
    overlap = 2.0 * (truth * probs).sum(0) + DICE_SMOOTH
    size = truth.sum(0) + probs.square().sum(0) + DICE_SMOOTH
    return (weight * (1.0 - overlap / size)).sum() / known.any(0).sum().clamp_min(1)


def region_targets(target: Tensor, regions: Sequence[Sequence[int]]) -> list[Tensor]:
    """Classes of combinations of action units, as MDHR's regional heads predict them.

    Args:
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
        regions: Places of the AUs of each region, the most significant bit first.

    Returns:
        Per region ``(B,)`` int64: the number whose bits are the labels, -100 where one of them is not annotated.

    Example:
        >>> region_targets(torch.tensor([[1, 0, 1], [0, -1, 1]]), [(0, 1), (2,)])
        [tensor([   2, -100]), tensor([1, 1])]
    """
    found = []
    for places in regions:
        own = target[:, list(places)].long()
        powers = 2 ** torch.arange(len(places) - 1, -1, -1, device=target.device)
        found.append(torch.where((own >= 0).all(1), (own * powers).sum(1), -100))
    return found


def region_loss(logits: Tensor, target: Tensor, regions: Sequence[Sequence[int]]) -> Tensor:
    """Cross-entropy of the combinations of action units in each region (MDHR), the mean over rows, then over regions.

    Args:
        logits: Logits of the classes of all regions, one region beside the other ``(B, classes)``.
        target: Labels ``(B, N)``: 1, 0, or -1 for not annotated; a row counts in the regions whose AUs all are.
        regions: See :func:`region_targets`.

    Example:
        >>> float(region_loss(torch.zeros(1, 6), torch.tensor([[1, 0, 1]]), [(0, 1), (2,)]))  # (log 4 + log 2) / 2
        1.0397...
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    parts = logits.split([2 ** len(places) for places in regions], 1)
    total = logits.new_zeros(())
    for part, classes in zip(parts, region_targets(target, regions), strict=True):
        known = (classes >= 0).sum().clamp_min(1)
        total = total + functional.cross_entropy(part, classes, reduction="sum", ignore_index=-100) / known
    return total / len(regions)


KINDS = ("mdwa", "wa", "asl", "focal", "bce", "weighted_bce")


class AULoss(nn.Module):
    """Total loss: `kind` and Dice on the main head, `kind` on the expert heads.

    Args:
        weight: AU weights ``(N,)``, see :func:`au_weights`.
        kind: ``mdwa`` (AUFormer), ``wa`` (ME-GraphAU), ``asl``, ``focal``, ``bce`` or ``weighted_bce``.
        margin: Of :func:`mdwa_loss`, as are ``gamma_low`` and ``gamma_high``; the other kinds have their papers'.
        dice_weight: Factor of the Dice term (1 in the paper).
        expert_weight: Factor ``lambda`` of the expert heads' term [ours: 1].

    Raises:
        ValueError: If a weight is not positive, or an option is out of its range.
    """

    weight: Tensor

    def __init__(
        self,
        weight: Tensor | Sequence[float],
        *,
        kind: str = "mdwa",
        margin: float = MARGIN,
        gamma_low: float = GAMMA_LOW,
        gamma_high: float = GAMMA_HIGH,
        dice_weight: float = 1.0,
        expert_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"Expected `kind` of the loss to be one of {', '.join(KINDS)}, but got {kind!r}.")
        weight = torch.as_tensor(weight).detach().clone()
        if weight.ndim != 1 or weight.numel() == 0 or not bool(((weight > 0) & weight.isfinite()).all()):
            raise ValueError(f"Expected `weight` to be one positive number per AU, but got {weight.tolist()}.")
        if not (0 <= dice_weight < math.inf and 0 <= expert_weight < math.inf):
            raise ValueError(
                f"Expected `dice_weight` and `expert_weight` of at least 0, but got {dice_weight}, {expert_weight}."
            )
        _check_curve(margin, gamma_low, gamma_high)
        self.kind, self.margin, self.gamma_low, self.gamma_high = kind, margin, gamma_low, gamma_high
        self.dice_weight, self.expert_weight = dice_weight, expert_weight
        self.register_buffer("weight", weight, persistent=False)  # an argument of the run, so in no checkpoint

    def term(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one head over logits and labels ``(B, N)``, a scalar."""
        if self.kind == "mdwa":
            return mdwa_loss(
                logits, target, self.weight, margin=self.margin, gamma_low=self.gamma_low, gamma_high=self.gamma_high
            )
        if self.kind == "wa":
            return wa_loss(logits, target, self.weight)
        if self.kind == "asl":
            return asl_loss(logits, target)
        if self.kind == "focal":
            return focal_loss(logits, target)
        return bce_loss(logits, target, self.weight if self.kind == "weighted_bce" else None)

    def forward(self, logits: Tensor, target: Tensor, expert_logits: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the total and its terms from logits of the main head, labels and expert logits, all ``(B, N)``.

        Returns:
            Scalars ``loss`` (the weighted sum), and unweighted that of the main head by its kind, such as ``mdwa``,
            ``dice``, and ``experts`` (0 without expert heads).
        """
        main = self.term(logits, target)
        dice = dice_loss(logits, target, self.weight)
        experts = torch.zeros_like(main) if expert_logits is None else self.term(expert_logits, target)
        total = main + self.dice_weight * dice + self.expert_weight * experts
        return {"loss": total, self.kind: main, "dice": dice, "experts": experts}


class MDWALoss(AULoss):
    """The paper's total: MDWA and Dice on the main head, MDWA on the expert heads; the default of `AULoss`."""

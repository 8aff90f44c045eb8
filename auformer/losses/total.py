"""The total that is trained on: one loss on the main head and on the expert heads, and weighted Dice on the main head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from auformer.losses.asymmetric import asl_loss, wa_loss
from auformer.losses.cross_entropy import bce_loss, focal_loss
from auformer.losses.dice import dice_loss
from auformer.losses.mdwa import MARGIN, check_shape_of_curve, mdwa_loss
from auformer.losses.weights import GAMMA_HIGH, GAMMA_LOW

KINDS = ("mdwa", "wa", "asl", "focal", "bce", "weighted_bce")


class AULoss(nn.Module):
    """Total loss: `kind` and Dice on the main head, `kind` on the expert heads.

    Args:
        weight: AU weights ``(N,)``, see :func:`au_weights`.
        kind: ``mdwa`` (AUFormer), ``wa`` (ME-GraphAU), ``asl``, ``focal``, ``bce`` or ``weighted_bce``.
        margin: Margin of :func:`mdwa_loss`, as are its exponents ``gamma_low`` and ``gamma_high``; the other kinds have their papers'.
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
            raise ValueError(f"Expected `dice_weight` and `expert_weight` to be at least 0, but got {dice_weight} and {expert_weight}.")
        check_shape_of_curve(margin, gamma_low, gamma_high)
        self.kind, self.margin, self.gamma_low, self.gamma_high = kind, margin, gamma_low, gamma_high
        self.dice_weight, self.expert_weight = dice_weight, expert_weight
        self.register_buffer("weight", weight, persistent=False)  # an argument of the run, so no entry of its checkpoints

    def term(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one head over logits and labels ``(B, N)``, a scalar."""
        if self.kind == "mdwa":
            return mdwa_loss(logits, target, self.weight, margin=self.margin, gamma_low=self.gamma_low, gamma_high=self.gamma_high)
        if self.kind == "wa":
            return wa_loss(logits, target, self.weight)
        if self.kind == "asl":
            return asl_loss(logits, target)
        if self.kind == "focal":
            return focal_loss(logits, target)
        return bce_loss(logits, target, self.weight if self.kind == "weighted_bce" else None)

    def forward(self, logits: Tensor, target: Tensor, expert_logits: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the total and its terms.

        Args:
            logits: Logits of the main head ``(B, N)``.
            target: Labels ``(B, N)``: 1, 0, or -1 for not annotated.
            expert_logits: Logits of the expert heads ``(B, N)``; None where the network has none.

        Returns:
            Scalars ``loss`` (the weighted sum) and, unweighted, the main head's under the name of its kind, for example ``mdwa``, then
            ``dice`` and ``experts`` (0 without expert heads).
        """
        main = self.term(logits, target)
        dice = dice_loss(logits, target, self.weight)
        experts = torch.zeros_like(main) if expert_logits is None else self.term(expert_logits, target)
        total = main + self.dice_weight * dice + self.expert_weight * experts
        return {"loss": total, self.kind: main, "dice": dice, "experts": experts}


class MDWALoss(AULoss):
    """The paper's total: MDWA and Dice on the main head, MDWA on the expert heads; see `AULoss`, whose default it is."""

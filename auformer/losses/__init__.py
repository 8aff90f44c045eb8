"""Losses for occurrence labels of action units: MDWA, weighted Dice, and those that they are compared with.

The total is the one of AUFormer (Yuan et al., ECCV 2024): ``L_MDWA(main) + L_WDI(main) + lambda * L_MDWA(expert heads)``; any other
loss takes the place of MDWA in it. Labels are 1 (active), 0 (inactive) and -1 (not annotated). An entry that is not annotated
contributes nothing to value or gradient of any term; every mean is over annotated entries; without any, a loss is exactly 0. Everything
is computed in at least float32 (half types are raised, float64 stays); values and gradients are finite for logits up to 1e4 in size.
"""

from __future__ import annotations

from auformer.losses.asymmetric import asl_loss, wa_loss
from auformer.losses.cross_entropy import bce_loss, focal_loss
from auformer.losses.dice import dice_loss
from auformer.losses.mdwa import mdwa_loss
from auformer.losses.total import AULoss, MDWALoss
from auformer.losses.weights import au_weights, difficulty_exponents

__all__ = [
    "AULoss",
    "MDWALoss",
    "asl_loss",
    "au_weights",
    "bce_loss",
    "dice_loss",
    "difficulty_exponents",
    "focal_loss",
    "mdwa_loss",
    "wa_loss",
]

"""Random batches for the tests of the losses, and every loss on one batch."""

from __future__ import annotations

import torch

from auformer.losses import AULoss, MDWALoss, asl_loss, bce_loss, dice_loss, focal_loss, mdwa_loss, wa_loss


def random_batch(seed=0, rows=7, aus=5, dtype=torch.float64, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(rows, aus, generator=generator, dtype=torch.float64)).to(dtype)
    target = torch.randint(-1, 2, (rows, aus), generator=generator)
    weight = torch.rand(aus, generator=generator, dtype=torch.float64) + 0.5
    return logits.requires_grad_(), target, weight


def gradient(value, logits):
    return torch.autograd.grad(value, logits)[0]


def all_losses(logits, target, weight):
    total = MDWALoss(weight)(logits, target, logits * 0.5)
    return {
        "mdwa": mdwa_loss(logits, target, weight),
        "dice": dice_loss(logits, target, weight),
        "bce": bce_loss(logits, target, weight),
        "focal": focal_loss(logits, target),
        "asl": asl_loss(logits, target),
        "wa": wa_loss(logits, target, weight),
        "total": total["loss"],
        "total_of_another": AULoss(weight, kind="wa", dice_weight=0.5)(logits, target, logits * 0.5)["loss"],
    }

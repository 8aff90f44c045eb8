"""One batch of logits and labels, checked and raised to float32; and the mean over what is annotated."""

from __future__ import annotations

import torch
from torch import Tensor


def prepared(logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check one batch and raise it to at least float32: logits, target, mask of the annotated entries, weights.

    Logits that no label speaks about become 0, whatever they were. Label values are checked on the CPU only: elsewhere a look at
    them would stall the device in every step.
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


def reduced(entries: Tensor, known: Tensor, reduction: str) -> Tensor:
    """Reduce entries ``(B, N)`` over those that are annotated."""
    entries = torch.where(known, entries, 0.0)
    if reduction == "mean":
        return entries.sum() / known.sum().clamp_min(1)
    if reduction in ("none", "sum"):
        return entries if reduction == "none" else entries.sum()
    raise ValueError(f"Expected `reduction` to be 'mean', 'sum' or 'none', but got {reduction!r}.")

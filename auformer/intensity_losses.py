"""Losses of intensities: smooth L1, the cumulative links' cross-entropy, and concordance.

Intensities are numbers from 0 to 5, whole levels or not, and NaN where they are not coded. An entry that is not coded
contributes nothing to value or gradient of any term; every mean is over coded entries; without any, a loss is exactly
0. Everything is computed in at least float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from auformer.aus import MAX_INTENSITY

__all__ = ["IntensityLoss", "concordance_loss", "cumulative_loss", "smooth_l1_loss"]

SMOOTH_L1_BETA = 1.0  # levels: below it the error counts squared, above it as it is, as torch's default


def _coded(values: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Check one batch of intensities and raise it to at least float32: values, target, mask of the coded entries.

    Values of entries that are not coded become 0, whatever they were, and so does their target. Codes are checked on
    the CPU only, as labels are.
    """
    if values.ndim < 2 or values.shape[1] == 0 or target.shape != values.shape[:2]:
        shapes = f"{tuple(values.shape)} and {tuple(target.shape)}"
        raise ValueError(f"Expected intensities and their `target` to have one shape (B, N), but got {shapes}.")
    known = ~torch.isnan(target)
    if target.device.type == "cpu" and not bool((~known | ((target >= 0) & (target <= MAX_INTENSITY))).all()):
        wrong = target[known & ~((target >= 0) & (target <= MAX_INTENSITY))][0].item()
        raise ValueError(f"Expected `target` to hold intensities of 0 to 5, or NaN (not coded), but got {wrong}.")
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    values = torch.where(known.view(*known.shape, *[1] * (values.ndim - 2)), values, 0.0)
    return values, torch.where(known, target, 0.0).to(values.dtype), known


def _mean(entries: Tensor, known: Tensor) -> Tensor:
    """Mean of the coded entries; 0 where there are none."""
    return torch.where(known, entries, 0.0).sum() / known.sum().clamp_min(1)


def smooth_l1_loss(intensity: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 (Girshick, ICCV 2015, arxiv.org/abs/1504.08083, equation 3), the mean over coded entries.

    Args:
        intensity: Predicted ``(B, N)``.
        target: Coded ``(B, N)`` in [0, 5]; NaN where not coded.

    Raises:
        ValueError: The shapes differ, or an intensity is out of its range.

    Example:
        >>> float(smooth_l1_loss(torch.tensor([[1.5, 3.0]]), torch.tensor([[1.0, 1.0]])))  # (0.5^2 / 2 + 2 - 0.5) / 2
        0.8125
    """
    intensity, target, known = _coded(intensity, target)
    return _mean(functional.smooth_l1_loss(intensity, target, reduction="none", beta=SMOOTH_L1_BETA), known)


def concordance_loss(intensity: Tensor, target: Tensor) -> Tensor:
    """One minus the concordance correlation (Lin, Biometrics 1989) over the batch, the mean over action units.

    ``1 - 2 cov / (var + var + (mean - mean)^2)``, moments over the coded rows of an AU. It counts where they show at
    least two levels, FACS levels to the nearest, so that a trace below A is level 0 [ours]; without such an AU the loss
    is 0. Arguments as of :func:`smooth_l1_loss`.

    Example:
        >>> float(concordance_loss(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [2.0], [3.0]])))
        0.4285...
    """
    intensity, target, known = _coded(intensity, target)
    count = known.sum(0).clamp_min(1)
    levels = torch.arange(MAX_INTENSITY + 1, device=target.device)
    shown = (torch.floor(target + 0.5).unsqueeze(-1) == levels) & known.unsqueeze(-1)  # (B, N, 6)
    varied = shown.any(0).sum(-1) >= 2
    mean_pred, mean_true = intensity.sum(0) / count, target.sum(0) / count
    pred, true = (torch.where(known, one - mean, 0.0) for one, mean in ((intensity, mean_pred), (target, mean_true)))
    spread = (pred.square() + true.square()).sum(0) / count + (mean_pred - mean_true).square()
    ccc = 2.0 * (pred * true).sum(0) / count / torch.where(varied, spread, 1.0)
    return torch.where(varied, 1.0 - ccc, 0.0).sum() / varied.sum().clamp_min(1)


def cumulative_loss(level_logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of the cumulative links ``P(y >= k)``, summed over k, the mean over coded entries.

    The target of level k is ``clamp(y - (k - 1), 0, 1)``: 1 or 0 for whole levels, the classical form, and in between
    for intensities between two levels [ours].

    Args:
        level_logits: Logits ``(B, N, 5)`` of ``P(y >= k)`` for k = 1 to 5.
        target: Coded ``(B, N)`` in [0, 5]; NaN where not coded.

    Raises:
        ValueError: As of :func:`smooth_l1_loss`.

    Example:
        >>> float(cumulative_loss(torch.zeros(1, 1, 5), torch.tensor([[2.0]])))  # 5 log 2
        3.4657...
    """
    logits, target, known = _coded(level_logits, target)
    below = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    reached = (target.unsqueeze(-1) - below).clamp(0.0, 1.0)
    entries = functional.binary_cross_entropy_with_logits(logits, reached, reduction="none").sum(-1)
    return _mean(entries, known)


class IntensityLoss(nn.Module):
    """Loss of an intensity head: by its form smooth L1 or the cumulative links' cross-entropy, and concordance [ours].

    The first asks for the levels, entry by entry; the second that they go along over the batch, which no average over
    entries that are mostly 0 does: without it predictions keep to the middle.

    Args:
        form: ``regression`` or ``ordinal``, see `auformer.models.intensity`.

    Raises:
        ValueError: There is no such form.
    """

    def __init__(self, form: str) -> None:
        super().__init__()
        if form not in ("regression", "ordinal"):
            raise ValueError(f"Expected `form` to be regression or ordinal, but got {form!r}.")
        self.form = form

    def forward(self, outputs: Mapping[str, Tensor], target: Tensor) -> dict[str, Tensor]:
        """Compute the loss and its terms from the network's `outputs` and intensities ``(B, N)``, NaN where not coded.

        Returns:
            Scalars: ``intensity``, the loss, and what it is the sum of: ``smooth_l1`` or ``cumulative``, and
            ``concordance``.
        """
        if self.form == "ordinal":
            name, level = "cumulative", cumulative_loss(outputs["level_logits"], target)
        else:
            name, level = "smooth_l1", smooth_l1_loss(outputs["intensity"], target)
        concordance = concordance_loss(outputs["intensity"], target)
        return {"intensity": level + concordance, name: level, "concordance": concordance}

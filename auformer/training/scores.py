"""Scores over a whole part, and what to say about a loss that is not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from auformer.metrics import auroc, confusion_counts, f1_from_counts, mean_f1, mean_over_aus
from auformer.training.outputs import Part


class NonFiniteLossError(ValueError):
    """The training loss became NaN or infinite; the message names epoch, batch and action units."""


def probabilities(part: Part, average_heads: bool) -> np.ndarray:
    """Predicted probabilities `(n, N)` of a part, by the main head or as the mean of both heads'."""
    main = part.logits.sigmoid()
    if average_heads and part.experts is not None:
        main = (main + part.experts.sigmoid()) / 2
    return main.cpu().numpy()


def part_scores(part: Part, au_names: Sequence[str], average_heads: bool) -> dict[str, float]:
    """Figures of one part at threshold 0.5.

    Args:
        part: The gathered rows.
        au_names: Names of the action units.
        average_heads: Whether the prediction is the mean of both heads.

    Returns:
        `f1` (mean over the AUs that have positives), `num_aus` (how many those are), `f1_AU12` (NaN where there is no positive), `auroc`
        (mean over the AUs where it is defined); with expert heads also `f1_main`, `f1_experts`, `f1_both`. Rates 0 to 1.

    Raises:
        ValueError: No action unit has a positive row, so there is no F1 at all.
    """
    target = part.target.cpu().numpy()
    predicted = probabilities(part, average_heads)
    f1 = f1_from_counts(confusion_counts(target, predicted))
    mean = mean_over_aus(f1)
    if not mean.num:
        raise ValueError(f"Expected a part with at least one active action unit, but got none in its {len(target)} rows")
    scores = {"f1": mean.value, "num_aus": float(mean.num), "auroc": mean_over_aus(auroc(target, predicted)).value}
    scores |= {f"f1_{name}": float(value) for name, value in zip(au_names, f1, strict=True)}
    if part.experts is not None:
        heads = {"main": probabilities(part, False), "experts": part.experts.sigmoid().cpu().numpy(), "both": probabilities(part, True)}
        scores |= {f"f1_{head}": mean_f1(confusion_counts(target, prob)).value for head, prob in heads.items()}
    return scores


def blame(
    where: str, loss: Tensor, logits: Tensor, experts: Tensor | None, batch: Mapping[str, Tensor], au_names: Sequence[str]
) -> str:  # fmt: skip
    """Message about a loss that is not finite.

    Args:
        where: Epoch and batch.
        loss: The loss.
        logits: Logits of the main head `(B, N)`.
        experts: Logits of the expert heads, or None.
        batch: The batch, for the rows.
        au_names: Names of the action units.

    Returns:
        Which action units and rows have logits that are not finite; where all are finite, the AU with the largest logit.
    """
    both = logits if experts is None else torch.cat([logits, experts])
    both = both.detach().float()
    bad = ~torch.isfinite(both)
    rows = ~torch.isfinite(logits.detach()).all(1)
    names = [name for name, wrong in zip(au_names, bad.any(0).tolist(), strict=True) if wrong]
    if not names:
        names = [au_names[int(both.abs().amax(0).argmax())]]
    images = [] if torch.isfinite(batch["image"]).all() else [f"images that are not finite in {len(batch['image'])} rows"]
    known = batch["index"][rows].tolist()[:5]
    detail = "; ".join([f"action units {', '.join(names)}", *([f"rows {known} of the training part"] if known else []), *images])
    return (
        f"Expected a finite loss, but got {float(loss.detach())} in {where} ({detail}). Lower the learning rate, "
        f"or train in 32-true precision; labels and images of these rows may be broken too."
    )

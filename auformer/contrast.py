"""The contrastive loss of AUNCE: per action unit (AU), faces with the same label attract, faces with others repel.

Shang et al., "Learning contrastive feature representations for facial action unit detection", arxiv.org/abs/2402.06165.
Written from the facts of the authors' published computation, in two forms: `released`, and `corrected`, where a face is
no positive of itself and a mean is over as many as there are [ours].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FORMS = ("released", "corrected")
TEMPERATURE = 0.5  # as published
BETA_POSITIVE, BETA_NEGATIVE = 1.2, 0.8  # exponents of negatives where the anchor's AU is active, and is not
FIRST_BETA_NEGATIVE = 0.4  # in the first release (8400de9)
MOST_SIMILAR, MEAN = 0.2, 0.8  # draws below the first take the most similar positive, below the second their mean


def contrastive_loss(
    features: Tensor, views: Tensor, target: Tensor, draws: Tensor, *, form: str = "corrected",
    beta: Sequence[float] = (BETA_POSITIVE, BETA_NEGATIVE), weight: Tensor | None = None,
    memory: tuple[Tensor, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Mean over AUs and anchors of `-log(Pos / (Pos + Neg))`, with `s = exp(cosine / 0.5)`.

    `Neg` is the sum of `s^beta` over rows of another label. What `Pos` is, one draw per AU decides for all anchors: the
    most similar row of the same label (below 0.2), the mean of their `s` (below 0.8), or the other view of the anchor.

    Args:
        features: Features of the first views `(B, C, N)`, of length 1 over `C`.
        views: Features of the second views of the same faces, likewise.
        target: Labels `(B, N)`: 1, 0, or -1 for not annotated: such a face is neither anchor nor positive nor negative.
        draws: One number in [0, 1) per AU `(N,)`.
        form: `released`: a row is a positive of itself, and the mean divides by all rows, so that an AU attracts less
            the rarer its label; `corrected` leaves the row itself out and divides by the number of positives [ours].
        beta: Exponents of negatives for anchors whose label is 1 and 0.
        weight: Weights of the AUs `(N,)`, as the first release had them; None: 1 each.
        memory: Features `(M, C, N)` and labels `(M, N)` of earlier faces, further negatives without gradient [ours].

    Returns:
        A scalar; an AU with one label only, and one without positives of an anchor, adds 0.

    Raises:
        ValueError: A shape or an option is wrong.
    """
    if features.ndim != 3 or views.shape != features.shape or target.shape != (len(features), features.shape[2]):
        shapes = f"{tuple(features.shape)}, {tuple(views.shape)} and {tuple(target.shape)}"
        raise ValueError(f"Expected features (B, C, N) of two views and labels (B, N), but got {shapes}")
    if form not in FORMS or draws.shape != target.shape[1:]:
        raise ValueError(
            f"Expected `form` to be one of {', '.join(FORMS)} and one draw per AU, but got {form!r} and "
            f"{tuple(draws.shape)}"
        )
    both = torch.cat([features, views]).to(torch.promote_types(features.dtype, torch.float32))  # (2B, C, N)
    labels = torch.cat([target, target]).T  # (N, 2B)
    similar = torch.einsum("acn,bcn->nab", both, both) / TEMPERATURE  # log s, (N, 2B, 2B)
    known = labels >= 0
    pairs = known.unsqueeze(2) & known.unsqueeze(1)
    same = (labels.unsqueeze(2) == labels.unsqueeze(1)) & pairs
    other = (labels.unsqueeze(2) != labels.unsqueeze(1)) & pairs
    active, inactive = (similar.new_tensor(float(one)) for one in beta)
    exponent = torch.where(labels == 1, active, inactive).unsqueeze(2)
    negative = _log_sum(similar * exponent, other)
    if memory is not None and len(memory[0]):
        earlier, theirs = memory[0].to(both), memory[1].T  # (M, C, N), (N, M)
        further = torch.einsum("acn,bcn->nab", both, earlier) / TEMPERATURE
        unlike = (labels.unsqueeze(2) == 1 - theirs.unsqueeze(1)) & known.unsqueeze(2)
        negative = torch.logaddexp(negative, _log_sum(further * exponent, unlike))
    positive = _log_positive(similar, same, draws.to(similar), form)
    loss = torch.logaddexp(positive, negative) - positive  # (N, 2B)
    counts = known & (positive > -math.inf)
    per_au = torch.where(counts & (negative > -math.inf), loss, 0.0).sum(1) / known.sum(1).clamp_min(1)
    return (per_au if weight is None else per_au * weight.to(per_au)).mean()


def _log_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials of the entries in the mask, over the last dimension; -inf without any."""
    return torch.where(mask, values, -math.inf).logsumexp(-1)


def _log_positive(similar: Tensor, same: Tensor, draws: Tensor, form: str) -> Tensor:
    """Logarithm of `Pos` `(N, 2B)` from `log s` `(N, 2B, 2B)`, by the draw of each AU."""
    rows = similar.shape[1]
    itself = torch.eye(rows, dtype=torch.bool, device=similar.device)
    positives = same if form == "released" else same & ~itself
    number = torch.full_like(similar[..., 0], rows) if form == "released" else positives.sum(-1).to(similar)
    largest = torch.where(positives, similar, -math.inf).amax(-1)
    mean = _log_sum(similar, positives) - number.clamp_min(1).log()
    mate = torch.arange(rows, device=similar.device).roll(rows // 2)  # the other view
    view = similar.gather(2, mate.expand(similar.shape[:2]).unsqueeze(2)).squeeze(2)
    draws = draws.unsqueeze(1)
    return torch.where(draws < MOST_SIMILAR, largest, torch.where(draws < MEAN, mean, view))


def two_way_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None, *, floor: float = 1e-3) -> Tensor:
    """Cross-entropy of a softmax over active and inactive, as AUNCE's probe has it, over annotated entries.

    Args:
        logits: `(B, 2, N)`, active first.
        target: `(B, N)`: 1, 0, or -1 for not annotated.
        weight: Weights of the AUs `(N,)`.
        floor: Smallest probability in a logarithm.
    """
    probs = logits.softmax(1).clamp_min(floor).log()
    known = (target >= 0).to(probs)
    entries = -torch.where(target == 1, probs[:, 0], probs[:, 1]) * known
    return (entries if weight is None else entries * weight).sum() / known.sum().clamp_min(1)

"""What is known of an action unit before training: its weight by rarity, and the exponent that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

GAMMA_LOW, GAMMA_HIGH = 1.0, 2.0  # exponents of the AUs with the smallest and the largest weight [ours; the curve shows 1]


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
        raise ValueError(f"Expected `positives` to hold one count per AU, at most that of `annotated`, but got {counts}.")
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

    ``gamma_i = gamma_low + (gamma_high - gamma_low) * (w_i - min w) / (max w - min w)`` [ours; the paper only says that the
    negatives of AUs differ in difficulty]: a rarer AU has more easy ones and gets the stronger focus. Equal weights give ``gamma_low``.

    Returns:
        Exponents ``(N,)`` in ``[gamma_low, gamma_high]`` for weights ``(N,)``.

    Example:
        >>> difficulty_exponents(torch.tensor([0.5, 1.0, 1.5]))
        tensor([1.0000, 1.5000, 2.0000])
    """
    above = weight - weight.min()
    return gamma_low + (gamma_high - gamma_low) * above / above.max().clamp_min(torch.finfo(above.dtype).tiny)

"""What the heads say about every row of a validation or test part, gathered over batches and ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Part(NamedTuple):
    """The gathered rows in the order of the part, each once.

    Args:
        rows: Row of the part `(n,)`.
        target: Labels `(n, N)` in {1, 0, -1}.
        logits: Logits of the main head `(n, N)`.
        experts: Logits of the expert heads `(n, N)`, or None.
    """

    rows: Tensor
    target: Tensor
    logits: Tensor
    experts: Tensor | None


class PartOutputs(Metric):
    """Collects labels and logits per row; rows that several ranks or batches bring are counted once.

    Scores over a part are not means over batches, and under DDP a sampler may repeat rows to even out the ranks. So the rows themselves are
    gathered (a few bytes each) and the first of every row id is kept.

    Args:
        num_aus: Number of action units `N`.
        experts: Whether there are expert heads.
    """

    full_state_update = False
    index: list[Tensor]
    target: list[Tensor]
    logits: list[Tensor]
    experts: list[Tensor]

    def __init__(self, num_aus: int, *, experts: bool) -> None:
        super().__init__()
        self.num_aus = num_aus
        self.has_experts = experts
        for name in ("index", "target", "logits", "experts"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def start(self) -> None:
        """Forget everything; a rank that meets no batch then still has something of the right shape to gather."""
        self.reset()
        empty = torch.zeros(0, self.num_aus, device=self.device)
        self.update(empty[:, 0].long(), empty.long(), empty, empty if self.has_experts else None)

    def update(self, index: Tensor, target: Tensor, logits: Tensor, experts: Tensor | None) -> None:
        """Add one batch: row ids `(B,)`, labels, logits and expert logits `(B, N)`."""
        self.index.append(index)
        self.target.append(target.to(torch.int8))
        self.logits.append(logits.detach().float())
        self.experts.append((logits if experts is None else experts).detach().float())

    def compute(self) -> Part:
        """All rows of all ranks, in order, each once."""
        index = dim_zero_cat(self.index)
        order = torch.argsort(index, stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        kept = order[first]
        experts = dim_zero_cat(self.experts)[kept] if self.has_experts else None
        return Part(index[kept], dim_zero_cat(self.target)[kept], dim_zero_cat(self.logits)[kept], experts)

"""One branch per action unit (AU), refined by channel and by place, and the decision that each makes.

VL-FAU (Ge et al., ACM MM 2024, arxiv.org/abs/2408.00644) has a branch per AU with a "dual-level" refinement [W: the
abstract names it]; that the levels are channels and pixels is what the same authors' MGRR-Net does [W], and the form
below is ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Refined(NamedTuple):
    """What the branches make of their tokens.

    Args:
        tokens: After both refinements `(B, N, T, d)`.
        scores: Of each place, before the softmax `(B, N, T)`.
        pooled: Tokens under the attention `(B, N, d)`.
        logits: The branches' decisions `(B, N)`.
        evidence: What each place adds to the logit `(B, N, T)`; with the bias they add up to it exactly.
    """

    tokens: Tensor
    scores: Tensor
    pooled: Tensor
    logits: Tensor
    evidence: Tensor

    @property
    def attention(self) -> Tensor:
        """How much each place counts `(B, N, T)`, of sum 1."""
        return self.scores.softmax(-1)


class Branches(nn.Module):
    """Per AU: a linear map to `d` channels and a norm, then gates of channels, then attention over places [ours].

    Channel level: the mean over places passes `d -> d/4 -> d`, and `2 sigmoid` of it scales the channels. Pixel level:
    `a = softmax_T(t . q + p)`; the pooled `sum_t a_t t` is what the AU's logit is linear in.

    Args:
        num_aus: Branches `N`.
        inputs: Channels `C` of each branch's tokens.
        places: Tokens `T`.
        width: Channels `d`.
    """

    def __init__(self, num_aus: int, inputs: int, places: int, width: int = 64) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(num_aus, inputs, width) * inputs**-0.5)
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Parameter(torch.ones(num_aus, 1, width))
        self.shift = nn.Parameter(torch.zeros(num_aus, 1, width))
        self.squeeze = nn.Sequential(nn.Linear(width, width // 4), nn.GELU(), nn.Linear(width // 4, width))
        self.query = nn.Parameter(torch.randn(num_aus, width) * width**-0.5)
        self.place = nn.Parameter(torch.zeros(num_aus, places))
        self.weight = nn.Parameter(torch.randn(num_aus, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(num_aus))

    def forward(self, x: Tensor) -> Refined:
        """Tokens of the branches `(B, N, T, C)`, or `(B, 1, T, C)` where all have the same."""
        tokens = self.norm(torch.matmul(x, self.down)) * self.scale + self.shift  # (B, N, T, d)
        gates = 2 * self.squeeze(tokens.mean(2, keepdim=True)).sigmoid()
        tokens = tokens * gates
        scores = (tokens * self.query[:, None]).sum(-1) + self.place
        attention = scores.softmax(-1)
        evidence = attention * (tokens * self.weight[:, None]).sum(-1)
        pooled = (attention.unsqueeze(-1) * tokens).sum(2)
        return Refined(tokens, scores, pooled, evidence.sum(-1) + self.bias, evidence)

"""Relations between action units (AUs) of different regions: the second level of MDHR's hierarchy (CRM)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.temporal.regions import Region

EDGES = ("active", "none", "all", "others")
SLOPE = 0.2  # of the leaky ReLU before the softmax, as released


def edges_of(active: Tensor, regions: Sequence[Region], kind: str = "active") -> Tensor:
    """Which AU hears which: row n hears column m.

    Args:
        active: `(B, N)` of 0 and 1.
        regions: Whose AUs are neighbours; AUs of one region never hear each other.
        kind: `active`: every AU hears itself and the active AUs of other regions; `none`: only itself; `all`: all AUs;
            `others`: all AUs of other regions, active or not (ablations).

    Returns:
        `(B, N, N)` bool.
    """
    number = active.shape[1]
    own = torch.eye(number, dtype=torch.bool, device=active.device)
    if kind == "none":
        return own.expand(active.shape[0], -1, -1)
    if kind == "all":
        return torch.ones_like(own).expand(active.shape[0], -1, -1)
    home = torch.zeros(number, dtype=torch.long, device=active.device)
    for place, region in enumerate(regions):
        home[list(region.aus)] = place
    apart = home.unsqueeze(0) != home.unsqueeze(1)
    heard = apart.expand(active.shape[0], -1, -1) if kind == "others" else apart & active.bool().unsqueeze(1)
    return heard | own


class CrossRelations(nn.Module):
    """One attention layer over the edges (a graph attention network with one head), with a residual path.

    `z = W v`, `e_nm = LeakyReLU(a_n . z_n + a_m . z_m)`, softmax over the AUs that are heard, `v' = ELU(sum + v + b)`.

    Args:
        regions: As `regions_of` gives them.
        dim: Channels `C` of a feature.
        edges: See `edges_of`.

    Raises:
        ValueError: `edges` is none of its words.
    """

    def __init__(self, regions: Sequence[Region], dim: int, *, edges: str = "active") -> None:
        super().__init__()
        if edges not in EDGES:
            raise ValueError(f"Expected `edges` to be one of {', '.join(EDGES)}, but got {edges!r}")
        self.regions, self.edges = list(regions), edges
        self.sender, self.receiver = (nn.Parameter(torch.empty(1, 1, dim)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.map = nn.Linear(dim, dim, bias=False)
        for weight in (self.sender, self.receiver, self.map.weight):
            nn.init.xavier_uniform_(weight)

    def attention(self, z: Tensor, active: Tensor) -> Tensor:
        """How much each AU hears of each: `(B, N, N)` from mapped features `(B, N, C)`; rows add up to 1."""
        scores = (z * self.receiver).sum(-1, keepdim=True) + (z * self.sender).sum(-1).unsqueeze(1)
        heard = edges_of(active, self.regions, self.edges)
        return F.leaky_relu(scores, SLOPE).masked_fill(~heard, -torch.inf).softmax(-1)

    def forward(self, v: Tensor, active: Tensor) -> Tensor:
        """Features `(B, N, C)` and active AUs `(B, N)` to features of the same shape."""
        z = self.map(v)
        return F.elu(self.attention(z, active) @ z + v + self.bias)

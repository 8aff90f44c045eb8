"""Heads on the pooled features of a ViT: one standardisation, one MLP for AUFormer and baselines (method.md 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STD_FLOOR = 1e-4  # added to every measured standard deviation: a constant feature must not be blown up [ours]


class Standardise(nn.Module):
    """Fixed shift and scale per feature, measured once on training images; the identity until then [ours].

    Pooled features of a frozen ViT have a standard deviation near .1 around means of .3 to .5, and an MLP on them
    hardly moves (measured: 5 points of F1). MAE's linear probe uses BatchNorm without affine for the same reason (He et
    al., 2022).

    Shape: `(B, D)` to `(B, D)`.
    """

    mean: Tensor
    std: Tensor
    measured: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("measured", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Take mean `(D,)` and standard deviation `(D,)` per feature, measured elsewhere.

        Raises:
            ValueError: Another shape, a value that is not finite, or a negative deviation.
        """
        for name, value in (("mean", mean), ("std", std)):
            if tuple(value.shape) != tuple(self.mean.shape) or not bool(torch.isfinite(value).all()):
                raise ValueError(
                    f"Expected `{name}` to be {len(self.mean)} finite numbers, but got shape {tuple(value.shape)}"
                )
        if bool((std < 0).any()):
            raise ValueError(f"Expected `std` to be 0 or more, but got {float(std.min())}")
        self.mean.copy_(mean)
        self.std.copy_(std + STD_FLOOR)
        self.measured.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise features `(B, D)`."""
        return (x - self.mean) / self.std


class MLPHead(nn.Module):
    """Standardise, then `D -> D/4 -> N` with GELU: the main head of AUFormer [F: an MLP; its form is ours]."""

    def __init__(self, dim: int, num_aus: int) -> None:
        super().__init__()
        self.standardise = Standardise(dim)
        self.fc1 = nn.Linear(dim, max(dim // 4, 1))
        self.act = nn.GELU()
        self.fc2 = nn.Linear(max(dim // 4, 1), num_aus)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features `(B, D)` to logits `(B, N)`."""
        return self.fc2(self.act(self.fc1(self.standardise(x))))


class LinearHead(nn.Module):
    """Standardise, then one linear map: the head of the linear probe."""

    def __init__(self, dim: int, num_aus: int) -> None:
        super().__init__()
        self.standardise = Standardise(dim)
        self.fc = nn.Linear(dim, num_aus)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features `(B, D)` to logits `(B, N)`."""
        return self.fc(self.standardise(x))


class ExpertHeads(nn.Module):
    """One linear map `D -> 1` per expert on the grid mean of its last output, supervised too [F]."""

    def __init__(self, num_experts: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.bias = nn.Parameter(torch.zeros(num_experts))
        nn.init.normal_(self.weight, std=dim**-0.5)

    def forward(self, means: Tensor, up: Tensor, up_bias: Tensor) -> Tensor:
        """Logits `w_i . (U_i mean(g_i) + b_i) + c_i` without anything of width `D` per token (method.md 3.2).

        Args:
            means: Narrow outputs of the last group before its up-projection, averaged over the grid `(B, N, R)`.
            up: Up-projection `U` `(N, D, R)`.
            up_bias: Its bias `b` `(N, D)`.

        Returns:
            Expert logits `(B, N)`.
        """
        narrow = torch.einsum("ndr,nd->nr", up, self.weight)
        return (means * narrow).sum(-1) + (up_bias * self.weight).sum(-1) + self.bias

"""One expert group: the N experts beside one sub-layer of the ViT, fused and exact (method.md 3 and 3.1 [F])."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.local_attention import local_attention

# Bounds [ours]: a number read from a stranger's file must not ask for gigabytes of weights or padding.
MAX_WIDTH = 1024  # channels of one expert
MAX_DILATION = 64  # positions


class ExpertMap(nn.Module):
    """One affine map per expert, all of one shape, stacked: the parameters of a 1x1 or k x k convolution with N groups.

    Args:
        num_experts: Number of experts `N`.
        inputs: Channels in, per expert.
        outputs: Channels out, per expert.
        kernel: Side of the kernel; 0 for a 1x1 map kept as a matrix.
        gain: Variance of the output for inputs of unit variance; 0 starts the map at zero.

    Parameters are `weight (N*outputs, inputs[, kernel, kernel])` and `bias (N*outputs,)`, experts one after the other. Weights start at
    unit scale and biases at zero [ours]: torch's default shrinks the signal about 7 times inside an expert (measured: slower learning).
    """

    def __init__(self, num_experts: int, inputs: int, outputs: int, *, kernel: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        self.num_experts = num_experts
        side = (kernel, kernel) if kernel else ()
        self.weight = nn.Parameter(torch.zeros(num_experts * outputs, inputs, *side))
        self.bias = nn.Parameter(torch.zeros(num_experts * outputs))
        if gain:
            nn.init.normal_(self.weight, std=(gain / (inputs * max(kernel, 1) ** 2)) ** 0.5)

    def stacked(self) -> tuple[Tensor, Tensor]:
        """Weight `(N, outputs, inputs[, k, k])` and bias `(N, outputs)`, views of the parameters."""
        return self.weight.unflatten(0, (self.num_experts, -1)), self.bias.view(self.num_experts, -1)

    def extra_repr(self) -> str:
        """Shape of the map, for printing."""
        return f"{self.num_experts} x {tuple(self.weight.shape[1:])} -> {self.weight.shape[0] // self.num_experts}"


def block_diagonal(weight: Tensor) -> Tensor:
    """One dense map that does what N separate ones do.

    Args:
        weight: One map per expert `(N, O, I, ...)`.

    Returns:
        `(N*O, N*I, ...)`, zero off the diagonal blocks.
    """
    num, outputs, inputs = weight.shape[:3]
    rest = weight.shape[3:]
    eye = torch.eye(num, dtype=weight.dtype, device=weight.device).view(num, 1, num, 1, *[1] * len(rest))
    return (weight.unsqueeze(2) * eye).reshape(num * outputs, num * inputs, *rest)


class Carried(NamedTuple):
    """What one group hands to the next: the experts' narrow outputs, and the group whose up-projection they still have to pass.

    Args:
        g: `(B, T, N*R)`.
        group: The group that made them.
    """

    g: Tensor
    group: ExpertGroup


class ExpertGroup(nn.Module):
    """The experts beside one sub-layer: `K = mean_i expert_i(y + own output of expert i in the previous group)`.

    Nothing of width `D` is built per expert. With `K_i = U_i g_i + b_i` the down-projection of the next group is
    `C_i (y + U_i g_i + b_i) = C_i y + (C_i U_i) g_i + C_i b_i`; the 3x3 convolutions are grouped ones, tokens-major (channels last), with
    the 1x1 `fuse` folded into the dilated kernels; the 1x1 maps are block-diagonal matrices. All of it is exact. [ours]

    Args:
        num_experts: Action units `N`.
        dim: Width of the ViT `D`.
        width: Bottleneck channels `R` of one expert.
        dilations: Dilations of the multi-receptive-field branch; `()` leaves the branch out.
        window: Odd side of the context operator's neighbourhood; 0 leaves the branch out.
    """

    fuse: Any  # ExpertMap, or None where the branch is left out

    def __init__(self, num_experts: int, dim: int, width: int, *, dilations: Sequence[int] = (1, 3, 5), window: int = 3) -> None:
        super().__init__()
        self.num_experts, self.dim, self.width = num_experts, dim, width
        self.dilations, self.window = tuple(dilations), window
        n, r = num_experts, width
        self.down = ExpertMap(n, dim, r)
        self.conv = ExpertMap(n, r, r, kernel=3, gain=2.0)  # a GELU before it halves the variance, about
        self.dilated: Any = nn.ModuleList([ExpertMap(n, r, r, kernel=3) for _ in self.dilations])
        self.fuse = ExpertMap(n, len(self.dilations) * r, r) if self.dilations else None
        self.query = ExpertMap(n, r, r) if window else None
        self.key = ExpertMap(n, r, r) if window else None
        self.value = ExpertMap(n, r, r) if window else None
        self.up = ExpertMap(n, r, dim, gain=0.0)  # zero: a fresh model equals the plain ViT [ours]

    def forward(self, y: Tensor, carried: Carried | None, grid: tuple[int, int]) -> tuple[Tensor, Carried]:
        """Run the experts.

        Args:
            y: Normed tokens `(B, P+T, D)`; the `P` prefix tokens are neither read nor written.
            carried: What the previous group handed on; None for the first.
            grid: `(H, W)` with `H * W = T`.

        Returns:
            The mean of the experts' outputs `(B, P+T, D)`, zero on prefix tokens [ours], and what goes to the next group.
        """
        prefix = y.shape[1] - grid[0] * grid[1]
        z = F.linear(y, self.down.weight, self.down.bias)[:, prefix:]  # (B, T, M); all tokens through one GEMM, without a copy of `y`
        if carried is not None:
            z = z + self._own(carried)
        m = self._conv(F.gelu(z).unflatten(1, grid), self.conv.weight, self.conv.bias, 1)  # (B, H, W, M)
        total = m
        if self.dilations:
            total = total + self._receptive_fields(m)
        if self.window:
            total = total + self._context(m)
        g = F.gelu(total).flatten(1, 2)  # (B, T, M)
        return self._up(g, prefix), Carried(g, self)

    def _own(self, carried: Carried) -> Tensor:
        """Down-projection of each expert's own previous output `U g + b`, never built at width `D`: `(B, T, M)`."""
        down, (up, up_bias) = self.down.stacked()[0], carried.group.up.stacked()
        own = block_diagonal(torch.bmm(down, up))  # (M, M) from (N, R, R)
        return F.linear(carried.g, own, torch.bmm(down, up_bias.unsqueeze(-1)).flatten())

    def _up(self, g: Tensor, prefix: int) -> Tensor:
        """Mean of the up-projections of `g (B, T, M)`: one GEMM, `(B, P+T, D)`."""
        up, up_bias = self.up.stacked()
        weight, bias = up.transpose(0, 1).flatten(1) / self.num_experts, up_bias.mean(0)  # (D, M), (D,)
        if not prefix:
            return F.linear(g, weight, bias)
        # a channel of ones carries the bias, so that rows of zeros give the prefix tokens an exact zero
        rows = F.pad(F.pad(g, (0, 1), value=1.0), (0, 0, prefix, 0))  # (B, P+T, M+1)
        return F.linear(rows, torch.cat([weight, bias.unsqueeze(1)], 1))

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        """3x3 convolution of each expert's channels, tokens-major: `(B, H, W, M)` with weight `(N*R, R, 3, 3)`."""
        out = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=dilation, dilation=dilation, groups=self.num_experts)
        return out.permute(0, 2, 3, 1)

    def _receptive_fields(self, m: Tensor) -> Tensor:
        """MRF: dilated convolutions with `fuse` folded into their kernels, `(B, H, W, M)` to the same."""
        fuse, bias = self.fuse.stacked()  # (N, R, len(dilations)*R), (N, R)
        folded = []
        for part, branch in zip(fuse.chunk(len(self.dilations), 2), self.dilated, strict=True):
            weight, branch_bias = branch.stacked()  # (N, R, R, 3, 3), (N, R)
            folded.append(torch.bmm(part, weight.flatten(2)).view_as(weight).flatten(0, 1))
            bias = bias + torch.bmm(part, branch_bias.unsqueeze(-1)).squeeze(-1)
        out = self._conv(m, folded[0], bias.flatten(), self.dilations[0])
        for weight, dilation in zip(folded[1:], self.dilations[1:], strict=True):
            out = out + self._conv(m, weight, None, dilation)
        return out

    def _context(self, m: Tensor) -> Tensor:
        """CA: window attention with each expert's own query, key and value, `(B, H, W, M)` to the same."""
        maps: tuple[Any, ...] = (self.query, self.key, self.value)
        query, key, value = (F.linear(m, block_diagonal(each.stacked()[0]), each.bias) for each in maps)
        return local_attention(query, key, value, self.window)

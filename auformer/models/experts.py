"""One expert group: the N experts beside one sub-layer of the ViT, fused and exact (method.md 3 and 3.1 [F])."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from auformer.models.composed import Composed, Kept, compose
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

    Parameters are `weight (N*outputs, inputs[, kernel, kernel])` and `bias (N*outputs,)`, experts one after the other.
    Weights start at unit scale and biases at zero [ours]: torch's default shrinks the signal about 7 times inside an
    expert (measured: slower learning).
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


class Carried(NamedTuple):
    """What one group hands to the next: narrow outputs, and the group whose up-projection they still have to pass.

    Args:
        rows: `(B, P+T, N*R+1)`: the outputs and a last channel of ones, which carries biases; rows of zeros for the `P`
            prefix tokens, so that every map of them is zero there.
        group: The group that made them.
        prefix: Number of prefix tokens `P`.
    """

    rows: Tensor
    group: ExpertGroup
    prefix: int

    @property
    def g(self) -> Tensor:
        """The outputs alone `(B, T, N*R)`."""
        return self.rows[:, self.prefix :, :-1]

    @property
    def means(self) -> Tensor:
        """The outputs averaged over the grid, per expert `(B, N, R)`."""
        return self.g.mean(1).unflatten(1, (self.group.num_experts, self.group.width))


class ExpertGroup(nn.Module):
    """The experts beside one sub-layer: `K = mean_i expert_i(y + own output of expert i in the previous group)`.

    Nothing of width `D` is built per expert. With `K_i = U_i g_i + b_i` the down-projection of the next group is `C_i
    (y + U_i g_i + b_i) = C_i y + (C_i U_i) g_i + C_i b_i`; the 3x3 convolutions are grouped ones, tokens-major
    (channels last), with the 1x1 `fuse` folded into the dilated kernels; the 1x1 maps are block-diagonal matrices. All
    of it is exact. [ours]

    Args:
        num_experts: Action units `N`.
        dim: Width of the ViT `D`.
        width: Bottleneck channels `R` of one expert.
        dilations: Dilations of the multi-receptive-field branch; `()` leaves the branch out.
        window: Odd side of the context operator's neighbourhood; 0 leaves the branch out.
    """

    fuse: Any  # ExpertMap, or None where the branch is left out

    def __init__(
        self, num_experts: int, dim: int, width: int, *, dilations: Sequence[int] = (1, 3, 5), window: int = 3
    ) -> None:
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
        self._maps = [each for each in self.modules() if isinstance(each, ExpertMap)]
        self._kept = Kept()

    def forward(
        self, x: Tensor, y: Tensor, carried: Carried | None, grid: tuple[int, int], *, recompute: bool = False
    ) -> tuple[Tensor, Carried]:
        """Run the experts and add the mean of their outputs to the residual stream.

        Args:
            x: Residual stream `(B, P+T, D)`.
            y: Normed tokens `(B, P+T, D)`; the `P` prefix tokens are neither read nor written.
            carried: What the previous group handed on; None for the first.
            grid: `(H, W)` with `H * W = T`.
            recompute: Keep only the ends of the narrow inside for the backward pass, and compute it again there.

        Returns:
            `x` with the mean added, nothing on prefix tokens [ours], and what goes to the next group.
        """
        maps = self._composed(None if carried is None else carried.group)
        prefix = y.shape[1] - grid[0] * grid[1]
        z = F.linear(
            y, self.down.weight, self.down.bias
        )  # (B, P+T, M); all tokens through one GEMM, without a copy of `y`
        if carried is not None and maps.own is not None:
            z = add_product(z, carried.rows, maps.own)
        inside = z[:, prefix:].unflatten(1, grid), maps
        again = recompute and torch.is_grad_enabled()
        g = (checkpoint(self._interior, *inside, use_reentrant=False) if again else self._interior(*inside)).flatten(
            1, 2
        )
        rows = F.pad(F.pad(g, (0, 1), value=1.0), (0, 0, prefix, 0))
        return add_product(x, rows, maps.up), Carried(rows, self, prefix)

    def _interior(self, z: Tensor, maps: Composed) -> Tensor:
        """All that happens at the width of the experts, `(B, H, W, M)` to the same shape."""
        h = F.gelu(z).permute(0, 3, 1, 2)  # tokens-major, which convolutions call channels last
        m = self._conv(h, maps.conv, self.conv.bias, 1)
        total, bias = m, maps.fields_bias
        for kernel, dilation in zip(maps.fields, self.dilations, strict=True):
            branch = self._conv(m, kernel, bias, dilation)
            total = (
                branch if bias is not None else total.add_(branch)
            )  # the first kernel passes `m` on too; one bias for all of them
            bias = None
        total, m = total.permute(0, 2, 3, 1), m.permute(0, 2, 3, 1)
        if maps.context is not None:
            query, key, value = F.linear(m, *maps.context).chunk(3, -1)
            total = total + local_attention(query, key, value, self.window)
        return F.gelu(total)

    def expert_views(self, index: int) -> dict[str, Tensor]:
        """Views of one expert's parameters by name: `down.weight (R, D)`, `conv.weight (R, R, 3, 3)`, and so on."""
        views: dict[str, Tensor] = {}
        for name, module in self.named_modules():
            if isinstance(module, ExpertMap):
                weight, bias = module.stacked()
                views |= {f"{name}.weight": weight[index], f"{name}.bias": bias[index]}
        return views

    def _composed(self, previous: ExpertGroup | None) -> Composed:
        """The composed maps: kept while predicting after `eval()`, made anew with gradients or under a compiler."""
        if torch.compiler.is_compiling():
            return compose(self, previous)
        if self.training or torch.is_grad_enabled():
            self._kept.close()
            return compose(self, previous)
        maps = self._maps if previous is None else [*self._maps, previous.up]
        sources = [tensor for each in maps for tensor in (each.weight, each.bias)]
        return self._kept.get(sources, lambda: compose(self, previous))

    def train(self, mode: bool = True) -> ExpertGroup:
        """Set training mode, or with `eval()` the mode in which composed maps are kept."""
        self._kept.close()
        if not mode:
            self._kept.open()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> ExpertGroup:
        """Move or cast the parameters; what was composed of the old ones is let go."""
        self._kept.forget()
        return super()._apply(fn, recurse)

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        """3x3 convolution of each expert's channels: `(B, M, H, W)` with weight `(M, R, 3, 3)`."""
        return F.conv2d(x, weight, bias, padding=dilation, dilation=dilation, groups=self.num_experts)


def add_product(total: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """`total (B, T, O) + rows (B, T, I) weight (I, O)` in one step, or in two under autocast, which chooses types."""
    if torch.is_autocast_enabled(total.device.type):
        return total + rows @ weight
    return torch.addmm(total.flatten(0, 1), rows.flatten(0, 1), weight).view_as(total)

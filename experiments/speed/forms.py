"""Ways to write the small convolutions of a group, all exact, to see which one a device runs fastest (N*R channels)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from auformer.models.composed import block_diagonal

Kernels = Sequence[Tensor]  # one (N, R, R, 3, 3) per dilation
Form = Callable[[Tensor, Kernels, Sequence[int]], Tensor]


def grouped(x: Tensor, kernels: Kernels, dilations: Sequence[int]) -> Tensor:
    """A grouped convolution per dilation on `(B, H, W, M)`, channels last, without a copy."""
    num, images = kernels[0].shape[0], x.permute(0, 3, 1, 2)
    outs = [
        F.conv2d(images, kernel.flatten(0, 1), padding=d, dilation=d, groups=num)
        for kernel, d in zip(kernels, dilations, strict=True)
    ]
    return sum(outs[1:], outs[0]).permute(0, 2, 3, 1)


def grouped_planes(x: Tensor, kernels: Kernels, dilations: Sequence[int]) -> Tensor:
    """The same with channels before positions: one copy in, one out."""
    return grouped(x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1), kernels, dilations).contiguous()


def dense(x: Tensor, kernels: Kernels, dilations: Sequence[int]) -> Tensor:
    """An ordinary convolution per dilation, with zeros between the experts: N times the operations."""
    images = x.permute(0, 3, 1, 2)
    outs = [
        F.conv2d(images, block_diagonal(kernel), padding=d, dilation=d)
        for kernel, d in zip(kernels, dilations, strict=True)
    ]
    return sum(outs[1:], outs[0]).permute(0, 2, 3, 1)


def shifted(x: Tensor, kernels: Kernels, dilations: Sequence[int]) -> Tensor:
    """One product per expert for all places and dilations: shifted inputs side by side, `(N, B*T, 9*R*dilations)`."""
    (num, width), (batch, height, across) = kernels[0].shape[:2], x.shape[:3]
    most = max(dilations)
    padded = F.pad(x, (0, 0, most, most, most, most)).unflatten(3, (num, width))
    views = [
        padded[:, most + d * i : most + d * i + height, most + d * j : most + d * j + across]
        for d in dilations
        for i, j in product((-1, 0, 1), repeat=2)
    ]
    columns = torch.stack(views, 4).permute(3, 0, 1, 2, 4, 5).reshape(num, batch * height * across, -1)
    weights = torch.cat([kernel.permute(0, 3, 4, 2, 1).flatten(1, 3) for kernel in kernels], 1)  # (N, 9*R*dilations, R)
    return torch.bmm(columns, weights).unflatten(1, (batch, height, across)).permute(1, 2, 3, 0, 4).flatten(3)


def summed(x: Tensor, kernels: Kernels, dilations: Sequence[int]) -> Tensor:
    """One block-diagonal product for all places of all dilations, its outputs shifted and added."""
    most, (height, across) = max(dilations), x.shape[1:3]
    padded = F.pad(x, (0, 0, most, most, most, most))
    places = [(d, i, j) for d in dilations for i, j in product((0, 1, 2), repeat=2)]
    weights = [block_diagonal(kernel[..., i, j]) for kernel in kernels for i, j in product((0, 1, 2), repeat=2)]
    outs = F.linear(padded, torch.cat(weights)).chunk(len(places), -1)
    total = torch.zeros_like(x)
    for (d, i, j), out in zip(places, outs, strict=True):
        row, column = most + d * (i - 1), most + d * (j - 1)
        total += out[:, row : row + height, column : column + across]
    return total


FORMS: dict[str, Form] = {
    "grouped, channels last": grouped,
    "grouped, planes": grouped_planes,
    "dense, channels last": dense,
    "shifted inputs, one product per expert": shifted,
    "one product, shifted outputs": summed,
}


def example(
    batch: int, side: int, num_experts: int, width: int, dilations: int, device: str, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, list[Tensor]]:
    """Random inputs `(B, H, W, M)` and kernels, one `(N, R, R, 3, 3)` per dilation."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(batch, side, side, num_experts * width, generator=draw).to(device, dtype)
    shape = (num_experts, width, width, 3, 3)
    return x, [torch.randn(shape, generator=draw).to(device, dtype) for _ in range(dilations)]

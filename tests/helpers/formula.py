"""Tensors by a formula, for check values that do not depend on a random generator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import torch
from torch import Tensor, nn

from auformer.models.temporal.blocks import Block
from auformer.models.temporal.convolution import CosineClassifier, TimeConvolution
from auformer.models.temporal.dynamics import FacialDynamics
from auformer.models.temporal.head import DynamicHead
from auformer.models.temporal.regions import RegionLearning
from auformer.models.temporal.relations import CrossRelations

Named = tuple[str, Tensor]  # what a tensor is (weight, bias, norm, mean, variance), and the tensor, written in place


def u(shape: Sequence[int], s: int) -> Tensor:
    """`((31 m^2 + 17 m + 101 s) mod 1009) / 504 - 1` with `m` the flat index: float64 in [-1, 1]."""
    m = torch.arange(prod(shape), dtype=torch.int64)
    return (((31 * m * m + 17 * m + 101 * s) % 1009).double() / 504 - 1).view(*shape)


@torch.no_grad()
def fill(tensors: Iterable[Named], first: int = 0) -> int:
    """Fill tensors in order, number `first` onwards; how many there were."""
    number = first
    for kind, tensor in tensors:
        values = u(tuple(tensor.shape), number)
        if kind == "weight" and tensor.ndim >= 2:
            values = values * (6 / (tensor.numel() / tensor.shape[0])) ** 0.5
        elif kind in ("norm", "variance"):
            values = 1 + 0.25 * values
        else:
            values = 0.1 * values
        tensor.copy_(values)
        number += 1
    return number - first


def norm(module: nn.Module) -> list[Named]:
    return [("norm", module.weight), ("bias", module.bias), ("mean", module.running_mean),
            ("variance", module.running_var)]  # fmt: skip


def linear(module: nn.Module) -> list[Named]:
    return [("weight", module.weight), ("bias", module.bias)]


def block(module: Block) -> list[Named]:
    return [*linear(module.fc), *norm(module.bn)]


def dynamics(module: FacialDynamics) -> list[Named]:
    parts = [each for conv in module.convs for each in linear(conv)] + linear(module.out_conv)
    parts += [each for one in module.norms for each in norm(one)] + norm(module.out_norm)
    parts += [each for conv in module.narrow for each in linear(conv)] + linear(module.weigh)
    return parts + [each for one in module.narrow_norms for each in norm(one)]


def local(module: RegionLearning) -> list[Named]:
    blocks = [*module.au_blocks, *module.region_blocks]
    return [each for one in blocks for each in block(one)] + [each for head in module.heads for each in linear(head)]


def cross(module: CrossRelations) -> list[Named]:
    return [("weight", module.sender), ("weight", module.receiver), ("bias", module.bias),
            ("weight", module.map.weight)]  # fmt: skip


def time(module: TimeConvolution, num_aus: int) -> list[Named]:
    found = norm(module.norm)
    for weight, bias in zip(module.conv.weight.chunk(num_aus), module.conv.bias.chunk(num_aus), strict=True):
        found += [("weight", weight), ("bias", bias)]
    return found


def classifier(module: CosineClassifier) -> list[Named]:
    return [("weight", module.prototypes)]


def head(module: DynamicHead, num_aus: int) -> list[Named]:
    """Everything of MDHR above the backbone, in the order of the design's section 3."""
    return [
        *block(module.static), *dynamics(module.dynamics), *local(module.local), *cross(module.cross),
        *time(module.time, num_aus), *classifier(module.classifier),
    ]  # fmt: skip

"""The maps of an expert group as its forward pass applies them, kept as long as its parameters do not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def block_diagonal(weight: Tensor) -> Tensor:
    """Maps of the experts `(N, O, I, ...)` as one dense map `(N*O, N*I, ...)`, zero off the diagonal blocks."""
    num, outputs, inputs = weight.shape[:3]
    rest = weight.shape[3:]
    eye = torch.eye(num, dtype=weight.dtype, device=weight.device).view(num, 1, num, 1, *[1] * len(rest))
    return (weight.unsqueeze(2) * eye).reshape(num * outputs, num * inputs, *rest)


class Composed(NamedTuple):
    """Maps over the `M = N*R` channels of all experts at once. What a group does not have is None, or empty.

    Args:
        own: Down-projection of each expert's own previous output `(M+1, M)`, inputs first, the last of them for the
            bias; None in the first group.
        conv: 3x3 kernels `(M, R, 3, 3)` of the first convolution.
        fields: Those of the dilated convolutions with the 1x1 `fuse` folded in, one per dilation; the first passes its
            input on as well.
        fields_bias: Their common bias `(M,)`.
        context: Query, key and value in one map, `(3M, M)` and `(3M,)`.
        up: Mean of the up-projections `(M+1, D)`, inputs first, the last of them for the bias.
    """

    own: Tensor | None
    conv: Tensor
    fields: tuple[Tensor, ...]
    fields_bias: Tensor | None
    context: tuple[Tensor, Tensor] | None
    up: Tensor


def compose(group: Any, previous: Any) -> Composed:
    """The composed maps of an `ExpertGroup`, with the group before it, None for the first."""
    own = None
    if previous is not None:
        down, (up, up_bias) = group.down.stacked()[0], previous.up.stacked()
        bias = torch.bmm(down, up_bias.unsqueeze(-1)).view(1, -1)
        own = torch.cat([block_diagonal(torch.bmm(down, up).transpose(1, 2)), bias])
    fields, fields_bias = _fields(group) if group.dilations else ((), None)
    context = None
    if group.window:
        maps = group.query, group.key, group.value
        weights = torch.cat([block_diagonal(each.stacked()[0]) for each in maps])
        context = weights, torch.cat([each.bias for each in maps])
    up, up_bias = group.up.stacked()  # (N, D, R), (N, D)
    mean = torch.cat([up.transpose(1, 2).flatten(0, 1), up_bias.sum(0, keepdim=True)]) / group.num_experts
    conv = group.conv.weight.contiguous(memory_format=torch.channels_last)
    return Composed(own, conv, fields, fields_bias, context, mean)


def _fields(group: Any) -> tuple[tuple[Tensor, ...], Tensor]:
    """Kernels and bias of the multi-receptive-field branch with `fuse` folded in."""
    fuse, bias = group.fuse.stacked()  # (N, R, len(dilations)*R), (N, R)
    kernels: list[Tensor] = []
    for part, branch in zip(fuse.chunk(len(group.dilations), 2), group.dilated, strict=True):
        weight, branch_bias = branch.stacked()  # (N, R, R, 3, 3), (N, R)
        kernel = torch.bmm(part, weight.flatten(2)).view_as(weight)
        if not kernels:  # it passes its input on
            ones = torch.eye(kernel.shape[1], dtype=kernel.dtype, device=kernel.device)
            kernel = kernel + F.pad(ones[..., None, None], (1, 1, 1, 1))
        kernels.append(kernel.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        bias = bias + torch.bmm(part, branch_bias.unsqueeze(-1)).squeeze(-1)
    return tuple(kernels), bias.flatten()


class Kept:
    """One result and what it was made of: made again when a source is another tensor, or was written to, moved or cast.

    What counts as written to is what torch counts: every in-place operation, also under `no_grad`, but not the steps of
    its fused optimisers (2.15), nor writing through `.data`. No optimiser steps without gradients: so nothing is kept
    while a source has one, nor from a forward pass that records them until `open` is called again. The sources of the
    result are held, so that no other tensor can take their place in memory. Copies and pickles of it hold nothing.
    """

    def __init__(self) -> None:
        self._open = False
        self.forget()

    def open(self) -> None:
        """Keep results from now on."""
        self._open = True

    def close(self) -> None:
        """Keep nothing until `open`."""
        self._open = False
        self.forget()

    def forget(self) -> None:
        """Let the result and its sources go."""
        self._sources: list[Tensor] = []
        self._marks: list[tuple[Any, ...]] = []
        self.result: Any = None

    def get(self, sources: Sequence[Tensor], make: Callable[[], Any]) -> Any:
        """The kept result, or a new one.

        Args:
            sources: Everything that `make` reads.
            make: Makes the result; what is kept is made without autocast, and serves outside of `inference_mode` too.
        """
        if not self._open or any(source.is_inference() or source.grad is not None for source in sources):
            return make()  # (tensors made in inference mode do not count what is written to them)
        marks = [(source.data_ptr(), source._version, source.dtype, source.device, source.shape) for source in sources]
        if marks != self._marks:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(sources[0].device.type, enabled=False):
                self.result = make()
            self._sources, self._marks = [source.detach() for source in sources], marks
        return self.result

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": self._open, "_sources": [], "_marks": [], "result": None}

"""Context operator: softmax attention per channel over the k x k neighbours inside the grid (method.md 3, CA [F])."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def _windows(x: Tensor, window: int) -> Tensor:
    """The neighbours of every position, a view `(k, k, B, H, W, M)` into one copy of `x (B, H, W, M)` that is zero outside the grid."""
    half, (height, width) = window // 2, x.shape[1:3]
    padded = F.pad(x, (0, 0, half, half, half, half))
    return padded.unfold(1, height, 1).unfold(2, width, 1).permute(1, 2, 0, 4, 5, 3)


def _fold(x: Tensor) -> Tensor:
    """Adjoint of `_windows`: sums `(k, k, B, H, W, M)` back onto the positions `(B, H, W, M)` that they were read from."""
    window, _, batch, height, width, channels = x.shape
    half = window // 2
    padded = x.new_zeros(batch, height + 2 * half, width + 2 * half, channels)
    for i in range(window):
        for j in range(window):
            padded[:, i : i + height, j : j + width] += x[i, j]
    return padded[:, half : half + height, half : half + width]


def _weights(query: Tensor, keys: Tensor) -> Tensor:
    """Attention weights `(k, k, B, H, W, M)`; neighbours outside the grid get none [ours: masked, not padded with zero keys]."""
    window = keys.shape[0]
    inside = _windows(query.new_ones(1, *query.shape[1:3], 1), window)
    return (query * keys + inside.log()).flatten(0, 1).softmax(0).unflatten(0, (window, window))  # log 0 = -inf


def _attend(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    weights = _weights(query, _windows(key, window))
    return (weights * _windows(value, window)).sum((0, 1))


class _LocalAttention(torch.autograd.Function):
    """Keeps query, key and value only: the weights, k*k times as large, are formed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.window = window
        return _attend(query, key, value, window)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = ctx.saved_tensors
        keys, values = _windows(key, ctx.window), _windows(value, ctx.window)
        weights = _weights(query, keys)
        out = (weights * values).sum((0, 1))
        share = weights * grad  # d loss / d value, per neighbour
        score = (values - out).mul_(share)  # d loss / d (query * key), per neighbour
        return (score * keys).sum((0, 1)), _fold(score.mul_(query)), _fold(share), None


def local_attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """`sum_u softmax_u(q_p * k_u) * v_u` per channel, u over the `window` x `window` neighbours of p inside the grid.

    Args:
        query: `(B, H, W, M)`.
        key: `(B, H, W, M)`.
        value: `(B, H, W, M)`.
        window: Odd side of the neighbourhood.

    Returns:
        `(B, H, W, M)`.
    """
    with torch.autocast(query.device.type, enabled=False):  # under autocast the maps before it have chosen the type; keep it
        if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
            return _LocalAttention.apply(query, key, value, window)
        return _attend(query, key, value, window)

"""Context operator: softmax attention per channel over the k x k neighbours inside the grid (method.md 3, CA [F])."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def _windows(x: Tensor, window: int) -> list[Tensor]:
    """The k*k neighbours of every position as views `(B, H, W, M)` of one padded copy, zero outside the grid."""
    half, (height, width) = window // 2, x.shape[1:3]
    padded = F.pad(x, (0, 0, half, half, half, half))
    return [padded[:, i : i + height, j : j + width] for i in range(window) for j in range(window)]


def _weights(query: Tensor, neighbours: list[Tensor], window: int) -> Tensor:
    """Attention weights `(k*k, B, H, W, M)`; neighbours outside the grid get none [ours: masked, not zero-padded]."""
    inside = _windows(query.new_ones(1, *query.shape[1:3], 1), window)
    scores = torch.stack([query * key for key in neighbours])
    outside = torch.stack(inside) == 0
    return scores.masked_fill_(outside, float("-inf")).softmax(0)


class _LocalAttention(torch.autograd.Function):
    """Keeps only query, key and value; the weights are formed again in the backward pass."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(query, key, value)
        ctx.window = window
        return _attend(query, key, value, window)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        query, key, value = ctx.saved_tensors
        keys, values = _windows(key, ctx.window), _windows(value, ctx.window)
        weights = _weights(query, keys, ctx.window)
        out = sum(weight * each for weight, each in zip(weights, values, strict=True))
        grad_query, grad_key, grad_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
        half = ctx.window // 2
        pad = (0, 0, half, half, half, half)
        padded_key, padded_value = F.pad(grad_key, pad), F.pad(grad_value, pad)
        height, width = query.shape[1:3]
        for index, (weight, each_key, each_value) in enumerate(zip(weights, keys, values, strict=True)):
            i, j = divmod(index, ctx.window)
            share = weight * grad
            score = (each_value - out) * share
            grad_query += score * each_key
            padded_key[:, i : i + height, j : j + width] += score * query
            padded_value[:, i : i + height, j : j + width] += share
        inner = (slice(None), slice(half, half + height), slice(half, half + width))
        return grad_query, padded_key[inner], padded_value[inner], None


def _attend(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    weights = _weights(query, _windows(key, window), window)
    return sum((weight * each for weight, each in zip(weights, _windows(value, window), strict=True)), torch.zeros_like(query))


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
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        return _LocalAttention.apply(query, key, value, window)
    return _attend(query, key, value, window)

"""Context operator: softmax attention per channel over the k x k neighbours inside the grid (method.md 3, CA [F])."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def _pad(x: Tensor, window: int) -> Tensor:
    """Zeros around the grid of `x (B, H, W, M)`, as many as a neighbour can lie outside."""
    half = window // 2
    return F.pad(x, (0, 0, half, half, half, half))


def _neighbour(padded: Tensor, i: int, j: int, grid: tuple[int, int]) -> Tensor:
    """Of every position the neighbour at `(i, j)` of its window: a view `(B, H, W, M)` of what `_pad` gave."""
    return padded[:, i : i + grid[0], j : j + grid[1]]


def _windows(padded: Tensor, window: int, grid: tuple[int, int]) -> Tensor:
    """Of every position its neighbours: a view `(k, k, B, H, W, M)` into what `_pad` gave."""
    batch, rows, columns, channels = padded.stride()
    shape = (window, window, padded.shape[0], *grid, padded.shape[3])
    return padded.as_strided(shape, (rows, columns, batch, rows, columns, channels), padded.storage_offset())


def _one_by_one(windows: Tensor) -> list[Tensor]:
    """The `k * k` parts of `(k, k, ...)`."""
    return [each for row in windows.unbind(0) for each in row.unbind(0)]


@lru_cache(maxsize=4)
def _outside(window: int, grid: tuple[int, int], channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, and minus infinity outside the grid: `(k, k, 1, H, W, M)`, written out, since broadcasting is slower."""
    with torch.inference_mode(False):
        table = F.pad(
            torch.zeros(1, *grid, channels, dtype=dtype, device=device), (0, 0, *[window // 2] * 4), value=-torch.inf
        )
        return _windows(table, window, grid).contiguous()


def _weights(query: Tensor, keys: Tensor, window: int) -> Tensor:
    """Attention weights `(k, k, B, H, W, M)` from padded keys; none for neighbours outside the grid [ours: masked]."""
    grid = query.shape[1], query.shape[2]
    outside = _outside(window, grid, query.shape[3], query.dtype, query.device)
    # its own memory: torch would order the result like the view of the keys
    scores = query.new_empty(window, window, *query.shape)
    torch.addcmul(outside, _windows(keys, window, grid), query, out=scores)
    return scores.flatten(0, 1).softmax(0).unflatten(0, (window, window))


def _average(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted sum `(B, H, W, M)` of padded values, one neighbour after the other, so that nothing wide is formed."""
    window, _, *shape = weights.shape
    out = values.new_zeros(shape)
    neighbours = _windows(values, window, (shape[1], shape[2]))
    for weight, value in zip(_one_by_one(weights), _one_by_one(neighbours), strict=True):
        out.addcmul_(weight, value)
    return out


class _LocalAttention(torch.autograd.Function):
    """Keeps query, key and value only: the weights, k*k times as large, are formed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.window = window
        return _average(_weights(query, _pad(key, window), window), _pad(value, window))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of query, key and value, neighbour by neighbour."""
        query, key, value = ctx.saved_tensors
        window, grid, half = ctx.window, (query.shape[1], query.shape[2]), ctx.window // 2
        keys, values = _pad(key, window), _pad(value, window)
        weights = _weights(query, keys, window)
        out = _average(weights, values)
        to_query, to_keys, to_values = torch.zeros_like(query), torch.zeros_like(keys), torch.zeros_like(values)
        shares = weights.mul_(grad)  # d loss / d each neighbour's value
        neighbours = (_windows(padded, window, grid) for padded in (keys, values, to_keys, to_values))
        for share, a_key, a_value, to_key, to_value in zip(
            _one_by_one(shares), *map(_one_by_one, neighbours), strict=True
        ):
            score = (a_value - out).mul_(share)  # d loss / d (query * this neighbour's key)
            to_query.addcmul_(score, a_key)
            to_key.addcmul_(score, query)
            to_value.add_(share)
        inside = slice(half, half + grid[0]), slice(half, half + grid[1])
        return to_query, to_keys[:, inside[0], inside[1]], to_values[:, inside[0], inside[1]], None


def _written_out(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """The same without in-place steps, for compilers, which fuse it (under onnxruntime 4 times as fast)."""
    grid = query.shape[1], query.shape[2]
    keys, values, inside = _pad(key, window), _pad(value, window), _pad(query.new_ones(1, *grid, 1), window)
    places = list(product(range(window), repeat=2))
    scores = torch.stack(
        [query * _neighbour(keys, i, j, grid) + _neighbour(inside, i, j, grid).log() for i, j in places]
    )
    weights = (scores - scores.amax(0)).exp()
    return sum(weights[n] * _neighbour(values, i, j, grid) for n, (i, j) in enumerate(places)) / weights.sum(0)


def local_attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """`sum_u softmax_u(q_p * k_u) * v_u` per channel, u over the neighbours of p inside the grid; all `(B, H, W, M)`.

    `window` is the odd side of the neighbourhood.
    """
    with torch.autocast(query.device.type, enabled=False):  # the maps before it have chosen the type; keep it
        if torch.compiler.is_compiling():
            return _written_out(query, key, value, window)
        if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
            return _LocalAttention.apply(query, key, value, window)
        return _average(_weights(query, _pad(key, window), window), _pad(value, window))

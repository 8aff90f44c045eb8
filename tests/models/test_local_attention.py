"""Window attention: against loops over positions and neighbours, at the borders, and its hand-written backward pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from auformer.models.local_attention import local_attention


def _by_hand(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Method.md 3, CA, one number at a time."""
    batch, height, width, channels = query.shape
    out, half = torch.zeros_like(query), window // 2
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    near = [
                        (v, u)
                        for v in range(max(0, y - half), min(height, y + half + 1))
                        for u in range(max(0, x - half), min(width, x + half + 1))
                    ]
                    weights = [math.exp(query[b, y, x, c] * key[b, v, u, c]) for v, u in near]
                    out[b, y, x, c] = sum(w * value[b, v, u, c] for w, (v, u) in zip(weights, near, strict=True)) / sum(
                        weights
                    )
    return out


def _random(*shape: int, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(*shape, dtype=torch.double, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("window", [1, 3, 5, 7])
@pytest.mark.parametrize("grid", [(3, 4), (1, 5), (1, 1)])
def test_equals_loops_over_neighbours_inside_the_grid(window: int, grid: tuple[int, int]) -> None:
    query, key, value = _random(2, *grid, 2)
    assert torch.allclose(
        local_attention(query, key, value, window), _by_hand(query, key, value, window), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("window", [3, 5])
def test_equals_loops_as_compilers_see_it(window: int) -> None:
    query, key, value = (each.requires_grad_() for each in _random(1, 3, 4, 2))
    compiled = torch.compile(local_attention, fullgraph=True, backend="eager")
    out = compiled(query, key, value, window)
    with torch.no_grad():
        assert torch.allclose(out, _by_hand(query, key, value, window), atol=1e-12, rtol=0)
    gradients = torch.autograd.grad(out.sin().sum(), (query, key, value))
    wanted = torch.autograd.grad(local_attention(query, key, value, window).sin().sum(), (query, key, value))
    assert all(torch.allclose(a, b, atol=1e-12, rtol=0) for a, b in zip(gradients, wanted, strict=True))


def test_neighbours_outside_the_grid_get_no_weight() -> None:
    """With equal keys the weights are equal: a corner averages its 4 neighbours, not 9 of which 5 are zero."""
    ones = torch.ones(1, 3, 3, 1, dtype=torch.double)
    out = local_attention(ones, ones, ones, 3)
    assert torch.allclose(out, ones, atol=1e-14)
    value = torch.arange(9, dtype=torch.double).view(1, 3, 3, 1)
    assert local_attention(ones, ones, value, 3)[0, 0, 0, 0] == pytest.approx((0 + 1 + 3 + 4) / 4)
    far = local_attention(-1000 * ones, ones, value, 3)  # every real score is far below the 0 of an outside neighbour
    assert far[0, 0, 0, 0] == pytest.approx((0 + 1 + 3 + 4) / 4)


def test_extreme_scores_stay_finite() -> None:
    query, key, value = (1e4 * each for each in _random(1, 3, 3, 2))
    query.requires_grad_()
    out = local_attention(query, key, value, 3)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(query.grad).all()


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("grid", [(3, 4), (2, 1)])
def test_gradients_are_right(window: int, grid: tuple[int, int]) -> None:
    inputs = [each.requires_grad_() for each in _random(2, *grid, 2)]
    assert torch.autograd.gradcheck(lambda q, k, v: local_attention(q, k, v, window), inputs)


def test_gradients_reach_only_what_asks_for_them() -> None:
    query, key, value = _random(1, 3, 3, 2)
    value.requires_grad_()
    local_attention(query, key, value, 3).sum().backward()
    assert value.grad is not None and query.grad is None and key.grad is None


def test_only_query_key_and_value_are_kept_for_the_backward_pass() -> None:
    kept: list[tuple[int, ...]] = []
    query, key, value = (each.requires_grad_() for each in _random(1, 4, 4, 2))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):  # type: ignore[func-returns-value]
        local_attention(query, key, value, 3)
    assert kept == [(1, 4, 4, 2)] * 3


def test_bfloat16_stays_and_is_close() -> None:
    exact = _random(2, 4, 4, 3)
    query, key, value = (each.bfloat16().requires_grad_() for each in exact)
    with torch.autocast("cpu", torch.bfloat16):
        out = local_attention(query, key, value, 3)
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.double(), local_attention(*exact, 3), atol=0.05)
    out.sum().backward()
    assert query.grad.dtype == torch.bfloat16


def test_without_gradients_the_plain_operations_run() -> None:
    """Without gradients the plain function runs, so that exporters see ordinary operations."""
    query, key, value = (each.requires_grad_() for each in _random(1, 3, 3, 2))
    with torch.no_grad():
        assert local_attention(query, key, value, 3).grad_fn is None
    assert "LocalAttention" in type(local_attention(query, key, value, 3).grad_fn).__name__

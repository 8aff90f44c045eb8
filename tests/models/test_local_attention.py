"""Window attention: against loops over positions and neighbours, at the borders, and its hand-written backward pass."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from auformer.models.local_attention import local_attention


def _by_hand(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Method.md 3, CA, one position at a time."""
    out, half = torch.empty_like(query), window // 2
    for y, x in product(range(query.shape[1]), range(query.shape[2])):
        near = slice(max(0, y - half), y + half + 1), slice(max(0, x - half), x + half + 1)  # ends at the border too
        keys, values = (each[:, near[0], near[1]].flatten(1, 2) for each in (key, value))  # (B, K, C)
        weights = (query[:, y, x, None] * keys).exp()
        out[:, y, x] = (weights * values).sum(1) / weights.sum(1)
    return out


def _random(*shape: int, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(*shape, dtype=torch.double, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("window", [1, 3, 5, 7])
@pytest.mark.parametrize("grid", [(3, 4), (1, 5), (1, 1)])
def test_equals_loops_over_neighbours_inside_the_grid(window: int, grid: tuple[int, int]) -> None:
    query, key, value = _random(2, *grid, 2)
    wanted = _by_hand(query, key, value, window)
    assert torch.allclose(local_attention(query, key, value, window), wanted, atol=1e-12, rtol=0)


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
    ones, value = torch.ones(1, 3, 3, 1), torch.arange(9.0).view(1, 3, 3, 1)
    for query in (ones, -1000 * ones):  # every real score is far below the 0 of an outside neighbour
        assert local_attention(query, ones, value, 3)[0, 0, 0, 0] == pytest.approx((0 + 1 + 3 + 4) / 4)


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
    """So that exporters see ordinary operations."""
    query, key, value = (each.requires_grad_() for each in _random(1, 3, 3, 2))
    with torch.no_grad():
        assert local_attention(query, key, value, 3).grad_fn is None
    assert "LocalAttention" in type(local_attention(query, key, value, 3).grad_fn).__name__

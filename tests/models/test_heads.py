"""Heads: standardisation by fixed statistics, and the expert heads against averaging full-width outputs."""

from __future__ import annotations

import pytest
import torch

from auformer.models.heads import STD_FLOOR, ExpertHeads, Standardise


def test_standardise_is_the_identity_until_it_is_set() -> None:
    x, standardise = torch.randn(4, 3), Standardise(3)
    assert torch.equal(standardise(x), x) and not standardise.measured


def test_standardise_by_hand() -> None:
    standardise = Standardise(2)
    standardise.set_statistics(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]))
    got = standardise(torch.tensor([[2.0, 2.0], [1.0, 2.0 + STD_FLOOR]]))
    assert torch.allclose(got, torch.tensor([[1 / (0.5 + STD_FLOOR), 0.0], [0.0, 1.0]]), atol=1e-2)
    assert standardise.measured and not list(standardise.parameters())
    assert set(standardise.state_dict()) == {"mean", "std", "measured"}


@pytest.mark.parametrize(
    ("mean", "std", "match"),
    [
        (torch.zeros(3), torch.ones(2), "mean"),
        (torch.zeros(2), torch.ones(1), "std"),
        (torch.tensor([0.0, float("nan")]), torch.ones(2), "mean"),
        (torch.zeros(2), torch.tensor([1.0, -1.0]), "0 or more"),
        (torch.zeros(2), torch.tensor([1.0, float("inf")]), "std"),
    ],
)
def test_bad_statistics_change_nothing(mean: torch.Tensor, std: torch.Tensor, match: str) -> None:
    standardise = Standardise(2)
    with pytest.raises(ValueError, match=match):
        standardise.set_statistics(mean, std)
    assert (
        not standardise.measured
        and torch.equal(standardise.mean, torch.zeros(2))
        and torch.equal(standardise.std, torch.ones(2))
    )


def test_expert_heads_equal_a_linear_map_on_averaged_full_width_outputs() -> None:
    torch.manual_seed(0)
    batch, tokens, num, dim, width = 2, 6, 3, 5, 4
    heads = ExpertHeads(num, dim).double()
    with torch.no_grad():
        heads.bias.normal_()
    g = torch.randn(batch, tokens, num * width, dtype=torch.double)
    up, bias = torch.randn(num, dim, width, dtype=torch.double), torch.randn(num, dim, dtype=torch.double)
    full = torch.einsum("btnr,ndr->btnd", g.view(batch, tokens, num, width), up) + bias
    wanted = torch.stack([full[:, :, i].mean(1) @ heads.weight[i] + heads.bias[i] for i in range(num)], 1)
    assert torch.allclose(heads(g, up, bias), wanted, atol=1e-12, rtol=0)

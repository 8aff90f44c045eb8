"""Heads: standardisation by fixed statistics."""

from __future__ import annotations

import pytest
import torch

from auformer.models.heads import STD_FLOOR, Standardise


def test_standardise_is_the_identity_until_it_is_set() -> None:
    x, standardise = torch.tensor([[2.0, 2.0], [1.0, 2.0 + STD_FLOOR]]), Standardise(2)
    assert torch.equal(standardise(x), x) and not standardise.measured
    standardise.set_statistics(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]))
    wanted = torch.tensor([[1 / (0.5 + STD_FLOOR), 0.0], [0.0, 1.0]])
    assert torch.allclose(standardise(x), wanted, atol=1e-2) and standardise.measured
    assert not list(standardise.parameters()) and set(standardise.state_dict()) == {"mean", "std", "measured"}


@pytest.mark.parametrize(
    ("mean", "std", "match"),
    [
        ([0.0] * 3, [1.0] * 2, "mean"), ([0.0] * 2, [1.0], "std"), ([0.0, float("nan")], [1.0] * 2, "mean"),
        ([0.0] * 2, [1.0, -1.0], "0 or more"), ([0.0] * 2, [1.0, float("inf")], "std"),
    ],
)  # fmt: skip
def test_bad_statistics_change_nothing(mean: list[float], std: list[float], match: str) -> None:
    standardise = Standardise(2)
    with pytest.raises(ValueError, match=match):
        standardise.set_statistics(torch.tensor(mean), torch.tensor(std))
    assert not standardise.measured
    assert (standardise.mean.tolist(), standardise.std.tolist()) == ([0.0, 0.0], [1.0, 1.0])

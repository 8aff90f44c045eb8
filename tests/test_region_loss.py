"""Losses of MDHR against published values: WA on bounded logits, combinations of regions."""

from __future__ import annotations

import pytest
import torch

from auformer.aus import AU_SETS
from auformer.losses import region_loss, region_targets, wa_loss
from auformer.models.temporal.blocks import logits_of
from auformer.models.temporal.regions import regions_of
from tests.helpers.formula import u

REGIONS = [region.aus for region in regions_of(AU_SETS["bp4d"])]
WEIGHT = torch.tensor(
    [1.342985, 1.689665, 1.248091, 0.561356, 0.433044, 0.435894, 0.457287, 0.541004, 1.408054, 0.722762, 1.493145,
     1.666711], dtype=torch.float64,
)  # fmt: skip


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    p, y = (u((5, 12), 904) + 1) / 2, (u((5, 12), 905) > 0.3).long()
    p[0, :4] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    y[0, :4] = torch.tensor([1, 0, 1, 0])
    assert int(y.sum()) == 23
    return p.requires_grad_(), y


def test_wa_on_probabilities():
    """The released loss clamps its logarithms; handed on as logits it gives the same to 5e-9."""
    p, y = batch()
    assert float(wa_loss(logits_of(p), y, torch.ones(12).double()).detach()) == pytest.approx(0.982700389015, rel=1e-8)
    loss = wa_loss(logits_of(p), y, WEIGHT)
    assert float(loss.detach()) == pytest.approx(1.27147101104, rel=1e-6)  # the weights are known to six digits
    loss.backward()
    assert p.grad[1, :3].tolist() == pytest.approx([0.002939192761, 0.258569947, -0.02780892414], rel=1e-5)
    # at exactly 0 and 1 the released loss has the gradients 0, 0, -0.0208, 0; by logits a miss has one, a hit none
    assert float(p.grad[0, 0]) < -0.01 and float(p.grad[0, 1]) > 0.01 and p.grad[0, 2:4].abs().max() < 1e-8


def test_classes_and_loss_of_the_regions():
    _, y = batch()
    assert [one.tolist() for one in region_targets(y, REGIONS)] == [
        [10, 3, 10, 0, 0],
        [0, 1, 0, 1, 0],
        [5, 4, 4, 1, 1],
        [2, 10, 11, 8, 10],
    ]
    logits = [2 * u((5, 2 ** len(region)), 910 + head) for head, region in enumerate(REGIONS)]
    for one, region, want in zip(logits, REGIONS, (3.261804492, 0.7400630224, 2.169481568, 2.312383496), strict=True):
        assert float(region_loss(one, y, [region])) == pytest.approx(want, rel=1e-8)
    assert float(region_loss(torch.cat(logits, 1), y, REGIONS)) == pytest.approx(2.120933145, rel=1e-8)


def test_a_region_with_an_unknown_label_does_not_count():
    _, y = batch()
    logits = torch.cat([2 * u((5, 2 ** len(region)), 910 + head) for head, region in enumerate(REGIONS)], 1)
    logits.requires_grad_()
    y[2, 0] = -1  # AU1, of the first region
    y[3] = -1
    assert region_targets(y, REGIONS)[0].tolist() == [10, 3, -100, -100, 0]
    region_loss(logits, y, REGIONS).backward()
    assert (logits.grad[3] == 0).all() and (logits.grad[2, :16] == 0).all() and (logits.grad[2, 16:] != 0).any()
    nothing = region_loss(logits, torch.full_like(y, -1), REGIONS)
    assert float(nothing.detach()) == 0

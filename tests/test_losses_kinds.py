"""The losses that MDWA is compared with: numbers worked by hand, gradients, relations between them, and the total that each is part of."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from auformer.losses import KINDS, AULoss, MDWALoss, asl_loss, bce_loss, dice_loss, focal_loss, mdwa_loss, wa_loss
from tests.helpers.losses import gradient, random_batch

LOG3 = math.log(3.0)  # the logit of p = 3/4
WEIGHT = torch.tensor([0.5], dtype=torch.float64)


def _one(label: int, value: float = LOG3) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[value]], dtype=torch.float64, requires_grad=True), torch.tensor([[label]])


# p = 3/4, so 1 - p = 1/4; with the margin of 0.05, p_m = 0.7
@pytest.mark.parametrize(
    ("loss", "label", "value"),
    [
        (bce_loss, 1, math.log(4 / 3)),
        (bce_loss, 0, math.log(4)),
        (focal_loss, 1, 0.25 * (1 / 4) ** 2 * math.log(4 / 3)),
        (focal_loss, 0, 0.75 * (3 / 4) ** 2 * math.log(4)),
        (asl_loss, 1, math.log(4 / 3)),
        (asl_loss, 0, 0.7**4 * -math.log(0.3)),
        (lambda z, y: wa_loss(z, y, WEIGHT), 1, 0.5 * math.log(4 / 3)),
        (lambda z, y: wa_loss(z, y, WEIGHT), 0, 0.5 * (3 / 4) * math.log(4)),
        (lambda z, y: bce_loss(z, y, WEIGHT), 0, 0.5 * math.log(4)),
    ],
)
def test_numbers_by_hand(loss, label, value):
    assert loss(*_one(label)).item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        # d/dz p^2 * -log(1 - p) = 2 p * p (1 - p) * log 4 + p^2 * p
        (focal_loss, 0.75 * (2 * 0.75 * (3 / 16) * math.log(4) + 0.75**3)),
        # p (1 - p) [4 p_m^3 * -log(1 - p_m) + p_m^4 / (1 - p_m)]
        (asl_loss, (3 / 16) * (4 * 0.7**3 * -math.log(0.3) + 0.7**4 / 0.3)),
        (lambda z, y: wa_loss(z, y, WEIGHT), 0.5 * 0.75 * 0.75),  # nothing flows through the first p
    ],
)
def test_slopes_of_a_negative_by_hand(loss, slope):
    logits, target = _one(0)
    assert gradient(loss(logits, target), logits).item() == pytest.approx(slope, rel=1e-12)


def test_mdwa_lets_the_gradient_through_and_wa_does_not():
    logits, target = _one(0)
    weight = torch.ones(1, dtype=torch.float64)
    mdwa = mdwa_loss(logits, target, weight, margin=0.0, gamma_low=1.0, gamma_high=1.0)
    assert mdwa.item() == pytest.approx(wa_loss(logits, target, weight).item(), rel=1e-12)
    assert gradient(mdwa, logits).item() == pytest.approx((3 / 16) * math.log(4) + 0.75**2, rel=1e-12)


def test_focal_without_focus_is_half_of_cross_entropy_at_its_smallest_exponent():
    """With gamma = 1 and alpha = 1/2: half of (1 - p_t) times cross-entropy, entry by entry."""
    logits, target, _ = random_batch(3)
    known = target >= 0
    entries = functional.binary_cross_entropy_with_logits(logits, target.clamp_min(0).double(), reduction="none")
    missed = (target.clamp_min(0) - logits.sigmoid()).abs()
    torch.testing.assert_close(focal_loss(logits, target, gamma=1.0, alpha=0.5), (0.5 * missed * entries)[known].mean())


@pytest.mark.parametrize(
    ("options", "match"), [({"gamma": 0.5}, "gamma"), ({"alpha": 1.5}, "alpha"), ({"gamma": math.nan}, "gamma")]
)
def test_options_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        focal_loss(torch.zeros(1, 1), torch.zeros(1, 1), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_finite_for_extreme_logits(kind, dtype):
    column = torch.tensor([0.0, 1e-4, 15.0, 88.0, 104.0, 700.0, 1e4], dtype=dtype)
    logits = torch.cat([column, -column]).repeat(2, 1).T.contiguous().requires_grad_()
    for label in (0, 1):
        value = AULoss([0.5, 1.5], kind=kind)(logits, torch.full(logits.shape, label), logits)["loss"]
        assert value.isfinite()
        assert gradient(value, logits).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_total_of_each_kind(kind):
    logits, target, weight = random_batch(4)
    experts = logits.detach() * -0.3
    own = {
        "mdwa": lambda z: mdwa_loss(z, target, weight, margin=0.1, gamma_low=1.0, gamma_high=3.0),
        "wa": lambda z: wa_loss(z, target, weight), "asl": lambda z: asl_loss(z, target), "focal": lambda z: focal_loss(z, target),
        "bce": lambda z: bce_loss(z, target), "weighted_bce": lambda z: bce_loss(z, target, weight),
    }[kind]  # fmt: skip
    loss = AULoss(weight, kind=kind, margin=0.1, gamma_high=3.0, dice_weight=0.3, expert_weight=0.7)
    terms = loss(logits, target, experts)
    assert list(terms) == ["loss", kind, "dice", "experts"]
    assert torch.equal(terms[kind], own(logits)) and torch.equal(terms["experts"], own(experts))
    torch.testing.assert_close(
        terms["loss"], own(logits) + 0.3 * dice_loss(logits, target, weight) + 0.7 * own(experts)
    )
    assert loss(logits, target)["experts"] == 0


def test_every_kind_is_another_function():
    logits, target, weight = random_batch(6)
    values = {kind: AULoss(weight, kind=kind)(logits, target)[kind].item() for kind in KINDS}
    assert len({round(value, 6) for value in values.values()}) == len(KINDS)


def test_fixed_exponents_are_difficulty_made_equal():
    """Exponent 1 for all, 2 for all, and between them by rarity: `gamma_low` and `gamma_high`."""
    logits, target, weight = random_batch(8)
    one, two, aware = (
        MDWALoss(weight, gamma_low=low, gamma_high=high)(logits, target)["mdwa"]
        for low, high in ((1, 1), (2, 2), (1, 2))
    )
    assert two < aware < one


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        ValueError, match="`kind` of the loss to be one of mdwa, wa, asl, focal, bce, weighted_bce, but got 'hinge'"
    ):
        AULoss([1.0], kind="hinge")

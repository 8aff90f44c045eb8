"""Losses: published curves and weights, numbers by hand, labels that are not annotated, number types, and what is
refused."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auformer.losses import (
    KINDS,
    AULoss,
    MDWALoss,
    asl_loss,
    au_weights,
    bce_loss,
    dice_loss,
    difficulty_exponents,
    focal_loss,
    mdwa_loss,
    wa_loss,
)


def random_batch(seed=0, rows=7, aus=5, dtype=torch.float64, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(rows, aus, generator=generator, dtype=torch.float64)).to(dtype)
    target = torch.randint(-1, 2, (rows, aus), generator=generator)
    weight = torch.rand(aus, generator=generator, dtype=torch.float64) + 0.5
    return logits.requires_grad_(), target, weight


def gradient(value, logits):
    return torch.autograd.grad(value, logits)[0]


def all_losses(logits, target, weight):
    total = MDWALoss(weight)(logits, target, logits * 0.5)
    return {
        "mdwa": mdwa_loss(logits, target, weight),
        "dice": dice_loss(logits, target, weight),
        "bce": bce_loss(logits, target, weight),
        "focal": focal_loss(logits, target),
        "asl": asl_loss(logits, target),
        "wa": wa_loss(logits, target, weight),
        "total": total["loss"],
        "total_of_another": AULoss(weight, kind="wa", dice_weight=0.5)(logits, target, logits * 0.5)["loss"],
    }


# BP4D, AUs 1 2 4 6 7 10 12 14 15 17 23 24: positives in the two subject folds that the first published fold trains on
# (100,813 frames).
BP4D_POSITIVES = [18545, 14740, 19955, 44367, 57513, 57137, 54464, 46036, 17688, 34459, 16680, 14943]
BP4D_FRAMES = 100813
# The weights that ME-GraphAU published for that fold.
BP4D_WEIGHTS = [
    1.342985, 1.689665, 1.248091, 0.561356, 0.433044, 0.435894, 0.457287, 0.541004, 1.408054, 0.722762, 1.493145,
    1.666711,
]  # fmt: skip


class TestAUWeights:
    def test_published_fold_of_bp4d(self):
        weight = au_weights(BP4D_POSITIVES, [BP4D_FRAMES] * 12)
        torch.testing.assert_close(weight, torch.tensor(BP4D_WEIGHTS), rtol=0, atol=6e-7)
        assert float(weight.sum()) == pytest.approx(12, abs=1e-5)

    @pytest.mark.parametrize("convert", [list, np.asarray, torch.tensor, lambda x: torch.tensor(x).double()])
    def test_lists_arrays_and_tensors_agree(self, convert):
        weight = au_weights(convert([1, 2, 4]), convert([10, 10, 10]))
        torch.testing.assert_close(weight, torch.tensor([12 / 7, 6 / 7, 3 / 7]))  # rates are of annotated rows:
        torch.testing.assert_close(au_weights([5, 5], [10, 100]), au_weights([50, 5], [100, 100]))

    def test_au_without_positives_is_named(self):
        with pytest.raises(ValueError, match="none for AU2, AU9"):
            au_weights([3, 0, 0], [9, 9, 0], au_names=["AU1", "AU2", "AU9"])
        with pytest.raises(ValueError, match="number 1"):
            au_weights([3, 0], [9, 9])

    @pytest.mark.parametrize(
        "positives, annotated", [([1, 2], [3]), ([[1]], [[2]]), ([4], [3]), ([-1], [3]), ([math.nan], [3])]
    )
    def test_counts_that_do_not_fit(self, positives, annotated):
        with pytest.raises(ValueError, match="Expected `positives`"):
            au_weights(positives, annotated)


class TestCurve:
    """The published curve: gradient of one unweighted negative with respect to its logit, for gamma = 1 and m =
    0.05."""

    exact = [
        (0.01, 0), (0.05, 0), (0.10, 0.0094), (0.20, 0.0542), (0.30, 0.1304), (0.40, 0.2326), (0.70, 0.6105),
        (0.84, 0.7154), (0.90, 0.6807), (0.99, 0.1830),
    ]  # fmt: skip
    read_off = [(0.10, 0.011), (0.20, 0.056), (0.30, 0.131), (0.40, 0.234), (0.70, 0.612), (0.84, 0.716), (0.90, 0.680)]

    @staticmethod
    def slope(probs, margin=0.05, gamma=1.0):
        logits = torch.logit(torch.as_tensor(probs, dtype=torch.float64)).reshape(-1, 1).requires_grad_()
        curve = {"margin": margin, "gamma_low": gamma, "gamma_high": gamma}
        loss = mdwa_loss(logits, torch.zeros_like(logits), torch.ones(1), **curve, reduction="sum")
        return gradient(loss, logits).squeeze(1)

    @pytest.mark.parametrize(("points", "tolerance"), [(exact, 5.1e-5), (read_off, 0.002)])
    def test_published_points(self, points, tolerance):
        probs, expected = zip(*points, strict=True)
        wanted = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(self.slope(probs), wanted, rtol=0, atol=tolerance)

    def test_steep_end_and_peak_are_where_the_paper_draws_them(self):
        assert float(self.slope([0.989])) == pytest.approx(0.17, abs=0.03)
        probs = torch.linspace(0.06, 0.999, 2000, dtype=torch.float64)
        assert float(probs[self.slope(probs).argmax()]) == pytest.approx(0.84, abs=0.005)

    @pytest.mark.parametrize("gamma", [0.0, 1.0, 1.5, 2.0, 3.0])
    @pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
    def test_closed_form(self, margin, gamma):
        p = torch.linspace(margin + 0.01, 0.99, 50, dtype=torch.float64)
        m = p - margin
        expected = p * (1 - p) * (gamma * m ** (gamma - 1) * -torch.log1p(-m) + m**gamma / (1 - m))
        torch.testing.assert_close(self.slope(p, margin, gamma), expected, rtol=1e-9, atol=1e-12)


class TestMDWA:
    def test_plain_form(self):
        logits, target, weight = random_batch(3)
        exponents = 1 + (weight - weight.min()) / (weight.max() - weight.min())
        total, entries = 0.0, 0
        for b, i in zip(*torch.nonzero(target >= 0, as_tuple=True), strict=True):
            p = 1 / (1 + math.exp(-logits[b, i].item()))
            m = max(p - 0.05, 0)
            term = math.log(p) if target[b, i] == 1 else m ** float(exponents[i]) * math.log(1 - m)
            total, entries = total - float(weight[i]) * term, entries + 1
        assert mdwa_loss(logits, target, weight).item() == pytest.approx(total / entries, rel=1e-12)

    def test_is_bce_without_margin_focus_and_weights(self):
        logits, target, _ = random_batch(1, scale=30.0)
        value = mdwa_loss(logits, target, torch.ones(5), margin=0.0, gamma_low=0.0, gamma_high=0.0)
        known = target >= 0
        expected = functional.binary_cross_entropy_with_logits(logits[known], target[known].double())
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient(value, logits), gradient(expected, logits))

    def test_reductions(self):
        logits, target, weight = random_batch()
        entries = mdwa_loss(logits, target, weight, reduction="none")
        assert entries.shape == target.shape and torch.all(entries[target < 0] == 0)
        torch.testing.assert_close(mdwa_loss(logits, target, weight, reduction="sum"), entries.sum())
        torch.testing.assert_close(mdwa_loss(logits, target, weight), entries.sum() / (target >= 0).sum())

    def test_exponents_rise_with_the_weight(self):
        weight = torch.tensor([2.0, 1.0, 4.0])
        torch.testing.assert_close(difficulty_exponents(weight, 1.0, 4.0), weight)
        assert difficulty_exponents(torch.full((3,), 0.7), 1.0, 2.0).tolist() == [1.0, 1.0, 1.0]

    @pytest.mark.parametrize(
        "options, message",
        [
            *(({"gamma_low": wrong}, "gamma_low") for wrong in (0.5, -1.0, math.nan)),
            ({"gamma_low": 2.0, "gamma_high": 1.0}, "gamma_high"),
            ({"gamma_high": math.inf}, "gamma_high"),
            *(({"margin": wrong}, "margin") for wrong in (1.0, -0.1, math.nan)),
        ],
    )
    def test_invalid_curve(self, options, message):
        logits, target, weight = random_batch()
        for make in (lambda: mdwa_loss(logits, target, weight, **options), lambda: MDWALoss(weight, **options)):
            with pytest.raises(ValueError, match=f"Expected `{message}`"):
                make()

    @pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.0, 0.3), (0.0, 2.0), (1.0, 1.0), (1.0, 5.0)])
    def test_valid_curves_have_finite_gradients_at_the_margin(self, gammas):
        logits = torch.logit(torch.tensor([[0.05] * 3, [0.05 + 1e-7] * 3, [1e-30] * 3])).requires_grad_()
        for margin in (0.05, 0.0):
            curve = {"margin": margin, "gamma_low": gammas[0], "gamma_high": gammas[1]}
            value = mdwa_loss(logits, torch.zeros(3, 3), torch.tensor([0.5, 0.6, 1.9]), **curve)
            assert value.isfinite() and gradient(value, logits).isfinite().all()


class TestDice:
    def test_by_hand(self):
        logits = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 3.0]], dtype=torch.float64)
        target = torch.tensor([[1, 0, -1], [0, -1, -1]])
        first = 1 - (2 * 0.5 + 1) / (1 + 0.5 + 1)
        second = 1 - 1 / (0.25 + 1)
        value = dice_loss(logits, target, torch.tensor([3.0, 2.0, 100.0]))
        assert float(value) == pytest.approx((3 * first + 2 * second) / 2, rel=1e-12)

    def test_perfect_prediction_is_zero(self):
        target = torch.tensor([[1, 0], [0, 1]])
        assert float(dice_loss((target * 2.0 - 1) * 200, target)) == pytest.approx(0, abs=1e-6)


class TestMDWALoss:
    def test_weights_are_a_list_and_no_part_of_a_checkpoint(self):
        loss = MDWALoss([0.5, 1.5])
        assert loss.weight.tolist() == [0.5, 1.5] and loss.state_dict() == {}

    @pytest.mark.parametrize("weight", [[], [1.0, 0.0], [1.0, -1.0], [math.inf], [[1.0]]])
    def test_invalid_weights(self, weight):
        with pytest.raises(ValueError, match="Expected `weight`"):
            MDWALoss(weight)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"dice_weight": -1.0}, "dice_weight"), ({"expert_weight": math.nan}, "expert_weight"),
            ({"kind": "hinge"}, "`kind` .* mdwa, wa, asl, focal, bce, weighted_bce, but got 'hinge'"),
        ],
    )  # fmt: skip
    def test_invalid_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            AULoss([1.0], **options)


LOG3 = math.log(3.0)  # the logit of p = 3/4
WEIGHT = torch.tensor([0.5], dtype=torch.float64)
WITHOUT_STOP = partial(mdwa_loss, weight=WEIGHT, margin=0.0, gamma_low=1.0, gamma_high=1.0)  # wa_loss but for slopes


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
        (partial(focal_loss, gamma=1.0, alpha=0.5), 0, 0.5 * (3 / 4) * math.log(4)),
        (asl_loss, 1, math.log(4 / 3)),
        (asl_loss, 0, 0.7**4 * -math.log(0.3)),
        (partial(wa_loss, weight=WEIGHT), 1, 0.5 * math.log(4 / 3)),
        (partial(wa_loss, weight=WEIGHT), 0, 0.5 * (3 / 4) * math.log(4)),
        (WITHOUT_STOP, 0, 0.5 * (3 / 4) * math.log(4)),
        (partial(bce_loss, weight=WEIGHT), 0, 0.5 * math.log(4)),
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
        (partial(wa_loss, weight=WEIGHT), 0.5 * 0.75 * 0.75),  # nothing flows through the first p
        (WITHOUT_STOP, 0.5 * ((3 / 16) * math.log(4) + 0.75**2)),
    ],
)
def test_slopes_of_a_negative_by_hand(loss, slope):
    logits, target = _one(0)
    assert gradient(loss(logits, target), logits).item() == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "match"), [({"gamma": 0.5}, "gamma"), ({"alpha": 1.5}, "alpha"), ({"gamma": math.nan}, "gamma")]
)
def test_options_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        focal_loss(torch.zeros(1, 1), torch.zeros(1, 1), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_total_of_each_kind(kind):
    logits, target, weight = random_batch(4)
    experts = logits.detach() * -0.3
    own = {
        "mdwa": lambda z: mdwa_loss(z, target, weight, margin=0.1, gamma_low=1.0, gamma_high=3.0),
        "wa": lambda z: wa_loss(z, target, weight), "asl": lambda z: asl_loss(z, target),
        "focal": lambda z: focal_loss(z, target),
        "bce": lambda z: bce_loss(z, target), "weighted_bce": lambda z: bce_loss(z, target, weight),
    }[kind]  # fmt: skip
    loss = AULoss(weight, kind=kind, margin=0.1, gamma_high=3.0, dice_weight=0.3, expert_weight=0.7)
    terms = loss(logits, target, experts)
    assert list(terms) == ["loss", kind, "dice", "experts"]
    assert torch.equal(terms[kind], own(logits)) and torch.equal(terms["experts"], own(experts))
    dice = dice_loss(logits, target, weight)
    torch.testing.assert_close(terms["loss"], own(logits) + 0.3 * dice + 0.7 * own(experts))
    alone = loss(logits, target)
    assert alone["experts"] == 0
    torch.testing.assert_close(alone["loss"], own(logits) + 0.3 * dice)


class TestUnknownLabels:
    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10_000), garbage=st.sampled_from([0.0, 1e4, -1e4, 1e30, math.inf, math.nan]))
    def test_contribute_nothing(self, seed, garbage):
        logits, target, weight = random_batch(seed)
        polluted = torch.where(target < 0, garbage, logits.detach()).requires_grad_()
        clean, dirty = all_losses(logits, target, weight), all_losses(polluted, target, weight)
        for name in clean:
            assert torch.equal(clean[name], dirty[name]), name
            slope = gradient(dirty[name], polluted)
            assert torch.equal(slope, gradient(clean[name], logits)), name
            assert torch.all(slope[target < 0] == 0), name

    def test_rows_without_labels_change_nothing(self):
        logits, target, weight = random_batch(2)
        longer = torch.cat([logits.detach(), torch.randn(4, 5, dtype=torch.float64)])
        padded = torch.cat([target, torch.full((4, 5), -1)])
        for name, value in all_losses(logits, target, weight).items():
            torch.testing.assert_close(all_losses(longer, padded, weight)[name], value, rtol=1e-12, atol=0, msg=name)

    @pytest.mark.parametrize("rows", [0, 3])
    def test_nothing_annotated_is_exactly_zero(self, rows):
        logits = torch.randn(rows, 4).requires_grad_()
        for name, value in all_losses(logits, torch.full((rows, 4), -1), torch.ones(4)).items():
            assert value.item() == 0.0, name
            assert torch.all(gradient(value, logits) == 0), name


class TestNumbers:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize(
        ("kind", "margin"), [*((kind, 0.05) for kind in KINDS), ("mdwa", 0.0), ("mdwa", 1e-12), ("mdwa", 0.9)]
    )
    def test_finite_for_extreme_logits(self, dtype, kind, margin):
        column = torch.tensor([0.0, 1e-4, 1.0, 15.0, 40.0, 88.0, 90.0, 104.0, 700.0, 1e4], dtype=dtype)
        for label in (0, 1):
            logits = torch.cat([column, -column]).repeat(3, 1).T.contiguous().requires_grad_()
            terms = AULoss([0.2, 0.8, 2.0], kind=kind, margin=margin)(logits, torch.full(logits.shape, label), logits)
            assert all(term.isfinite() for term in terms.values())
            slope = gradient(terms["loss"], logits)
            assert slope.dtype == dtype and slope.isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_raised(self, dtype):
        logits, target, weight = random_batch(dtype=dtype)
        raised = all_losses(logits.float(), target, weight.to(dtype).float())
        for name, value in all_losses(logits, target, weight.to(dtype)).items():
            assert value.dtype == torch.float32, name
            torch.testing.assert_close(value, raised[name], rtol=0, atol=1e-3)  # the totals halve logits before

    def test_double_stays(self):
        logits, target, weight = random_batch()
        assert {value.dtype for value in all_losses(logits, target, weight.float()).values()} == {torch.float64}

    @pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.float32, torch.float64])
    def test_label_type_does_not_matter(self, kind):
        logits, target, weight = random_batch(4)
        for name, value in all_losses(logits, target.to(kind), weight).items():
            assert torch.equal(value, all_losses(logits, target, weight)[name])

    def test_gradcheck(self):
        logits, target, weight = random_batch(6)
        experts = random_batch(7)[0]
        loss = MDWALoss(weight, gamma_low=1.0, gamma_high=2.5, margin=0.05)
        assert torch.autograd.gradcheck(lambda a, b: loss(a, target, b)["loss"], (logits, experts))
        assert torch.autograd.gradcheck(lambda a: bce_loss(a, target, weight), (logits,))

    def test_inside_autocast(self):
        logits, target, weight = random_batch(dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert MDWALoss(weight)(logits, target, logits)["loss"].dtype == torch.float32


class TestShapes:
    @pytest.mark.parametrize("loss", [mdwa_loss, dice_loss, bce_loss])
    def test_refused(self, loss):
        for logits, target in (((2, 3), (2, 4)), ((3,), (3,))):
            with pytest.raises(ValueError, match="one shape"):
                loss(torch.zeros(logits), torch.zeros(target), torch.ones(3))
        with pytest.raises(ValueError, match="`weight`"):
            loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2))

    @pytest.mark.parametrize("label", [9, 999, 2, -2, 0.5, math.nan])
    def test_labels_of_other_codes(self, label):
        target = torch.tensor([[0.0, 1.0], [-1.0, float(label)]])
        with pytest.raises(ValueError, match=f"Expected `target`.*got {float(label)}"):
            mdwa_loss(torch.zeros(2, 2), target, torch.ones(2))

    def test_unknown_reduction(self):
        with pytest.raises(ValueError, match="reduction"):
            mdwa_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1), reduction="median")

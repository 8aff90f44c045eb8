from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from auformer.losses import MDWALoss, au_weights, dice_loss, difficulty_exponents, mdwa_loss
from tests.helpers.losses import gradient, random_batch

# BP4D, AUs 1 2 4 6 7 10 12 14 15 17 23 24: positives in the two subject parts that the first published fold trains on (100,813 frames).
BP4D_POSITIVES = [18545, 14740, 19955, 44367, 57513, 57137, 54464, 46036, 17688, 34459, 16680, 14943]
BP4D_FRAMES = 100813
# The weights that ME-GraphAU published for that fold.
BP4D_WEIGHTS = [
    1.342985,
    1.689665,
    1.248091,
    0.561356,
    0.433044,
    0.435894,
    0.457287,
    0.541004,
    1.408054,
    0.722762,
    1.493145,
    1.666711,
]


class TestAUWeights:
    def test_published_fold_of_bp4d(self):
        weight = au_weights(BP4D_POSITIVES, [BP4D_FRAMES] * 12)
        torch.testing.assert_close(weight, torch.tensor(BP4D_WEIGHTS), rtol=0, atol=6e-7)
        assert float(weight.sum()) == pytest.approx(12, abs=1e-5)

    @pytest.mark.parametrize(
        "convert", [list, np.asarray, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float64)]
    )
    def test_lists_arrays_and_tensors_agree(self, convert):
        weight = au_weights(convert([1, 2, 4]), convert([10, 10, 10]))
        torch.testing.assert_close(weight, torch.tensor([12 / 7, 6 / 7, 3 / 7]))

    def test_rates_are_of_annotated_rows(self):
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
    """The published curve: gradient of one unweighted negative with respect to its logit, for gamma = 1 and m = 0.05."""

    exact = [
        (0.01, 0),
        (0.05, 0),
        (0.10, 0.0094),
        (0.20, 0.0542),
        (0.30, 0.1304),
        (0.40, 0.2326),
        (0.70, 0.6105),
        (0.84, 0.7154),
    ]
    exact += [(0.90, 0.6807), (0.99, 0.1830)]
    read_off = [(0.10, 0.011), (0.20, 0.056), (0.30, 0.131), (0.40, 0.234), (0.70, 0.612), (0.84, 0.716), (0.90, 0.680)]

    @staticmethod
    def slope(probs, margin=0.05, gamma=1.0):
        logits = torch.logit(torch.as_tensor(probs, dtype=torch.float64)).reshape(-1, 1).requires_grad_()
        loss = mdwa_loss(
            logits,
            torch.zeros_like(logits),
            torch.ones(1),
            margin=margin,
            gamma_low=gamma,
            gamma_high=gamma,
            reduction="sum",
        )
        return gradient(loss, logits).squeeze(1)

    def test_table(self):
        probs, expected = zip(*self.exact, strict=True)
        torch.testing.assert_close(self.slope(probs), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=5.1e-5)

    def test_figure(self):
        probs, expected = zip(*self.read_off, strict=True)
        torch.testing.assert_close(self.slope(probs), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=0.002)
        assert float(self.slope([0.989])) == pytest.approx(0.17, abs=0.03)  # read off the steep end of the curve

    def test_peak_is_where_the_paper_draws_it(self):
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
        torch.testing.assert_close(
            difficulty_exponents(torch.tensor([2.0, 1.0, 4.0]), 1.0, 4.0), torch.tensor([2.0, 1.0, 4.0])
        )
        assert difficulty_exponents(torch.full((3,), 0.7), 1.0, 2.0).tolist() == [1.0, 1.0, 1.0]

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"gamma_low": 0.5}, "gamma_low"),
            ({"gamma_low": -1.0}, "gamma_low"),
            ({"gamma_low": math.nan}, "gamma_low"),
            ({"gamma_low": 2.0, "gamma_high": 1.0}, "gamma_high"),
            ({"gamma_high": math.inf}, "gamma_high"),
            ({"margin": 1.0}, "margin"),
            ({"margin": -0.1}, "margin"),
            ({"margin": math.nan}, "margin"),
        ],
    )
    def test_invalid_curve(self, options, message):
        logits, target, weight = random_batch()
        with pytest.raises(ValueError, match=f"Expected `{message}`"):
            mdwa_loss(logits, target, weight, **options)
        with pytest.raises(ValueError, match=f"Expected `{message}`"):
            MDWALoss(weight, **options)

    @pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.0, 0.3), (0.0, 2.0), (1.0, 1.0), (1.0, 5.0)])
    def test_valid_curves_have_finite_gradients_at_the_margin(self, gammas):
        logits = torch.logit(torch.tensor([[0.05] * 3, [0.05 + 1e-7] * 3, [1e-30] * 3])).requires_grad_()
        for margin in (0.05, 0.0):
            value = mdwa_loss(
                logits,
                torch.zeros(3, 3),
                torch.tensor([0.5, 0.6, 1.9]),
                margin=margin,
                gamma_low=gammas[0],
                gamma_high=gammas[1],
            )
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
    def test_terms_add_up(self):
        logits, target, weight = random_batch(8)
        experts = random_batch(9)[0]
        terms = MDWALoss(weight, dice_weight=0.3, expert_weight=0.7)(logits, target, experts)
        assert list(terms) == ["loss", "mdwa", "dice", "experts"]
        torch.testing.assert_close(terms["mdwa"], mdwa_loss(logits, target, weight))
        torch.testing.assert_close(terms["dice"], dice_loss(logits, target, weight))
        torch.testing.assert_close(terms["experts"], mdwa_loss(experts, target, weight))
        torch.testing.assert_close(terms["loss"], terms["mdwa"] + 0.3 * terms["dice"] + 0.7 * terms["experts"])

    def test_without_expert_heads(self):
        logits, target, weight = random_batch(8)
        terms = MDWALoss(weight)(logits, target)
        assert terms["experts"].item() == 0.0
        torch.testing.assert_close(terms["loss"], terms["mdwa"] + terms["dice"])

    def test_options_reach_both_heads(self):
        logits, target, weight = random_batch(8)
        terms = MDWALoss(weight, margin=0.2, gamma_low=2.0, gamma_high=3.0)(logits, target, logits)
        expected = mdwa_loss(logits, target, weight, margin=0.2, gamma_low=2.0, gamma_high=3.0)
        torch.testing.assert_close(terms["mdwa"], expected)
        torch.testing.assert_close(terms["experts"], expected)

    def test_weights_are_a_list_and_no_part_of_a_checkpoint(self):
        loss = MDWALoss([0.5, 1.5])
        assert loss.weight.tolist() == [0.5, 1.5] and loss.state_dict() == {}

    @pytest.mark.parametrize("weight", [[], [1.0, 0.0], [1.0, -1.0], [math.inf], [[1.0]]])
    def test_invalid_weights(self, weight):
        with pytest.raises(ValueError, match="Expected `weight`"):
            MDWALoss(weight)

    def test_invalid_factors(self):
        with pytest.raises(ValueError, match="dice_weight"):
            MDWALoss([1.0], dice_weight=-1.0)
        with pytest.raises(ValueError, match="expert_weight"):
            MDWALoss([1.0], expert_weight=math.nan)

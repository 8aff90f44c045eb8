"""Labels that are not annotated, extreme logits, number types, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auformer.losses import MDWALoss, bce_loss, dice_loss, mdwa_loss
from tests.helpers.losses import all_losses, gradient, random_batch


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

    def test_bce_over_known_entries(self):
        logits, target, weight = random_batch(5)
        known = target >= 0
        entries = (
            functional.binary_cross_entropy_with_logits(logits, target.clamp_min(0).double(), reduction="none") * weight
        )
        torch.testing.assert_close(bce_loss(logits, target, weight), entries[known].mean())

    @pytest.mark.parametrize("rows", [0, 3])
    def test_nothing_annotated_is_exactly_zero(self, rows):
        logits = torch.randn(rows, 4).requires_grad_()
        for name, value in all_losses(logits, torch.full((rows, 4), -1), torch.ones(4)).items():
            assert value.item() == 0.0, name
            assert torch.all(gradient(value, logits) == 0), name


class TestNumbers:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("margin", [0.0, 1e-12, 0.05, 0.9])
    def test_finite_for_extreme_logits(self, dtype, margin):
        extremes = [0.0, 1e-4, 1.0, 15.0, 40.0, 88.0, 90.0, 104.0, 700.0, 1e4]
        column = torch.tensor(extremes + [-x for x in extremes], dtype=dtype)
        for label in (0, 1):
            logits = column.repeat(3, 1).T.contiguous().requires_grad_()
            target = torch.full(logits.shape, label)
            terms = MDWALoss(torch.tensor([0.2, 0.8, 2.0]), margin=margin)(logits, target, logits)
            assert all(term.isfinite() for term in terms.values())
            slope = gradient(terms["loss"] + bce_loss(logits, target), logits)
            assert slope.dtype == dtype and slope.isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_raised(self, dtype):
        logits, target, weight = random_batch(dtype=dtype)
        for name, value in all_losses(logits, target, weight.to(dtype)).items():
            assert value.dtype == torch.float32, name
            torch.testing.assert_close(
                value, all_losses(logits.float(), target, weight.to(dtype).float())[name], rtol=0, atol=1e-3
            )
        assert mdwa_loss(logits, target, weight.to(dtype)) == mdwa_loss(
            logits.float(), target, weight.to(dtype).float()
        )

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
        logits, target, weight = random_batch(dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = MDWALoss(weight)(logits.bfloat16(), target, logits.bfloat16())["loss"]
        assert value.dtype == torch.float32


class TestShapes:
    @pytest.mark.parametrize("loss", [mdwa_loss, dice_loss, bce_loss])
    def test_refused(self, loss):
        with pytest.raises(ValueError, match="one shape"):
            loss(torch.zeros(2, 3), torch.zeros(2, 4), torch.ones(3))
        with pytest.raises(ValueError, match="one shape"):
            loss(torch.zeros(3), torch.zeros(3), torch.ones(3))
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

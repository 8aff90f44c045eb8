"""Losses of intensities: numbers by hand, an independent form, rows that are not coded, number types, and what is
refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from auformer.intensity_losses import IntensityLoss, concordance_loss, cumulative_loss, smooth_l1_loss

NAN = math.nan


def random_batch(seed: int, rows: int = 9, aus: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted intensities, level logits and codes, a third of them missing, whole and in between."""
    generator = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    intensity, logits, target = 5 * rand(rows, aus), 6 * rand(rows, aus, 5) - 3, 5 * rand(rows, aus)
    target[:, ::2] = target[:, ::2].round()
    target[rand(rows, aus) < 1 / 3] = NAN
    return intensity.requires_grad_(), logits.requires_grad_(), target


def plain_smooth_l1(intensity: np.ndarray, target: np.ndarray) -> float:
    """Entry by entry."""
    terms = []
    for row in range(len(target)):
        for au in range(target.shape[1]):
            if not math.isnan(target[row, au]):
                error = abs(intensity[row, au] - target[row, au])
                terms.append(error**2 / 2 if error < 1 else error - 0.5)
    return sum(terms) / len(terms) if terms else 0.0


def plain_concordance(intensity: np.ndarray, target: np.ndarray) -> float:
    """AU by AU, with numpy's own moments."""
    terms = []
    for au in range(target.shape[1]):
        known = ~np.isnan(target[:, au])
        y, p = target[known, au], intensity[known, au]
        if len({math.floor(value + 0.5) for value in y}) < 2:
            continue
        terms.append(1 - 2 * np.cov(y, p, ddof=0)[0, 1] / (y.var() + p.var() + (y.mean() - p.mean()) ** 2))
    return float(np.mean(terms)) if terms else 0.0


def plain_cumulative(logits: np.ndarray, target: np.ndarray) -> float:
    """Level by level."""
    terms = []
    for row, au in zip(*np.nonzero(~np.isnan(target)), strict=True):
        term = 0.0
        for level in range(1, 6):
            prob = 1 / (1 + math.exp(-logits[row, au, level - 1]))
            reached = min(max(target[row, au] - (level - 1), 0.0), 1.0)
            term -= reached * math.log(prob) + (1 - reached) * math.log(1 - prob)
        terms.append(term)
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_parity_with_loops(seed: int) -> None:
    intensity, logits, target = random_batch(seed)
    given, codes = intensity.detach().numpy(), target.numpy()
    assert smooth_l1_loss(intensity, target).item() == pytest.approx(plain_smooth_l1(given, codes), rel=1e-12)
    assert concordance_loss(intensity, target).item() == pytest.approx(plain_concordance(given, codes), rel=1e-9)
    wanted = plain_cumulative(logits.detach().numpy(), codes)
    assert cumulative_loss(logits, target).item() == pytest.approx(wanted, rel=1e-12)


def test_numbers_by_hand() -> None:
    target = torch.tensor([[0.0], [5.0], [NAN]])
    assert smooth_l1_loss(torch.tensor([[0.5], [2.0], [9.0]]), target).item() == pytest.approx((0.125 + 2.5) / 2)
    # var = 1, var = 4, cov = 2, means 1 and 2: 1 - 4 / (1 + 4 + 1)
    codes, found = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    assert concordance_loss(found, codes).item() == pytest.approx(1 / 3)
    logits = torch.tensor([0.0, 1.0, 0.0, 0.0, -2.0]).view(1, 1, 5)
    softplus = [math.log1p(math.exp(value)) for value in (0.0, -1.0, 0.0, 0.0, -2.0)]
    assert cumulative_loss(logits, torch.tensor([[2.0]])).item() == pytest.approx(sum(softplus))
    # half a level: the first link as above, the second as likely reached as not
    halved = softplus[0] + (softplus[1] + math.log1p(math.e)) / 2 + sum(softplus[2:])
    assert cumulative_loss(logits, torch.tensor([[1.5]])).item() == pytest.approx(halved)


def test_a_trace_below_a_is_level_0_and_a_constant_does_not_count() -> None:
    found = torch.rand(3, 3)
    target = torch.tensor([[0.0, 2.0, 0.0], [0.3, 2.0, 0.6], [0.49, 2.0, NAN]])
    assert concordance_loss(found[:, :2], target[:, :2]).item() == 0.0
    alone = concordance_loss(found[:, 2:], target[:, 2:])
    assert torch.equal(concordance_loss(found, target), alone) and alone.item() > 0


@pytest.mark.parametrize("seed", range(3))
def test_what_is_not_coded_has_neither_value_nor_gradient(seed: int) -> None:
    intensity, logits, target = random_batch(seed)
    known = ~torch.isnan(target)
    for loss, values in ((smooth_l1_loss, intensity), (concordance_loss, intensity), (cumulative_loss, logits)):
        value = loss(values, target)
        gradient = torch.autograd.grad(value, values)[0]
        assert not gradient[~known].any() and gradient[known].abs().sum() > 0
        with torch.no_grad():
            broken = values.clone()
            broken[~known] = NAN
        broken.requires_grad_()
        assert torch.equal(loss(broken, target), value)
        assert torch.isfinite(torch.autograd.grad(loss(broken, target), broken)[0]).all()


@pytest.mark.parametrize("rows", [0, 4])
def test_without_a_code_the_loss_is_exactly_0(rows: int) -> None:
    intensity, logits = torch.rand(rows, 2, requires_grad=True), torch.rand(rows, 2, 5, requires_grad=True)
    for form in ("regression", "ordinal"):
        terms = IntensityLoss(form)({"intensity": intensity, "level_logits": logits}, torch.full((rows, 2), NAN))
        assert all(term.item() == 0.0 for term in terms.values())
        terms["intensity"].backward()
    assert not intensity.grad.any() and not logits.grad.any()


def test_the_loss_is_the_sum_of_its_terms() -> None:
    intensity, logits, target = random_batch(7)
    found = {"intensity": intensity, "level_logits": logits, "logits": intensity}
    near = {"smooth_l1": smooth_l1_loss(intensity, target), "concordance": concordance_loss(intensity, target)}
    levels = {"cumulative": cumulative_loss(logits, target), "concordance": near["concordance"]}
    for form, terms in (("regression", near), ("ordinal", levels)):
        wanted = {"intensity": torch.stack([*terms.values()]).sum(), **terms}
        torch.testing.assert_close(IntensityLoss(form)(found, target), wanted)


@settings(max_examples=40, deadline=None)
@given(size=st.floats(0, 1e4), sign=st.sampled_from([-1.0, 1.0]), code=st.floats(0, 5))
def test_values_and_gradients_are_finite(size: float, sign: float, code: float) -> None:
    logits = torch.full((2, 1, 5), sign * size, requires_grad=True)
    intensity = logits.sigmoid().sum(-1)
    target = torch.tensor([[code], [5 - code]])
    terms = IntensityLoss("ordinal")({"intensity": intensity, "level_logits": logits}, target)
    terms["intensity"].backward()
    assert torch.isfinite(terms["intensity"]) and torch.isfinite(logits.grad).all()
    near = IntensityLoss("regression")({"intensity": intensity}, target)["intensity"]
    assert torch.isfinite(near)


def test_half_types_are_raised_and_float64_stays() -> None:
    intensity, logits, target = random_batch(1)
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        found = {"intensity": intensity.to(dtype), "level_logits": logits.to(dtype)}
        for form in ("regression", "ordinal"):
            terms = IntensityLoss(form)(found, target.float())
            assert {term.dtype for term in terms.values()} == {wanted}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="intensities of 0 to 5, or NaN .*but got 6"):
        smooth_l1_loss(torch.zeros(1, 2), torch.tensor([[NAN, 6.0]]))
    with pytest.raises(ValueError, match="but got -1"):
        cumulative_loss(torch.zeros(1, 1, 5), torch.tensor([[-1.0]]))
    with pytest.raises(ValueError, match=r"one shape \(B, N\), but got \(2, 3\) and \(2, 2\)"):
        concordance_loss(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="`form` to be regression or ordinal, but got 'none'"):
        IntensityLoss("none")

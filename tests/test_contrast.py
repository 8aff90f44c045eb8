"""The contrastive loss against published values, and against loops."""

from __future__ import annotations

import math

import pytest
import torch

from auformer.contrast import FIRST_BETA_NEGATIVE, contrastive_loss, two_way_loss
from tests.helpers.formula import u


def unit(shape, s) -> torch.Tensor:
    return torch.nn.functional.normalize(u(shape, s), dim=1)


Z, V = unit((6, 16, 4), 920), unit((6, 16, 4), 921)
LABELS = torch.tensor([[int(c) for c in row] for row in ["1010", "0010", "1100", "0000", "0110", "1000"]])
WEIGHT = torch.tensor([1.3, 0.7, 0.5, 1.5], dtype=torch.float64)
MAX, MEAN, VIEW = 0.1, 0.5, 0.9


def loss(*draws: float, **options) -> float:
    each = draws * 4 if len(draws) == 1 else draws
    return float(contrastive_loss(Z, V, LABELS, torch.tensor(each, dtype=torch.float64), **options))


def test_the_input():
    assert (Z[0] * V[0]).sum(0).tolist()[:3] == pytest.approx([0.6062250476, 0.3543695037, 0.5007666635], rel=1e-8)


@pytest.mark.parametrize(
    ("draws", "want"),
    [
        ((MAX,), 0.481500146489),
        ((MEAN,), 1.3722282779),
        ((VIEW,), 0.918159881241),
        ((0.1, 0.5, 0.9, 0.5), 0.861972764007),
        ((0.2, 0.8, 0.19999, 0.79999), 0.944652047206),
    ],
)
def test_released_values(draws, want):
    assert loss(*draws, form="released") == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(
    ("draw", "want"),
    [
        (MAX, (0.6463792451, 0.6376916646, 0.6419296762, 0)),
        (MEAN, (1.923327793, 1.743630378, 1.82195494, 0)),
        (VIEW, (1.401407373, 1.213350719, 1.057881433, 0)),
    ],
)
def test_each_action_unit(draw, want):
    """The fourth has one label only and adds nothing."""
    one = torch.eye(4, dtype=torch.float64) * 4  # the mean over four AUs of one of them
    found = [loss(draw, form="released", weight=one[au]) for au in range(4)]
    assert found == pytest.approx(want, rel=1e-8)


def test_weights_and_the_first_release():
    draws = (0.1, 0.5, 0.9, 0.5)
    assert loss(*draws, form="released", weight=WEIGHT) == pytest.approx(0.647443749935, rel=1e-9)
    first = {"form": "released", "beta": (1.2, FIRST_BETA_NEGATIVE)}
    assert loss(*draws, **first, weight=WEIGHT) == pytest.approx(0.634493497393, rel=1e-9)
    assert loss(*draws, **first) == pytest.approx(0.845417616422, rel=1e-9)


def test_corrected_values():
    assert loss(MAX) == pytest.approx(0.865682130659, rel=1e-9)
    assert loss(MEAN) == pytest.approx(1.27478158385, rel=1e-9)


def test_gradient():
    z = Z.clone().requires_grad_()
    draws = torch.tensor([0.1, 0.5, 0.9, 0.5], dtype=torch.float64)
    contrastive_loss(z, V, LABELS, draws, form="released").backward()
    assert float(z.grad.square().sum()) == pytest.approx(0.04862018066, rel=1e-8)


@pytest.mark.parametrize("form", ["released", "corrected"])
def test_a_loop_gives_the_same(form):
    target = LABELS.clone()
    target[1, 0], target[4, 2] = -1, -1
    draws = torch.tensor([0.1, 0.5, 0.9, 0.3], dtype=torch.float64)
    rows, labels = torch.cat([Z, V]), torch.cat([target, target])
    total = 0.0
    for au in range(4):
        terms = []
        for a in range(12):
            if labels[a, au] < 0:
                continue
            s = [math.exp(float(rows[a, :, au] @ rows[b, :, au]) / 0.5) for b in range(12)]
            beta = 1.2 if labels[a, au] == 1 else 0.8
            negative = sum(s[b] ** beta for b in range(12) if labels[b, au] == 1 - labels[a, au])
            own = [s[b] for b in range(12) if labels[b, au] == labels[a, au] and (form == "released" or b != a)]
            mean = sum(own) / (12 if form == "released" else len(own))
            positive = max(own) if draws[au] < 0.2 else mean if draws[au] < 0.8 else s[(a + 6) % 12]
            terms.append(-math.log(positive / (positive + negative)))
        total += sum(terms) / len(terms)
    assert float(contrastive_loss(Z, V, target, draws, form=form)) == pytest.approx(total / 4, rel=1e-10)


def test_a_row_without_labels_changes_nothing():
    target = torch.cat([LABELS, torch.full((1, 4), -1)])
    more = [torch.cat([one, unit((1, 16, 4), 930)]) for one in (Z, V)]
    draws = torch.tensor([0.1, 0.5, 0.9, 0.5], dtype=torch.float64)
    one, two = (contrastive_loss(*pair, draws) for pair in ((Z, V, LABELS), (*more, target)))
    assert float(one) == pytest.approx(float(two), rel=1e-12)
    nothing = contrastive_loss(Z, V, torch.full_like(LABELS, -1), draws)
    assert float(nothing) == 0


def test_two_unlike_images_are_nt_xent():
    """With one positive, the other view, and beta 1: cross-entropy of the similarities to all other rows."""
    z, v, target = Z[:2, :, :1], V[:2, :, :1], torch.tensor([[1], [0]])
    found = contrastive_loss(z, v, target, torch.tensor([0.9]), beta=(1.0, 1.0))
    rows = torch.cat([z, v])[:, :, 0]
    logits = (rows @ rows.T / 0.5).fill_diagonal_(-math.inf)
    assert float(found) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor([2, 3, 0, 1]))))


def test_finite_gradients_without_positives_or_negatives():
    z = Z.float().requires_grad_()
    draws = torch.tensor([0.1, 0.5, 0.9, 0.1])
    for target in (torch.zeros_like(LABELS), LABELS * 2 - 1, torch.full_like(LABELS, -1)):
        z.grad = None
        contrastive_loss(z, V.float(), target.clamp(max=1), draws).backward()
        assert torch.isfinite(z.grad).all()


def test_two_way_cross_entropy():
    logits = 6 * u((5, 2, 4), 922)
    target = torch.tensor([[int(c) for c in row] for row in ["1010", "0011", "1100", "0000", "0110"]])
    assert float(two_way_loss(logits, target, WEIGHT)) == pytest.approx(1.73702713024, rel=1e-9)
    assert float(two_way_loss(logits, target)) == pytest.approx(1.79631237067, rel=1e-9)
    target[0, 0] = -1
    assert float(two_way_loss(logits, target)) != pytest.approx(1.79631237067, rel=1e-3)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`form` to be one of released, corrected"):
        loss(0.1, form="paper")
    with pytest.raises(ValueError, match=r"features \(B, C, N\)"):
        contrastive_loss(Z, V[:3], LABELS, torch.zeros(4))

"""MDHR against values of an independent implementation, on tensors that a formula gives (float64, 1e-6 relative)."""

from __future__ import annotations

import pytest
import torch

from auformer.aus import AU_SETS
from auformer.models.temporal.convolution import CosineClassifier, TimeConvolution
from auformer.models.temporal.dynamics import FacialDynamics, pool_transitions
from auformer.models.temporal.head import DynamicHead
from auformer.models.temporal.regions import RegionLearning, bits, regions_of
from auformer.models.temporal.relations import CrossRelations, edges_of
from tests.helpers import formula
from tests.helpers.formula import u

BP4D, DISFA = AU_SETS["bp4d"], AU_SETS["disfa"]
NAMES = {"bp4d": BP4D, "disfa": DISFA}
KERNELS = (8, 4, 2, 1)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def near(value) -> object:
    return pytest.approx(value, rel=1e-6)


def sums(x: torch.Tensor) -> tuple[float, float]:
    return float(x.sum()), float(x.square().sum())


def small_maps(clips: int, frames: int) -> list[torch.Tensor]:
    shapes = [(clips * frames, 4 * 2**scale, 7 * q, 7 * q) for scale, q in enumerate(KERNELS)]
    return [u(shape, 900 + scale) for scale, shape in enumerate(shapes)]


def small_dynamics(outputs: int, reach: int) -> FacialDynamics:
    return FacialDynamics((4, 8, 16, 32), KERNELS, 32, outputs, reach=reach)


@pytest.mark.parametrize(
    ("names", "training", "want", "gradients"),
    [
        ("bp4d", False, (123.6320036, 59.39055389, 0.5309211096, 0.3891335005, 0.6093279533),
         (0.004456530559, 0.006210619613, 0.02907720419, 1.91950669)),
        ("bp4d", True, (120.6952736, 59.43175316, 0.4222674329, 0.4648116032, 0.4591761532),
         (0.5356110916, 0.6584746811, 1.663320061, 2.87407069)),
        ("disfa", False, (54.15498679, 20.44399804, 0.3670862532, 0.4491467008, 0.331906578),
         (0.00179365061, 0.002446619021, 0.01207411628, 0.652279457)),
        ("disfa", True, (66.81456347, 31.52767504, 0.4194864992, 0.6736507958, 0.38303979),
         (0.1659577384, 0.2052025749, 0.5242341611, 0.8680258855)),
    ],
)  # fmt: skip
def test_all_above_the_backbone(names, training, want, gradients):
    """Section 3.1: the probabilities, and the gradient of their weighted sum at each map."""
    aus = NAMES[names]
    head = DynamicHead(aus, 32, 16, small_dynamics(16, 5)).double()
    assert formula.fill(formula.head(head, len(aus))) == {"bp4d": 199, "disfa": 141}[names]
    head.train(training)
    maps = [each.requires_grad_() for each in small_maps(2, 12)]
    found = head(maps[3].flatten(2).transpose(1, 2), [each.unflatten(0, (2, 12)) for each in maps], (7, 7), 12)
    p = found["probs"]
    assert (*sums(p), float(p[0, 0]), float(p[5, 3]), float(p[23, -1])) == near(want)
    (p * u(tuple(p.shape), 950)).sum().backward()
    assert tuple(sums(each.grad)[1] for each in maps) == near(gradients)
    assert torch.allclose(found["logits"].sigmoid(), p, atol=1e-7)


@pytest.mark.parametrize(
    ("names", "want"),
    [
        ("bp4d", [[0, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 1], [6] * 6, [8] * 6]),
        ("disfa", [[3] * 6, [1, 1, 1, 0, 1, 1], [7] * 6]),
    ],
)
def test_classes_of_the_regions(names, want):
    aus = NAMES[names]
    head = DynamicHead(aus, 32, 16, small_dynamics(16, 5)).double()
    formula.fill(formula.head(head, len(aus)))
    maps = small_maps(2, 12)
    tokens, clips = maps[3].flatten(2).transpose(1, 2), [each.unflatten(0, (2, 12)) for each in maps]
    logits = head.eval().features(tokens, clips, (7, 7))[1]
    assert [each.argmax(1)[:6].tolist() for each in logits] == want


@pytest.mark.parametrize(
    ("reach", "frames", "whole", "first", "pooled", "weights", "training"),
    [
        (5, 12, (69617.92543, 37261.99159), 0.1128663698, (12172.10737, 13098.40558, 13845.37047, 13684.92785),
         (0.1943663611, 0.260838987, 0.3162001896), (240738.1826, 301109.7783)),
        (2, 6, (37466.60359, 21481.12839), 0.07725008803, (6139.284828, 6574.565386, 6960.72913, 6836.180925),
         (0.1990859928, 0.2348480194, 0.4027357143), (119629.8985, 150821.8951)),
    ],
)  # fmt: skip
def test_dynamics_alone(reach, frames, whole, first, pooled, weights, training):
    """Section 3.2; of six frames the maps are those of twelve, read anew."""
    module = small_dynamics(512, reach).double()
    formula.fill(formula.dynamics(module))
    maps = [each.unflatten(0, (2, frames)) for each in small_maps(2, frames)]
    tokens = module.eval()(maps).flatten(2).transpose(1, 2)
    assert (*sums(tokens), float(tokens[0, 0, 0])) == near((*whole, first))
    found = module.pooled(maps)
    assert tuple(float(each.sum()) for each in found) == near(pooled)
    assert tuple(module.weights(found)[0, :3, 0, 0].tolist()) == near(weights)
    assert sums(module.train()(maps)) == near(training)


def test_pooling_by_hand():
    steps = torch.arange(1.0, 16.0).view(1, 15, 1)
    want = [1.5, 2.1, 2.8, 3.6, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 9.9, 9.2, 8.4, 7.5, 6.5]
    torch.testing.assert_close(pool_transitions(steps, 5).flatten(), torch.tensor(want))
    inside = pool_transitions(steps, 5, "inside").flatten()
    assert inside[0] == 3.0 and inside[-1] == 13.0  # of five transitions each
    torch.testing.assert_close(inside[5:11], torch.tensor(want[5:11]))


@pytest.mark.parametrize(
    ("names", "nodes", "logits", "classes", "training"),
    [
        ("bp4d", (176.8966662, 99.51233871), (-1.442743138, 1.674832362, -7.075750792, 3.372218926),
         [[14, 14, 14], [0, 1, 1], [5, 7, 3], [6, 9, 13]], (223.7676339, 97.89110982)),
        ("disfa", (129.7011959, 54.11229509), (-0.5948507469, 0.4686872315, -0.7313260771),
         [[7, 0, 7], [3, 2, 0], [3, 4, 4]], (150.9240886, 66.53786118)),
    ],
)  # fmt: skip
def test_regions_alone(names, nodes, logits, classes, training):
    """Section 3.3."""
    aus = NAMES[names]
    module = RegionLearning(regions_of(aus), 16, len(aus), blocks=names == "bp4d").double()
    assert formula.fill(formula.local(module)) == {"bp4d": 104, "disfa": 54}[names]
    found, each = module.eval()(u((3, 49, 16), 900), (7, 7))
    assert sums(found) == near(nodes) and tuple(float(one.sum()) for one in each) == near(logits)
    assert [one.argmax(1).tolist() for one in each] == classes
    assert sums(module.train()(u((3, 49, 16), 900), (7, 7))[0]) == near(training)


@pytest.mark.parametrize(
    ("names", "classes", "active", "edges", "whole", "entries"),
    [
        ("bp4d", [[0, 0, 0, 0], [10, 1, 3, 5], [15, 1, 7, 15]], "AU1 AU4 AU6 AU14 AU15 AU17 AU24", [12, 73, 114],
         (84.17403441, 307.4358476), (1.608602507, -0.6684765217, 0.1982032622)),
        ("disfa", [[0, 0, 0], [5, 2, 3], [7, 3, 7]], "AU1 AU4 AU6 AU25 AU26", [8, 34, 50],
         (49.48045023, 188.0461306), (1.608602507, -0.1648462835, 1.467844246)),
    ],
)  # fmt: skip
def test_relations_alone(names, classes, active, edges, whole, entries):
    aus = NAMES[names]
    regions = regions_of(aus)
    module = CrossRelations(regions, 16).double()
    assert formula.fill(formula.cross(module)) == 4
    known = torch.zeros(3, len(aus), dtype=torch.long)
    for place, region in enumerate(regions):
        known[:, list(region.aus)] = bits(region)[torch.tensor([row[place] for row in classes])]
    assert [au for au, on in zip(aus, known[1], strict=True) if on] == active.split()
    assert edges_of(known, regions).sum((1, 2)).tolist() == edges
    out = module(u((3, len(aus), 16), 901), known)
    assert sums(out) == near(whole)
    assert (float(out[0, 0, 0]), float(out[1, 0, 0]), float(out[2, 3, 5])) == near(entries)


@pytest.mark.parametrize(
    ("names", "evaluated", "trained", "classified"),
    [
        ("bp4d", (558.2675825, 516.9767276), (709.4402865, 834.5903822), (8.68766804, 3.472083692)),
        ("disfa", (357.7219833, 337.0300824), (459.5643269, 540.8967563), (5.865096537, 2.159430371)),
    ],
)
def test_time_and_classifier_alone(names, evaluated, trained, classified):
    num = len(NAMES[names])
    module = TimeConvolution(num, 16).double()
    formula.fill(formula.time(module, num))
    features = u((10, num, 16), 902)
    assert sums(module.eval()(features, 5)) == near(evaluated)
    assert sums(module.train()(features, 5)) == near(trained)
    last = CosineClassifier(num, 16).double()
    formula.fill(formula.classifier(last))
    assert sums(last(u((3, num, 16), 903).relu())) == near(classified)

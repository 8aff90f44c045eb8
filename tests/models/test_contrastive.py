"""AUNCE's encoder against values of an independent implementation; what is trained and kept."""

from __future__ import annotations

import pytest
import torch

from auformer.models import load_detector, save_adapter
from auformer.models.contrastive import AUNCE, AUFormerContrast, GraphHead, NeighbourGraph, ViTAUNCE
from tests.helpers import formula
from tests.helpers.formula import Named, u
from tests.helpers.runs import AUS, VIT


def graph(module: NeighbourGraph) -> list[Named]:
    return [*formula.linear(module.own), *formula.linear(module.heard), *formula.norm(module.norm)]


def head(module: GraphHead, prototypes: torch.Tensor) -> list[Named]:
    """In the released order: prototypes that nothing uses, the blocks, the graph."""
    blocks = [each for block in module.au_blocks for each in formula.block(block)]
    return [("weight", prototypes), *blocks, *graph(module.graph)]


def test_the_graph_alone():
    module = NeighbourGraph(12, 16).double()
    formula.fill(graph(module))
    v = u((3, 12, 16), 900)
    out = module.eval()(v)
    assert (float(out.sum()), float(out.square().sum())) == pytest.approx((277.0163735, 412.4976654), rel=1e-8)
    assert module.edges(v)[0, 0].nonzero().flatten().tolist() == [0, 1, 2, 7]
    out = module.train()(v)
    assert (float(out.sum()), float(out.square().sum())) == pytest.approx((254.1556131, 354.5785556), rel=1e-8)


@pytest.mark.parametrize(
    ("num", "evaluated", "entries", "trained"),
    [
        (12, 119.7984447, {(0, 0, 0): 0.330042967, (2, 15, 11): 0.1633567672}, (108.3899268, 0.3736671072)),
        (8, 69.28740301, {(2, 15, 7): 0.0905307526}, (71.24907259, None)),
    ],
)
def test_the_head(num, evaluated, entries, trained):
    module = GraphHead(num, 16).double()
    formula.fill(head(module, torch.empty(num, 16, dtype=torch.float64)))
    tokens = u((3, 49, 16), 900)
    out = module.eval()(tokens)
    assert out.shape == (3, 16, num) and float(out.sum()) == pytest.approx(evaluated, rel=1e-8)
    assert {place: float(out[place]) for place in entries} == pytest.approx(entries, rel=1e-8)
    torch.testing.assert_close(out.square().sum(1), torch.ones(3, num, dtype=torch.float64))
    out = module.train()(tokens)
    assert float(out.sum()) == pytest.approx(trained[0], rel=1e-8)
    if trained[1] is not None:
        assert float(out[0, 0, 0]) == pytest.approx(trained[1], rel=1e-8)


@pytest.mark.parametrize(("aus", "released"), [("bp4d", 102_526_160), ("disfa", 98_315_464)])
def test_parameters_of_the_released_encoder(aus, released):
    with torch.device("meta"):
        network = AUNCE("swin_base_patch4_window7_224", aus)
    num = len(network.au_names)
    assert network.num_parameters()[1] == released - 1024 * num + 1025 * num  # unused prototypes out, the probe in


def test_few_action_units_have_as_many_neighbours():
    assert NeighbourGraph(3, 4).neighbours == 3


@pytest.mark.parametrize("kind", [ViTAUNCE, AUFormerContrast])
def test_frozen_vit_below(kind, tmp_path):
    torch.manual_seed(0)
    network = kind(VIT, AUS, img_size=32)
    images = torch.rand(4, 3, 32, 32)
    found = network.features(images)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4, 3))
    network.train().probe(network.features(images)).sum().backward()
    assert all(one.grad is None for one in network.backbone.parameters())
    own = [name for name, one in network.named_parameters() if one.requires_grad and one.grad is None]
    assert all("up." in name for name in own)  # the last group's up-projection leads nowhere
    save_adapter(tmp_path / "adapter.safetensors", network)
    torch.save(network.backbone.state_dict(), tmp_path / "vit.pth")
    again = load_detector(tmp_path / "adapter.safetensors", backbone_checkpoint=tmp_path / "vit.pth")
    with torch.no_grad():
        torch.testing.assert_close(again.predict_probs(images), network.eval().predict_probs(images), rtol=0, atol=0)

"""torch.compile and torch.export: one graph without a break, and the same numbers."""

from __future__ import annotations

import pytest
import torch

from auformer.models import AUFormer
from tests.helpers import vits

assert vits.FIT  # registers the ViTs


@pytest.fixture
def model() -> AUFormer:
    torch.manual_seed(0)
    model = AUFormer("vit_tests_token", ["AU1", "AU12"], expert_width=2)
    with torch.no_grad():
        for group in model.groups:
            group.up.weight.normal_(std=0.3)
    return model


@pytest.mark.slow
def test_one_graph_in_eval(model: AUFormer) -> None:
    images = torch.rand(2, 3, 32, 32)
    compiled = torch.compile(model.eval(), fullgraph=True, backend="aot_eager")  # the graph alone needs no C++ compiler
    with torch.no_grad():
        assert torch.allclose(compiled(images), model(images), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_one_graph_in_training(model: AUFormer) -> None:
    images = torch.rand(2, 3, 32, 32)
    gradients = []
    for network in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        network(images).sin().sum().backward()
        gradients.append([p.grad.clone() for p in model.groups.parameters() if p.grad is not None])
    assert len(gradients[0]) > 20
    assert all(torch.allclose(a, b, atol=1e-6, rtol=1e-4) for a, b in zip(*gradients, strict=True))

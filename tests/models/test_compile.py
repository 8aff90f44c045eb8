"""torch.compile: one graph without a break, and the same numbers."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.vits import images_for, network, shaken


@pytest.mark.slow
def test_one_graph_in_eval_and_in_training() -> None:
    model = shaken(network()).eval()
    images, gradients = images_for(model), []
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")  # the graph alone needs no C++ compiler
    with torch.no_grad():
        assert torch.allclose(compiled(images), model(images), atol=1e-6, rtol=0)
    for one in (model.train(), torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        one(images).sin().sum().backward()
        gradients.append([p.grad.clone() for p in model.groups.parameters() if p.grad is not None])
    assert len(gradients[0]) > 20
    assert all(torch.allclose(a, b, atol=1e-5, rtol=1e-4) for a, b in zip(*gradients, strict=True))

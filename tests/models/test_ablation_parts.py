"""Ablations of what an expert is made of: trained parameters by hand, what a step moves, what gradients reach."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from auformer.models import AUFormer

NAMES = ("AU1", "AU4", "AU12")
PARTS: list[tuple[dict[str, Any], int]] = [  # options, parameters of one expert
    ({}, 50 + 38 + (3 * 38 + 14) + 3 * 6 + 72),
    ({"dilations": ()}, 50 + 38 + 3 * 6 + 72),
    ({"dilations": (1,)}, 50 + 38 + (38 + 6) + 3 * 6 + 72),
    ({"dilations": (1, 3)}, 50 + 38 + (2 * 38 + 10) + 3 * 6 + 72),
    ({"window": 0}, 50 + 38 + (3 * 38 + 14) + 72),
    ({"window": 1}, 50 + 38 + (3 * 38 + 14) + 3 * 6 + 72),
    ({"window": 5}, 50 + 38 + (3 * 38 + 14) + 3 * 6 + 72),
    ({"dilations": (), "window": 0}, 50 + 38 + 72),
    ({"pool": "token"}, 50 + 38 + (3 * 38 + 14) + 3 * 6 + 72),
    ({"average_heads": False}, 50 + 38 + (3 * 38 + 14) + 3 * 6 + 72),
    ({"expert_width": 4}, (24 * 4 + 4) + (4 * 4 * 9 + 4) + (3 * 148 + 12 * 4 + 4) + 3 * 20 + (4 * 24 + 24)),
    ({"expert_width": 1}, (24 + 1) + (9 + 1) + (3 * 10 + 3 + 1) + 3 * 2 + (24 + 24)),
]
# of width 2: down 24 * 2 + 2 = 50, a 3 x 3 map 2 * 2 * 9 + 2 = 38, fusing three of them 6 * 2 + 2 = 14, a 1 x 1 map 2 * 2 + 2 = 6, up 72
HEADS = (24 * 6 + 6 + 6 * 3 + 3) + 3 * 25


def _model(**options: Any) -> AUFormer:
    torch.manual_seed(0)
    return AUFormer("vit_tests_token", NAMES, **{"expert_width": 2, "img_size": 64, **options})


def _images(model: AUFormer) -> Tensor:
    return torch.rand(2, 3, *model.image_size, generator=torch.Generator().manual_seed(1))


def _objective(model: AUFormer) -> Tensor:
    logits, experts = model.forward_all(_images(model).to(model.dtype))
    assert experts is not None
    return logits.sin().sum() + experts.sin().sum()


def _silent(options: dict[str, Any]) -> set[str]:
    """A softmax does not see a bias of all keys; over one neighbour it is 1, so queries and keys do not count at all."""
    return {"query.weight", "query.bias", "key.weight", "key.bias"} if options.get("window") == 1 else {"key.bias"}


@pytest.mark.parametrize(("options", "expert"), PARTS)
def test_trained_parameters_by_hand(options: dict[str, Any], expert: int) -> None:
    assert _model(**options).num_parameters()[0] == 4 * 3 * expert + HEADS


def test_without_expert_heads_their_parameters_are_not_there() -> None:
    assert _model(expert_heads=False).num_parameters()[0] == 4 * 3 * PARTS[0][1] + HEADS - 3 * 25


@pytest.mark.parametrize("options", [options for options, _ in PARTS])
def test_a_step_moves_what_is_trained_and_not_a_bit_of_the_vit(options: dict[str, Any]) -> None:
    model = _model(**options)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):  # up-projections start at zero, so what lies before them moves from the second step on
        optimizer.zero_grad()
        _objective(model).backward()
        optimizer.step()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    trained = {key for key, _ in model.named_parameters() if not key.startswith("backbone.")}
    assert moved <= trained and all(key.partition(".")[2][2:] in _silent(options) for key in trained - moved)


@pytest.mark.parametrize("options", [options for options, _ in PARTS])
def test_gradients_reach_every_part_that_can_matter(options: dict[str, Any]) -> None:
    model = _model(**options).double()
    with torch.no_grad():
        for group in model.groups:
            group.up.weight.normal_(std=0.3)
    _objective(model).backward()
    for group in model.groups:
        for name, parameter in group.named_parameters():
            assert parameter.grad is not None and (float(parameter.grad.abs().max()) > 1e-10) == (
                name not in _silent(options)
            ), name
    assert all(parameter.grad is None for parameter in model.backbone.parameters())

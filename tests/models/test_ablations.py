"""Ablations of AUFormer as options of the one implementation: each against its plain form, and through files, caches
and transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auformer.errors import CheckpointError
from auformer.models import AUFormer, load_adapter, load_detector, save_adapter
from auformer.models.adapter_file import describe
from auformer.models.auformer import places, transfer_experts
from auformer.models.checkpoints import check_header
from tests.helpers.reference import PlainAUFormer
from tests.models.test_experts import _compare, _shaken

NAMES = ("AU1", "AU4", "AU12")
OPTIONS: list[dict[str, Any]] = [
    {"experts_beside": "attention"},
    {"experts_beside": "mlp"},
    {"carry": False},
    {"shared_expert": True},
    {"blocks": "first_half"},
    {"blocks": "last_half"},
    {"experts_beside": "mlp", "blocks": "last_half", "shared_expert": True},
    {
        "experts_beside": "attention",
        "carry": False,
        "shared_expert": True,
        "dilations": (),
        "window": 0,
        "expert_heads": False,
    },
]
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
# of width 2: down 24 * 2 + 2 = 50, a 3 x 3 map 2 * 2 * 9 + 2 = 38, fusing three of them 6 * 2 + 2 = 14, a 1 x 1 map 2 *
# 2 + 2 = 6, up 72
GROUPS = [2, 2, 4, 4, 2, 2, 1, 2]  # of two blocks
EXPERT = (24 * 2 + 2) + (2 * 2 * 9 + 2) + 3 * (2 * 2 * 9 + 2) + (6 * 2 + 2) + 3 * (2 * 2 + 2) + (2 * 24 + 24)  # width 2


def _model(seed: int = 0, names: tuple[str, ...] = NAMES, **options: Any) -> AUFormer:
    torch.manual_seed(seed)
    return AUFormer("vit_tests_token", names, **{"expert_width": 2, **options})


def _images(model: AUFormer) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(model.dtype)


@pytest.mark.parametrize("options", OPTIONS)
def test_fused_equals_plain(options: dict[str, Any]) -> None:
    _compare(_shaken(_model(**options)))


@pytest.mark.parametrize("options", OPTIONS)
def test_predicting_with_kept_maps_is_the_same(options: dict[str, Any]) -> None:
    model = _shaken(_model(**options)).eval()
    for _ in range(2):
        with torch.no_grad():
            got = model(_images(model))
        assert torch.allclose(got, PlainAUFormer(model).forward_all(_images(model))[0], atol=1e-10, rtol=0)
        with torch.no_grad():
            model.groups[0].up.weight.mul_(-2)  # the next group's kept maps are made of it too, where it is handed on


@pytest.mark.parametrize(
    ("options", "groups", "expert"),
    [
        *((options, groups, EXPERT) for options, groups in zip(OPTIONS[:7], GROUPS, strict=False)),
        *((options, 4, expert) for options, expert in PARTS),
        ({"expert_heads": False}, 4, EXPERT),
    ],
)
def test_trained_parameters_by_hand(options: dict[str, Any], groups: int, expert: int) -> None:
    head, expert_heads = 24 * 6 + 6 + 6 * 3 + 3, 3 * 25 * options.get("expert_heads", True)
    experts = 1 if options.get("shared_expert") else 3
    assert _model(**options).num_parameters()[0] == groups * experts * expert + head + expert_heads


@pytest.mark.parametrize("options", [options for options, _ in PARTS])
def test_gradients_reach_every_part_that_can_matter(options: dict[str, Any]) -> None:
    """A softmax does not see a bias of all keys; over one neighbour it is 1, so queries and keys do not count at
    all."""
    silent = {"query.weight", "query.bias", "key.weight", "key.bias"} if options.get("window") == 1 else {"key.bias"}
    model = _model(img_size=64, **options).double()
    with torch.no_grad():
        for group in model.groups:
            group.up.weight.normal_(std=0.3)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    sum(logits.sin().sum() for logits in model.forward_all(images)).backward()  # type: ignore[union-attr]
    for group in model.groups:
        for name, parameter in group.named_parameters():
            assert (float(parameter.grad.abs().max()) > 1e-10) == (name not in silent), name
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@pytest.mark.parametrize("options", OPTIONS)
def test_a_fresh_one_is_the_plain_vit_and_only_what_is_trained_moves(options: dict[str, Any]) -> None:
    model = _model(**options)
    with model.disable_experts():
        wanted = model.backbone.norm(model.tokens(_images(model))[0])
    assert torch.equal(model.backbone.norm(model.tokens(_images(model))[0]), wanted)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        logits, experts = model.forward_all(_images(model))
        (logits.square().sum() + (0 if experts is None else (experts - 1).square().sum())).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {key for key, _ in model.named_parameters() if not key.startswith("backbone.")}


@pytest.mark.parametrize("options", OPTIONS)
def test_adapter_file_brings_it_back_and_fits_no_other(options: dict[str, Any], tmp_path: Path) -> None:
    model = _shaken(_model(**options)).float().eval()
    save_file(model.backbone.state_dict(), tmp_path / "vit.safetensors")
    save_adapter(tmp_path / "adapter.safetensors", model)
    again = load_detector(tmp_path, backbone_checkpoint=tmp_path / "vit.safetensors")
    assert again.arguments == model.arguments
    with torch.no_grad():
        assert torch.equal(again(_images(model)), model(_images(model)))
    with pytest.raises(CheckpointError):
        load_adapter(tmp_path / "adapter.safetensors", _model())
    assert set(load_file(tmp_path / "adapter.safetensors")) == set(model.adapter_state_dict())


def test_without_options_a_header_of_before_fits() -> None:
    """Files written before these options were there do not name them."""
    for options, fits in (({}, True), ({"carry": False}, False), ({"experts_beside": "mlp"}, False)):
        header = describe(_model())
        for name in ("experts_beside", "carry", "shared_expert", "blocks"):
            del header["arguments"][name]
        if fits:
            check_header(header, _model(**options), "an old file")
        else:
            with pytest.raises(CheckpointError, match="carry|experts_beside"):
                check_header(header, _model(**options), "an old file")


def test_where_the_groups_are() -> None:
    def numbers(*arguments: Any) -> list[int]:
        return [number for number, there in enumerate(places(*arguments)) if there]

    assert numbers(3, "both", "all") == [0, 1, 2, 3, 4, 5]
    assert numbers(3, "attention", "all") == [0, 2, 4] and numbers(3, "mlp", "all") == [1, 3, 5]
    assert numbers(3, "both", "first_half") == [0, 1, 2, 3] and numbers(3, "both", "last_half") == [4, 5]
    assert numbers(4, "mlp", "last_half") == [5, 7]


def test_one_experts_weights_of_a_shared_expert_are_everyones() -> None:
    model, other = _shaken(_model(shared_expert=True)), _shaken(_model(1, shared_expert=True))
    first, last = (model.expert_weights(1, name) for name in ("AU1", "AU12"))
    assert all(torch.equal(first[key], last[key]) for key in first) and first["down.weight"].shape == (2, 24)
    model.load_expert_weights(1, "AU4", other.expert_weights(1, "AU12"))
    assert torch.equal(model.groups[1].up.weight, other.groups[1].up.weight)
    with pytest.raises(ValueError, match="a group from 0 to 1"):
        _model(experts_beside="mlp").expert_weights(2, "AU1")


def test_transfer_between_networks_of_the_same_options() -> None:
    for options in ({"carry": False}, {"shared_expert": True}, {"blocks": "last_half"}):
        source, target = _model(0, **options), _model(0, ("AU12", "AU2"), **options)
        with torch.no_grad():
            source.groups[0].down.weight.normal_()
        assert transfer_experts(source, target) == ["AU12"]
        moved = target.expert_weights(0, "AU12")["down.weight"]
        assert torch.equal(moved, source.expert_weights(0, "AU12")["down.weight"])
        with pytest.raises(CheckpointError, match=f"`{next(iter(options))}`"):
            transfer_experts(source, _model())


@pytest.mark.parametrize(
    "wrong", [{"experts_beside": "norm"}, {"experts_beside": None}, {"blocks": "half"}, {"blocks": ["all"]}]
)
def test_places_that_are_not_there_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected `.*` to be one of"):
        _model(**wrong)
    with pytest.raises(ValueError, match="one block"):
        AUFormer("vit_tests_single", NAMES, blocks="last_half")

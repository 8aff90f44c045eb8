"""Ablations of AUFormer as options of the one implementation: each against its plain form, and through files, caches
and transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from auformer.errors import CheckpointError
from auformer.models import AUFormer, load_adapter, load_detector, save_adapter
from auformer.models.adapter_file import describe
from auformer.models.auformer import places, transfer_experts
from auformer.models.checkpoints import check_header
from tests.helpers import vits
from tests.helpers.reference import PlainAUFormer, compare
from tests.helpers.vits import images_for, shaken

NAMES = ("AU1", "AU4", "AU12")
ALL_AT_ONCE = {"experts_beside": "attention", "carry": False, "shared_expert": True, "dilations": (), "window": 0}
OPTIONS: list[tuple[dict[str, Any], int]] = [  # with the number of groups on two blocks
    ({"experts_beside": "attention"}, 2),
    ({"experts_beside": "mlp"}, 2),
    ({"carry": False}, 4),
    ({"shared_expert": True}, 4),
    ({"blocks": "first_half"}, 2),
    ({"blocks": "last_half"}, 2),
    ({"experts_beside": "mlp", "blocks": "last_half", "shared_expert": True}, 1),
    ({**ALL_AT_ONCE, "expert_heads": False}, 2),
]
each_option = pytest.mark.parametrize("options", [options for options, _ in OPTIONS])
# of width 2: down 24 * 2 + 2 and up 2 * 24 + 24, a 3 x 3 map 2 * 2 * 9 + 2, a 1 x 1 map 2 * 2 + 2
ENDS, MAP, POINT = 50 + 72, 38, 6
EXPERT = ENDS + MAP + (3 * MAP + 14) + 3 * POINT  # 14: fusing three of them, 6 * 2 + 2
PARTS: list[tuple[dict[str, Any], int]] = [  # with the parameters of one expert
    ({}, EXPERT),
    ({"dilations": ()}, ENDS + MAP + 3 * POINT),
    ({"dilations": (1,)}, ENDS + MAP + (MAP + 6) + 3 * POINT),
    ({"dilations": (1, 3)}, ENDS + MAP + (2 * MAP + 10) + 3 * POINT),
    ({"window": 0}, EXPERT - 3 * POINT),
    ({"window": 1}, EXPERT),
    ({"window": 5}, EXPERT),
    ({"dilations": (), "window": 0}, ENDS + MAP),
    ({"pool": "token"}, EXPERT),
    ({"average_heads": False}, EXPERT),
    ({"expert_width": 4}, (24 * 4 + 4) + (4 * 4 * 9 + 4) + (3 * 148 + 12 * 4 + 4) + 3 * 20 + (4 * 24 + 24)),
    ({"expert_width": 1}, (24 + 1) + (9 + 1) + (3 * 10 + 3 + 1) + 3 * 2 + (24 + 24)),
]


def _model(seed: int = 0, names: tuple[str, ...] = NAMES, **options: Any) -> AUFormer:
    return vits.network("token", names, seed=seed, **options)


@each_option
def test_fused_equals_plain_with_and_without_kept_maps(options: dict[str, Any]) -> None:
    model = shaken(_model(**options).double()).eval()
    compare(model)
    for _ in range(2):
        with torch.no_grad():
            got = model(images_for(model))
        assert torch.allclose(got, PlainAUFormer(model).forward_all(images_for(model))[0], atol=1e-10, rtol=0)
        with torch.no_grad():
            model.groups[0].up.weight.mul_(-2)  # the next group's kept maps are made of it too, where it is handed on


@pytest.mark.parametrize(
    ("options", "groups", "expert"),
    [
        *((options, groups, EXPERT) for options, groups in OPTIONS[:-1]),
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
    sum(logits.sin().sum() for logits in model.forward_all(images_for(model))).backward()  # type: ignore[union-attr]
    for group in model.groups:
        for name, parameter in group.named_parameters():
            assert (float(parameter.grad.abs().max()) > 1e-10) == (name not in silent), name
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in vits.FIT), *(("token", options) for options, _ in OPTIONS)]
)
def test_a_fresh_one_is_the_plain_vit_and_only_what_is_trained_moves(name: str, options: dict[str, Any]) -> None:
    model = vits.network(name, NAMES, **options)
    images = images_for(model)
    assert torch.equal(model.backbone.norm(model.tokens(images)[0]), vits.timm_features(model, images))
    # the last group's last output is all that the main head sees of it: every map moves
    assert vits.trained(model) == {key for key, _ in model.named_parameters() if not key.startswith("backbone.")}
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@each_option
def test_adapter_file_brings_it_back_and_fits_no_other(options: dict[str, Any], tmp_path: Path) -> None:
    model = shaken(_model(**options)).eval()
    save_file(model.backbone.state_dict(), tmp_path / "vit.safetensors")
    save_adapter(tmp_path / "adapter.safetensors", model)
    again = load_detector(tmp_path, backbone_checkpoint=tmp_path / "vit.safetensors")
    assert again.arguments == model.arguments
    with torch.no_grad():
        assert torch.equal(again(images_for(model)), model(images_for(model)))
    with pytest.raises(CheckpointError):
        load_adapter(tmp_path / "adapter.safetensors", _model())


def test_without_options_a_header_of_before_fits() -> None:
    """Files written before these options were there do not name them."""
    header = describe(_model())
    for name in ("experts_beside", "carry", "shared_expert", "blocks"):
        del header["arguments"][name]
    check_header(header, _model(), "an old file")
    for options in ({"carry": False}, {"experts_beside": "mlp"}):
        with pytest.raises(CheckpointError, match=next(iter(options))):
            check_header(header, _model(**options), "an old file")


@pytest.mark.parametrize(
    ("arguments", "groups"),
    [
        ((3, "both", "all"), [0, 1, 2, 3, 4, 5]), ((3, "attention", "all"), [0, 2, 4]), ((3, "mlp", "all"), [1, 3, 5]),
        ((3, "both", "first_half"), [0, 1, 2, 3]), ((3, "both", "last_half"), [4, 5]),
        ((4, "mlp", "last_half"), [5, 7]),
    ],
)  # fmt: skip
def test_where_the_groups_are(arguments: tuple[Any, ...], groups: list[int]) -> None:
    assert [number for number, there in enumerate(places(*arguments)) if there] == groups


def test_one_experts_weights_of_a_shared_expert_are_everyones() -> None:
    model, other = (shaken(_model(shared_expert=True), seed=seed) for seed in (1, 2))
    first, last = (model.expert_weights(1, name) for name in ("AU1", "AU12"))
    assert all(torch.equal(first[key], last[key]) for key in first) and first["down.weight"].shape == (2, 24)
    model.load_expert_weights(1, "AU4", other.expert_weights(1, "AU12"))
    assert torch.equal(model.groups[1].up.weight, other.groups[1].up.weight)
    with pytest.raises(ValueError, match="a group from 0 to 1"):
        _model(experts_beside="mlp").expert_weights(2, "AU1")


@pytest.mark.parametrize("options", [{"carry": False}, {"shared_expert": True}, {"blocks": "last_half"}])
def test_transfer_between_networks_of_the_same_options(options: dict[str, Any]) -> None:
    source, target = shaken(_model(**options)), _model(0, ("AU12", "AU2"), **options)
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
        vits.network("single", NAMES, blocks="last_half")

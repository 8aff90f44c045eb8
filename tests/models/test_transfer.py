"""Experts of one AUFormer as the start of another, and one expert's weights by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from auformer.errors import CheckpointError
from auformer.models import AUFormer, LinearProbe
from auformer.models.auformer import continue_from, transfer_experts
from tests.helpers import vits
from tests.helpers.vits import moved, shaken, state_of

NAMES = ["AU1", "AU2", "AU12"]


def network(au_names: list[str], seed: int, **arguments: Any) -> AUFormer:
    """The ViT is the same whatever the seed."""
    return shaken(vits.network("token", au_names, **arguments), std=1.0, seed=seed)


def test_shared_experts_come_over_and_nothing_else() -> None:
    source, target = network(["AU1", "AU4", "AU12"], 1), network(["AU12", "AU17", "AU1"], 2)
    before = state_of(target)
    own = [target.expert_weights(group, "AU17") for group in range(4)]
    assert transfer_experts(source, target) == ["AU12", "AU1"]
    for group in range(4):
        for au in ("AU1", "AU12"):
            wanted = source.expert_weights(group, au)
            torch.testing.assert_close(target.expert_weights(group, au), wanted, rtol=0, atol=0)
        torch.testing.assert_close(target.expert_weights(group, "AU17"), own[group], rtol=0, atol=0)
    assert all(name.startswith(("groups.", "expert_heads.")) for name in moved(target, before))
    assert torch.equal(target.expert_heads.weight[0], source.expert_heads.weight[2])
    assert torch.equal(target.expert_heads.bias[2], source.expert_heads.bias[0])
    assert torch.equal(target.expert_heads.weight[1], before["expert_heads.weight"][1])


@pytest.mark.parametrize("form", ["none", "ordinal", "regression"])
def test_one_who_continues_predicts_as_the_source_did(form: str) -> None:
    """The same AUs in another order: every output is the source's, as the mean over experts has no order."""
    source, target = (
        network(["AU1", "AU4", "AU12"], 1, intensity=form),
        network(["AU12", "AU1", "AU4"], 2, intensity=form),
    )
    source.set_feature_statistics(torch.rand(24), torch.rand(24) + 0.5)
    images = torch.rand(2, 3, 32, 32)
    assert continue_from(source, target) == ["AU12", "AU1", "AU4"] and target.has_feature_statistics
    with torch.no_grad():
        wanted, got = source.outputs(images), target.outputs(images)
    assert wanted.keys() == got.keys()
    for name, values in wanted.items():
        torch.testing.assert_close(got[name], values[:, [2, 0, 1]], rtol=1e-4, atol=1e-4)


def test_rows_of_unknown_aus_keep_their_start() -> None:
    source, target = network(["AU1", "AU4"], 1), network(["AU17", "AU4"], 2)
    before = state_of(target)
    assert continue_from(source, target) == ["AU4"]
    after = state_of(target)
    assert torch.equal(after["head.fc2.weight"][0], before["head.fc2.weight"][0])
    assert torch.equal(after["head.fc2.weight"][1], source.head.fc2.weight[1])
    assert torch.equal(after["head.fc1.weight"], source.head.fc1.weight)


def test_expert_logits_of_moved_experts_are_the_same_up_to_the_mean_over_experts() -> None:
    """With one AU on both sides nothing is left that could differ but the main head."""
    source, target = network(["AU4"], 1), network(["AU4"], 2)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(source.forward_all(images)[1], target.forward_all(images)[1])
        transfer_experts(source, target)
        torch.testing.assert_close(source.forward_all(images)[1], target.forward_all(images)[1])


def test_what_does_not_fit_is_refused_before_anything_changes() -> None:
    target = network(["AU1", "AU4"], 2)
    before = state_of(target)
    other_vit = vits.network("token", ["AU1"], seed=5)
    cases = {
        r"`expert_width` 2, but got 3; set `network.expert_width`": network(["AU1"], 1, expert_width=3),
        r"`dilations` \[1, 3, 5\], but got \[1\]": network(["AU1"], 1, dilations=(1,)),
        "experts for AU1, AU4, but got AU12": network(["AU12"], 1),
        "same frozen weights": other_vit,
        "AUFormers to move experts between, but got LinearProbe": LinearProbe("vit_tests_token", ["AU1"]),
    }
    for message, source in cases.items():
        with pytest.raises(CheckpointError, match=message):
            transfer_experts(source, target)
    assert not moved(target, before)


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        ({}, ()), ({"dilations": ()}, ("dilated", "fuse")), ({"window": 0}, ("query", "key", "value")),
        ({"dilations": (2, 7)}, ("dilated.2",)),
    ],
)  # fmt: skip
def test_names_and_shapes(arguments: dict[str, object], absent: tuple[str, ...]) -> None:
    count = len(arguments.get("dilations", (1, 3, 5)))  # type: ignore[arg-type]
    wanted = {"down": (2, 24), "conv": (2, 2, 3, 3), "query": (2, 2), "key": (2, 2), "value": (2, 2), "up": (24, 2)}
    wanted |= {f"dilated.{i}": (2, 2, 3, 3) for i in range(3)} | {"fuse": (2, 2 * count)}
    got = network(NAMES, 0, **arguments).expert_weights(1, "AU2")
    shapes = [(name, shape) for name, shape in wanted.items() if not name.startswith(absent or "none")]
    wanted = {f"{name}.weight": shape for name, shape in shapes} | {f"{name}.bias": shape[:1] for name, shape in shapes}
    assert {name: tuple(tensor.shape) for name, tensor in got.items()} == wanted


def test_an_experts_weights_come_out_as_copies_and_go_in_whatever_their_type() -> None:
    model, other = network(NAMES, 0), network(NAMES, 1).double()
    before = state_of(model)
    for g in range(4):
        for name in model.au_names:
            weights = model.expert_weights(g, name)
            assert not any(tensor.requires_grad for tensor in weights.values())
            model.load_expert_weights(g, name, weights)
            weights["down.weight"].zero_()
    assert not moved(model, before)
    model.load_expert_weights(0, "AU1", other.expert_weights(0, "AU1"))
    up = model.expert_weights(0, "AU1")["up.weight"]
    assert up.dtype == torch.float32 and torch.allclose(up.double(), other.expert_weights(0, "AU1")["up.weight"])


def test_what_does_not_fit_changes_nothing() -> None:
    model = network(NAMES, 0)
    weights = model.expert_weights(0, "AU1")
    before = state_of(model)
    changed = {name: tensor + 1 for name, tensor in weights.items()}
    for bad, match in (
        ({name: tensor for name, tensor in changed.items() if name != "up.bias"}, "up.bias"),
        ({**changed, "extra": torch.zeros(1)}, "extra"),
        ({**changed, "up.weight": torch.zeros(2, 24)}, "up.weight"),
        ({**changed, "up.weight": torch.zeros(24, 2, dtype=torch.int64)}, "up.weight"),
    ):
        with pytest.raises(ValueError, match=match):
            model.load_expert_weights(0, "AU1", bad)
    for g, name in ((4, "AU1"), (-1, "AU1"), ("0", "AU1"), (0, "AU4"), (0, "au1")):
        with pytest.raises(ValueError, match="Expected `(g|au_name)`"):
            model.expert_weights(g, name)  # type: ignore[arg-type]
    assert not moved(model, before)

from __future__ import annotations

import pytest
import torch

from auformer.errors import CheckpointError
from auformer.models import AUFormer, LinearProbe
from auformer.models.auformer import transfer_experts


def network(au_names: list[str], seed: int, **arguments) -> AUFormer:
    torch.manual_seed(0)
    built = AUFormer("vit_tests_token", au_names, **{"expert_width": 2, **arguments})
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if not name.startswith("backbone."):
                parameter.normal_()
    return built


def test_shared_experts_come_over_and_nothing_else() -> None:
    source, target = network(["AU1", "AU4", "AU12"], 1), network(["AU12", "AU17", "AU1"], 2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    own = [target.expert_weights(group, "AU17") for group in range(4)]
    assert transfer_experts(source, target) == ["AU12", "AU1"]
    for group in range(4):
        for au in ("AU1", "AU12"):
            torch.testing.assert_close(
                target.expert_weights(group, au), source.expert_weights(group, au), rtol=0, atol=0
            )
        torch.testing.assert_close(target.expert_weights(group, "AU17"), own[group], rtol=0, atol=0)
    for name, tensor in target.state_dict().items():
        if not name.startswith(("groups.", "expert_heads.")):
            assert torch.equal(tensor, before[name]), name
    assert torch.equal(target.expert_heads.weight[0], source.expert_heads.weight[2])
    assert torch.equal(target.expert_heads.bias[2], source.expert_heads.bias[0])
    assert torch.equal(target.expert_heads.weight[1], before["expert_heads.weight"][1])


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
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    torch.manual_seed(5)
    other_vit = AUFormer("vit_tests_token", ["AU1"], expert_width=2)
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
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())

"""What AUFormer and the baselines share, and what each of them trains."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auformer.errors import CheckpointError
from auformer.models import AUFormer, AUNetwork, FullFineTuning, LinearProbe
from tests.helpers import vits

ALL: tuple[type[AUNetwork], ...] = (AUFormer, LinearProbe, FullFineTuning)


def _network(kind: type[AUNetwork], name: str = "stem", **arguments: object) -> AUNetwork:
    torch.manual_seed(0)
    return kind(f"vit_tests_{name}", ["AU1", "AU12", "AU4"], **arguments)  # type: ignore[arg-type]


def _images(network: AUNetwork, batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, *network.image_size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", ALL)
def test_what_every_network_says_about_itself(kind: type[AUNetwork]) -> None:
    network = _network(kind, img_size=(32, 48))
    assert network.au_names == ("AU1", "AU12", "AU4") and network.image_size == (32, 48)
    assert (
        network.thresholds == {"AU1": 0.5, "AU12": 0.5, "AU4": 0.5}
        and network.crop_recipe is None
        and network.metadata == {}
    )
    again = kind(**network.arguments)
    assert again.arguments == network.arguments
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == {
        k: t.shape for k, t in network.state_dict().items()
    }
    assert network(_images(network)).shape == (3, 3)
    logits = network.forward_all(_images(network)) if isinstance(network, AUFormer) else [network(_images(network))]
    assert torch.allclose(network.predict_probs(_images(network)), torch.stack(logits).sigmoid().mean(0))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", vits.FIT)
def test_pooled_features_are_those_of_the_plain_vit(kind: type[AUNetwork], name: str) -> None:
    """Mean of the patch tokens with timm's own norm before or after it; the normalisation is the backbone's."""
    network = _network(kind, name).eval()
    if isinstance(network, AUFormer):
        for group in network.groups:
            torch.nn.init.normal_(group.up.weight)
    vit, images = network.backbone, _images(network)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)
    wanted = vit.fc_norm(vit.forward_features((images - mean) / std)[:, vit.num_prefix_tokens :].mean(1))
    assert torch.allclose(network.pooled_features(images), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_feature_statistics_go_through_the_head_and_the_state(kind: type[AUNetwork]) -> None:
    network = _network(kind).eval()
    assert not network.has_feature_statistics
    features = network.pooled_features(_images(network)).detach()
    mean, std = features.mean(0), features.std(0)
    before = network(_images(network))
    network.set_feature_statistics(mean, std)
    assert network.has_feature_statistics and not torch.allclose(network(_images(network)), before)
    other = _network(kind).eval()
    other.load_adapter_state_dict(network.adapter_state_dict())
    assert other.has_feature_statistics and torch.equal(other(_images(network)), network(_images(network)))


def test_trainable_parameters_by_hand() -> None:
    vit = sum(p.numel() for p in _network(LinearProbe, "token").backbone.parameters())
    assert _network(LinearProbe, "token").num_parameters() == (24 * 3 + 3, vit + 24 * 3 + 3)
    head = 24 * 6 + 6 + 6 * 3 + 3
    assert _network(FullFineTuning, "token").num_parameters() == (vit + head, vit + head)


def test_the_exact_set_of_adapter_keys() -> None:
    parts = ["down", "conv", "dilated.0", "dilated.1", "fuse", "query", "key", "value", "up"]
    keys = {f"groups.{g}.{part}.{kind}" for g in range(4) for part in parts for kind in ("weight", "bias")}
    keys |= {f"head.{part}.{kind}" for part in ("fc1", "fc2") for kind in ("weight", "bias")}
    keys |= {f"head.standardise.{part}" for part in ("mean", "std", "measured")}
    keys |= {"expert_heads.weight", "expert_heads.bias"}
    assert set(_network(AUFormer, dilations=(1, 2)).adapter_state_dict()) == keys
    probe = {"head.fc.weight", "head.fc.bias", *(f"head.standardise.{part}" for part in ("mean", "std", "measured"))}
    assert set(_network(LinearProbe).adapter_state_dict()) == probe
    full = _network(FullFineTuning)
    assert (
        set(full.adapter_state_dict())
        == set(full.state_dict())
        >= {f"backbone.{key}" for key in full.backbone.state_dict()}
    )


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    network = _network(AUFormer)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = {
        key: tensor + 1 if tensor.is_floating_point() else tensor
        for key, tensor in network.adapter_state_dict().items()
    }
    for bad, match in (
        (
            {key: tensor for key, tensor in state.items() if key != "groups.2.up.bias"},
            r"missing keys groups\.2\.up\.bias",
        ),
        ({**state, "backbone.cls_token": torch.zeros(1)}, r"unexpected keys backbone\.cls_token"),
        ({**state, "expert_heads.bias": torch.zeros(4)}, r"expert_heads\.bias.*\(3,\).*\(4,\)"),
        ({**state, "expert_heads.bias": torch.zeros(3, dtype=torch.float16)}, "float32.*float16"),
        ({}, r"and [0-9]+ more"),
    ):
        with pytest.raises(CheckpointError, match=match):
            network.load_adapter_state_dict(bad)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())

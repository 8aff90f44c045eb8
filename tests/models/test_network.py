"""What AUFormer and the baselines share, and what each of them trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from auformer.models import AUFormer, AUNetwork, FullFineTuning, LinearProbe
from tests.helpers import vits
from tests.helpers.vits import images_for, shaken

ALL: tuple[type[AUNetwork], ...] = (AUFormer, LinearProbe, FullFineTuning)


def _network(kind: type[AUNetwork], name: str = "stem", **arguments: Any) -> Any:
    return vits.network(name, ["AU1", "AU12", "AU4"], kind, **arguments)


@pytest.mark.parametrize("kind", ALL)
def test_what_every_network_says_about_itself(kind: type[AUNetwork]) -> None:
    network = _network(kind, img_size=(32, 48))
    assert network.au_names == ("AU1", "AU12", "AU4") and network.image_size == (32, 48)
    assert network.thresholds == {"AU1": 0.5, "AU12": 0.5, "AU4": 0.5}
    assert network.crop_recipe is None and network.metadata == {}
    again = kind(**network.arguments)
    assert again.arguments == network.arguments
    shapes = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in (again, network)]
    assert shapes[0] == shapes[1]
    assert network(images_for(network, 3)).shape == (3, 3)
    logits = (
        network.forward_all(images_for(network, 3))
        if isinstance(network, AUFormer)
        else [network(images_for(network, 3))]
    )
    assert torch.allclose(network.predict_probs(images_for(network, 3)), torch.stack(logits).sigmoid().mean(0))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", vits.FIT)
def test_pooled_features_are_those_of_the_plain_vit(kind: type[AUNetwork], name: str) -> None:
    """Mean of the patch tokens with timm's own norm before or after it; the normalisation is the backbone's."""
    network = _network(kind, name).eval()
    if kind is AUFormer:
        shaken(network)
    vit, images = network.backbone, images_for(network, 3)
    wanted = vit.fc_norm(vits.timm_features(network, images)[:, vit.num_prefix_tokens :].mean(1))
    assert torch.allclose(network.pooled_features(images), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_feature_statistics_go_through_the_head_and_the_state(kind: type[AUNetwork]) -> None:
    network = _network(kind).eval()
    assert not network.has_feature_statistics
    features = network.pooled_features(images_for(network, 3)).detach()
    mean, std = features.mean(0), features.std(0)
    before = network(images_for(network, 3))
    network.set_feature_statistics(mean, std)
    assert network.has_feature_statistics and not torch.allclose(network(images_for(network, 3)), before)
    other = _network(kind).eval()
    other.load_adapter_state_dict(network.adapter_state_dict())
    assert other.has_feature_statistics and torch.equal(other(images_for(network, 3)), network(images_for(network, 3)))


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
    assert set(full.adapter_state_dict()) == set(full.state_dict())
    assert set(full.state_dict()) >= {f"backbone.{key}" for key in full.backbone.state_dict()}

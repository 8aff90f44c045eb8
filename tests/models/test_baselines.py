"""The baselines that adapt a frozen ViT: what they compute, how many parameters they train, what stays frozen, and
their adapter files."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from auformer.errors import CheckpointError, MissingExtraError
from auformer.models import (
    SSF,
    AdaptFormer,
    AUNetwork,
    BitFit,
    Convpass,
    HoulsbyAdapter,
    LastBlocks,
    LinearProbe,
    LoRA,
    VPTDeep,
    export_detector,
    load_detector,
    save_adapter,
)
from tests.helpers import vits  # registers tiny ViTs: width 24, 2 blocks, MLP of 48, patches of 16
from tests.helpers.runs import write_vit
from tests.helpers.vits import images_for, shaken

SIZES: dict[Any, dict[str, int]] = {
    LastBlocks: {"num_blocks": 1}, BitFit: {}, LoRA: {"rank": 2}, HoulsbyAdapter: {"width": 3},
    AdaptFormer: {"width": 3}, Convpass: {"width": 3}, VPTDeep: {"num_prompts": 2}, SSF: {},
}  # fmt: skip
HEAD = 24 * 6 + 6 + 6 * 2 + 2
# per block: biases of two norms, query-key-value, projection and two MLP maps
BIASES = 24 + 24 + 72 + 24 + 48 + 24
BLOCK = 2 * 48 + (24 * 72 + 72) + (24 * 24 + 24) + (24 * 48 + 48) + (48 * 24 + 24)
COUNTS = {
    LastBlocks: BLOCK + 48,  # and the final norm
    BitFit: 2 * BIASES + 24 + 24,  # and those of the final norm and the patch embedding
    LoRA: 2 * 2 * ((24 + 72) + (24 + 24) + (24 + 48) + (48 + 24)),
    HoulsbyAdapter: 4 * (24 * 3 + 3 + 3 * 24 + 24) + 5 * 48,  # five norms
    AdaptFormer: 2 * (24 * 3 + 3 + 3 * 24 + 24),
    Convpass: 4 * (24 * 3 + 3 + 3 * 3 * 9 + 3 + 3 * 24 + 24),
    VPTDeep: 2 * 2 * 24,
    SSF: 2 * (2 * (24 + 24 + 72 + 24 + 48 + 24) + 24 + 24),  # scale and shift: the blocks, patch embedding, final norm
}
ALL = list(SIZES)


def _network(kind: Any, name: str = "token", **arguments: Any) -> Any:
    return vits.network(name, ["AU1", "AU12"], kind, **SIZES[kind], **arguments)


def _plain(network: AUNetwork) -> Any:
    """The plain ViT as it was when the network was built from seed 0."""
    return vits.network(network.backbone_name.removeprefix("vit_tests_"), kind=LinearProbe).to(network.dtype)


@pytest.mark.parametrize("kind", ALL)
def test_trained_parameters_by_hand(kind: Any) -> None:
    network = _network(kind)
    assert network.num_parameters()[0] == COUNTS[kind] + HEAD
    state = network.adapter_state_dict()
    statistics = {f"head.standardise.{name}" for name in ("mean", "std", "measured")}
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert set(state) == trained | statistics
    assert set(state) | network.frozen_names() == set(network.state_dict())


@pytest.mark.parametrize("name", ["token", "reg4", "gap_norm", "drop", "stem", *vits.ROTARY])
@pytest.mark.parametrize("kind", ALL)
def test_a_fresh_one_equals_the_plain_vit_where_the_method_says_so(kind: Any, name: str) -> None:
    if kind is VPTDeep and name in vits.ROTARY:
        with pytest.raises(ValueError, match="without rotary embedding"):
            _network(kind, name)
        return
    network = _network(kind, name)
    if kind is SSF:
        with torch.no_grad():
            for each in network.scales.values():
                each.scale.fill_(1.0)
                each.shift.zero_()
    difference = (network.tokens(images_for(network)) - _plain(network).plain_tokens(images_for(network))).abs().max()
    assert difference == 0 if kind is not VPTDeep else difference > 1e-4


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, name in product(ALL, ("token", "stem", "diff", *vits.ROTARY))
        if kind is not VPTDeep or name not in vits.ROTARY
    ],
)
def test_training_reaches_what_is_trained_and_not_a_bit_of_the_rest(kind: Any, name: str) -> None:
    network = _network(kind, name)
    assert network.training and not any(module.training for module in network.backbone.modules())
    moved = vits.trained(network)
    assert moved == {key for key, parameter in network.named_parameters() if parameter.requires_grad}
    assert moved & network.frozen_names() == set()


@pytest.mark.parametrize("kind", ALL)
def test_it_trains_under_autocast(kind: Any) -> None:
    network = shaken(_network(kind, "reg4"), 0.02)
    exact = network(images_for(network))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images_for(network))
    assert torch.allclose(logits.float(), exact, atol=0.1)
    logits.float().square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.requires_grad]
    assert all(grad is not None and bool(grad.isfinite().all() and grad.any()) for grad in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LoRA, SSF, Convpass])
def test_it_leaves_as_a_program_of_torch(kind: Any, tmp_path: Path) -> None:
    """Hooks and peft's layers go with it."""
    network = shaken(_network(kind, "reg4")).eval()
    program = torch.export.load(export_detector(network, tmp_path / "baseline.pt2", kind="torch")).module()
    assert torch.allclose(program(images_for(network)), network.predict_probs(images_for(network)), atol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_its_adapter_file_brings_it_back(kind: Any, tmp_path: Path) -> None:
    weights = write_vit(tmp_path / "vit.safetensors", "vit_tests_reg4", img_size=28)
    network = shaken(_network(kind, "reg4", checkpoint_path=weights)).eval()
    save_adapter(tmp_path / "adapter.safetensors", network)
    again = load_detector(tmp_path, backbone_checkpoint=weights)
    assert type(again) is kind and again.arguments == network.arguments
    assert torch.equal(again(images_for(network)), network(images_for(network)))
    assert again.fingerprint == network.fingerprint and again.frozen_names() == network.frozen_names()
    other = write_vit(tmp_path / "other.safetensors", "vit_tests_reg4", seed=1, img_size=28)
    with pytest.raises(CheckpointError, match="other frozen weights"):
        load_detector(tmp_path, backbone_checkpoint=other)


@pytest.mark.parametrize("kind", ALL)
def test_copies_are_networks_of_their_own(kind: Any) -> None:
    network = shaken(_network(kind)).eval()
    images = images_for(network)
    before = network(images)
    twin = copy.deepcopy(network)
    assert torch.equal(twin(images), before)
    shaken(twin)
    assert torch.equal(network(images), before) and not torch.allclose(twin(images), before)


def _blocks(network: Any, change: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
    """The ViT written out, with `change(number, normed tokens, output)` for each sub-layer."""
    x = network.embed(images_for(network))
    for number, block in enumerate(network.backbone.blocks):
        y = block.norm1(x)
        x = x + change(2 * number, y, block.ls1(block.attn(y)))
        y = block.norm2(x)
        x = x + change(2 * number + 1, y, block.ls2(block.mlp(y)))
    return x


def _affine(module: Any, x: Tensor) -> Tensor:
    return torch.einsum("...i,oi->...o", x, module.weight) + module.bias


@pytest.mark.parametrize("name", ["token", "reg4"])
def test_houlsby_is_in_series_with_both_sub_layers(name: str) -> None:
    network = shaken(_network(HoulsbyAdapter, name).double())

    def change(number: int, y: Tensor, out: Tensor) -> Tensor:
        each = network.adapters[number]
        return out + _affine(each.up, F.gelu(_affine(each.down, out)))

    assert torch.allclose(network.tokens(images_for(network)), _blocks(network, change), atol=1e-10, rtol=0)


def test_adaptformer_is_a_tenth_beside_the_mlp() -> None:
    network = shaken(_network(AdaptFormer, "reg4").double())

    def change(number: int, y: Tensor, out: Tensor) -> Tensor:
        each = network.bottlenecks[number // 2]
        return out if number % 2 == 0 else out + 0.1 * _affine(each.up, _affine(each.down, y).clamp_min(0))

    assert torch.allclose(network.tokens(images_for(network)), _blocks(network, change), atol=1e-10, rtol=0)


def test_convpass_sees_prefix_tokens_as_images_of_one_pixel() -> None:
    network = shaken(_network(Convpass, "reg4", img_size=(28, 42)).double())

    def change(number: int, y: Tensor, out: Tensor) -> Tensor:
        each, added = network.bypasses[number], torch.zeros_like(out)
        h = F.gelu(_affine(each.down, y)).transpose(1, 2)
        for token in range(5):
            added[:, token] = _affine(each.up, F.gelu(each.conv(h[:, :, token, None, None])).flatten(1))
        grid = F.gelu(each.conv(h[:, :, 5:].reshape(2, 3, 2, 3)))
        added[:, 5:] = _affine(each.up, grid.flatten(2).transpose(1, 2))
        return out + added

    assert torch.allclose(network.tokens(images_for(network)), _blocks(network, change), atol=1e-10, rtol=0)


def test_lora_adds_a_product_to_every_linear_map_of_the_blocks() -> None:
    network = shaken(_network(LoRA, "token").double())
    merged = _plain(network)
    state, own = merged.backbone.state_dict(), network.backbone.state_dict()
    added = [name.removesuffix(".lora_A.default.weight") for name in own if ".lora_A." in name]
    maps = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert sorted(added) == sorted(f"blocks.{n}.{part}" for n, part in product((0, 1), maps))
    for name in added:
        state[f"{name}.weight"] += own[f"{name}.lora_B.default.weight"] @ own[f"{name}.lora_A.default.weight"]
    merged.backbone.load_state_dict(state)
    assert torch.allclose(
        network.tokens(images_for(network)), merged.plain_tokens(images_for(network)), atol=1e-10, rtol=0
    )


def test_lora_without_peft_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"\[peft\]"):
        _network(LoRA)


def test_prompts_of_a_block_are_dropped_after_it() -> None:
    network = shaken(_network(VPTDeep, "reg4").double())
    vit = network.backbone
    x = network.embed(images_for(network))
    for number, block in enumerate(vit.blocks):
        own = network.prompts[number].unsqueeze(0).repeat(2, 1, 1)
        x = block(torch.cat([x, own], 1))[:, :-2]  # attention does not see an order: behind all tokens is the same
    assert torch.allclose(network.tokens(images_for(network)), x, atol=1e-10, rtol=0)
    limit = (6 / (3 * 14 * 14 + 24)) ** 0.5
    fresh = _network(VPTDeep, "reg4").prompts.detach()
    assert fresh.abs().max() <= limit and float(fresh.std()) == pytest.approx(limit / 3**0.5, rel=0.2)


def test_ssf_is_the_vit_with_scales_and_shifts_folded_into_its_weights() -> None:
    network = shaken(_network(SSF, "token").double())
    folded = _plain(network)
    state = folded.backbone.state_dict()
    for name, each in network.scales.items():
        path = next(p for p, _ in network.backbone.named_modules() if p and p.replace(".", "_") == name)
        path = "patch_embed.proj" if path == "patch_embed" else path
        shape = (-1, *[1] * (state[f"{path}.weight"].ndim - 1))
        state[f"{path}.weight"] *= each.scale.view(shape)
        state[f"{path}.bias"] = state[f"{path}.bias"] * each.scale + each.shift
    folded.backbone.load_state_dict(state)
    tokens = network.tokens(images_for(network))
    assert torch.allclose(tokens, folded.plain_tokens(images_for(network)), atol=1e-10, rtol=0)
    assert torch.allclose(network.pool_tokens(tokens), folded.pooled_features(images_for(network)), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in ALL if SIZES[kind]])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, 10**9])
def test_sizes_out_of_range_are_refused(kind: Any, wrong: object) -> None:
    with pytest.raises(ValueError, match="Expected `.*` to be a whole number from 1"):
        kind("vit_tests_token", ["AU1"], **dict.fromkeys(SIZES[kind], wrong))

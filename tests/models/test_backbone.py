"""The frozen ViT: what is accepted, what is refused, local weight files, fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from auformer.errors import CheckpointError
from auformer.models.backbone import create_backbone, fingerprint, parse_image_size
from auformer.models.demo_vit import DEMO_WEIGHTS
from tests.helpers import vits
from tests.helpers.runs import Payload


@pytest.mark.parametrize("name", vits.FIT)
def test_what_fits_is_frozen_and_in_eval_mode(name: str) -> None:
    vit = create_backbone(f"vit_tests_{name}")
    assert not any(parameter.requires_grad for parameter in vit.parameters())
    assert not any(module.training for module in vit.modules())
    assert isinstance(vit.head, nn.Identity)


def test_a_map_pooling_head_is_removed() -> None:
    full, vit = timm.create_model("vit_tests_map", num_classes=0), create_backbone("vit_tests_map")
    kept = {name for name in full.state_dict() if not name.startswith("attn_pool.")}
    assert set(vit.state_dict()) == kept < set(full.state_dict()) and vit.attn_pool is None


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("swin_tiny_patch4_window7_224", "SwinTransformer .*SwinTransformerBlock"),
        ("convnext_atto", "ConvNeXt .*ConvNeXtBlock"),
        ("resnet18", "ResNet .*BasicBlock"),
        ("beit_base_patch16_224", "Beit .*Block"),
        ("vit_relpos_small_patch16_224", "VisionTransformerRelPos .*RelPosBlock"),
        ("deit_tiny_distilled_patch16_224", "VisionTransformerDistilled"),
        ("vit_base_patch16_rpn_224", "ResPostBlock"),
        ("vit_base_patch16_xp_224", "ParallelScalingBlock"),
        ("vit_tests_post_norm", "ResPostBlock"),
        ("vit_tests_parallel", "ParallelScalingBlock"),
        ("vit_tests_eva_post", "EvaBlockPostNorm"),
        ("vit_tests_no_norm", "neither `norm` nor `fc_norm`"),
    ],
)
def test_what_cannot_carry_experts_is_refused_by_name_and_block(name: str, block: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: .*{block}"):
        create_backbone(name)


def test_a_refusal_comes_before_weights_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fetch)
    with pytest.raises(ValueError, match="ParallelScalingBlock"):
        create_backbone("vit_tests_parallel", pretrained=True)
    with pytest.raises(ValueError, match="multiple of the patch size"):
        create_backbone("vit_tests_token", pretrained=True, img_size=40)


@pytest.mark.parametrize(
    "name",
    ["vit_tests_nothing", "hf-hub:timm/vit_tests_token", "local-dir:vit", "../vit", "vit_tests_token.no_such_tag"],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Expected `backbone` to be the name of a timm model"):
        create_backbone(name)


@pytest.mark.parametrize("size", [0, -32, 1.5, "32", (32,), (32, 32, 3), (32, 0), True, 10**9, (10**6, 32), [32, None]])
def test_image_sizes_out_of_range_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="Expected `img_size`"):
        parse_image_size(size)
    with pytest.raises(ValueError, match=r"Expected `img_size` to be .* vit_auformer_demo_112"):
        create_backbone("vit_auformer_demo_112", img_size=(112, 96))  # the stem cannot take it


def test_pretrained_weights_offline_say_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"test_vit\.r160_in1k.*network access.*checkpoint_path="):
        create_backbone("test_vit.r160_in1k", pretrained=True)


def test_the_packaged_weights_of_the_demo_backbone() -> None:
    """Offline, exactly what the file holds, in float32; within the bounds on size."""
    vit, stored = create_backbone("vit_auformer_demo_112", pretrained=True), load_file(DEMO_WEIGHTS)
    state = vit.state_dict()
    assert state.keys() == stored.keys() and vit.patch_embed.grid_size == (7, 7)
    assert all(torch.equal(tensor.to(stored[name].dtype), stored[name]) for name, tensor in state.items())
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.float32}
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    assert sum(parameter.numel() for parameter in vit.parameters()) <= 3_000_000
    assert DEMO_WEIGHTS.stat().st_size <= 6_000_000


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """A timm model with its classifier, at 32 px."""
    torch.manual_seed(1)
    return timm.create_model("vit_tests_reg4", num_classes=5, img_size=28).eval()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("size", [28, 56, (28, 42)])
def test_a_local_file_with_classifier_loads_at_any_image_size(
    classifier: nn.Module, tmp_path: Path, suffix: str, size: Any
) -> None:
    path, state = tmp_path / f"vit.{suffix}", classifier.state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save({"state_dict": state, "epoch": 3}, path)
    vit = create_backbone("vit_tests_reg4", checkpoint_path=path, img_size=size)
    loaded = vit.state_dict()
    assert loaded.keys() == {name for name in state if not name.startswith("head.")}
    wanted = state["pos_embed"]
    if size != 28:
        grid = wanted.reshape(1, 2, 2, 24).permute(0, 3, 1, 2)
        resampled = nn.functional.interpolate(grid, size=vit.patch_embed.grid_size, mode="bicubic", antialias=True)
        wanted = resampled.flatten(2).transpose(1, 2)
    assert torch.allclose(loaded["pos_embed"], wanted, atol=1e-6)
    assert all(torch.equal(loaded[name], state[name]) for name in loaded if name != "pos_embed")
    assert "state_dict" not in vit.pretrained_cfg  # the file must not stay in memory


def test_a_numpy_file_as_google_publishes_it_loads(tmp_path: Path) -> None:
    source = timm.create_model("vit_tests_token", num_classes=5).eval()
    create = {name: tensor.numpy() for name, tensor in source.state_dict().items()}
    flat = {
        "embedding/kernel": create["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": create["patch_embed.proj.bias"],
        "cls": create["cls_token"], "Transformer/posembed_input/pos_embedding": create["pos_embed"],
        "Transformer/encoder_norm/scale": create["norm.weight"], "Transformer/encoder_norm/bias": create["norm.bias"],
    }  # fmt: skip
    for index in range(2):
        block, to = f"Transformer/encoderblock_{index}/", f"blocks.{index}."
        heads = f"{block}MultiHeadDotProductAttention_1/"
        for norm, number in (("norm1", 0), ("norm2", 2)):
            flat[f"{block}LayerNorm_{number}/scale"] = create[f"{to}{norm}.weight"]
            flat[f"{block}LayerNorm_{number}/bias"] = create[f"{to}{norm}.bias"]
        weights, biases = (np.split(create[f"{to}attn.qkv.{kind}"], 3) for kind in ("weight", "bias"))
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            flat[f"{heads}{part}/kernel"] = weight.T.reshape(24, 2, 12)
            flat[f"{heads}{part}/bias"] = bias.reshape(2, 12)
        flat[f"{heads}out/kernel"] = create[f"{to}attn.proj.weight"].T.reshape(2, 12, 24)
        flat[f"{heads}out/bias"] = create[f"{to}attn.proj.bias"]
        for number in (0, 1):
            flat[f"{block}MlpBlock_3/Dense_{number}/kernel"] = create[f"{to}mlp.fc{number + 1}.weight"].T
            flat[f"{block}MlpBlock_3/Dense_{number}/bias"] = create[f"{to}mlp.fc{number + 1}.bias"]
    np.savez(tmp_path / "vit.npz", **flat)
    vit = create_backbone("vit_tests_token", checkpoint_path=tmp_path / "vit.npz")
    assert all(torch.allclose(tensor, source.state_dict()[name]) for name, tensor in vit.state_dict().items())
    larger = create_backbone("vit_tests_token", checkpoint_path=tmp_path / "vit.npz", img_size=64)
    assert larger.pos_embed.shape == (1, 17, 24)
    assert torch.allclose(larger.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


def test_files_that_do_not_fit_are_refused(classifier: nn.Module, tmp_path: Path) -> None:
    state = classifier.state_dict()

    def refuse(tensors: dict[str, object], match: str) -> None:
        torch.save(tensors, tmp_path / "vit.pth")
        with pytest.raises(CheckpointError, match=match):
            create_backbone("vit_tests_reg4", checkpoint_path=tmp_path / "vit.pth")

    part = {name: tensor for name, tensor in state.items() if name != "blocks.1.norm2.weight"}
    refuse(part, "blocks.1.norm2.weight")  # missing
    refuse({**state, "blocks.2.norm1.weight": state["norm.weight"]}, "blocks.2.norm1.weight")  # another depth
    refuse({**state, "norm.weight": torch.zeros(25)}, "norm.weight")  # another width
    refuse({**state, "payload": Payload()}, "vit.pth")
    (tmp_path / "vit.safetensors").write_bytes(b"nonsense")
    (tmp_path / "vit.npz").write_bytes(b"nonsense")
    for name in ("vit.safetensors", "vit.npz", "absent.pth"):
        with pytest.raises(CheckpointError, match=name):
            create_backbone("vit_tests_reg4", checkpoint_path=tmp_path / name)


def test_a_local_file_of_timms_eva_class_loads_at_any_image_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    full = timm.create_model("eva02_tiny_patch14_224", num_classes=3)
    save_file(full.state_dict(), tmp_path / "eva.safetensors")
    vit = create_backbone("eva02_tiny_patch14_224", checkpoint_path=tmp_path / "eva.safetensors", img_size=56)
    assert vit.patch_embed.grid_size == (4, 4) and vit.native_pos_embed == (1, 257, 192)
    own, state = vit.state_dict(), full.state_dict()
    same = [name for name in state if not name.startswith(("head.", "pos_embed"))]
    assert set(own) - set(same) == {"pos_embed"} and all(torch.equal(own[name], state[name]) for name in same)
    native = create_backbone("eva02_tiny_patch14_224", checkpoint_path=tmp_path / "eva.safetensors")
    assert fingerprint(vit) == fingerprint(native)


def test_the_fingerprint_is_the_documented_hash() -> None:
    vit = create_backbone("vit_tests_stem")
    digest = hashlib.sha256()
    for name in sorted(vit.state_dict()):
        tensor = vit.state_dict()[name]
        if name != "pos_embed" and tensor.is_floating_point():  # the batch counter of BatchNorm is no weight
            content = np.ascontiguousarray(tensor.numpy(), "<f4").tobytes()
            digest.update(f"{name} {list(tensor.shape)}\n".encode() + content)
    assert fingerprint(vit) == digest.hexdigest()


def test_the_fingerprint_sees_weights_and_not_position_embedding_or_type() -> None:
    vit = create_backbone("vit_tests_stem")
    first = fingerprint(vit)
    with torch.no_grad():
        vit.pos_embed.add_(1)
        assert fingerprint(vit) == first
        assert fingerprint(vit.double()) == first
        vit.patch_embed.backbone[0].bn.running_mean[0] += 1e-3
        assert fingerprint(vit) != first
        vit.patch_embed.backbone[0].bn.running_mean[0] = 0
        assert fingerprint(vit) == first
        vit.blocks[1].mlp.fc2.bias[3] += 1e-6
    assert fingerprint(vit) != first


def test_building_on_the_meta_device_allocates_nothing() -> None:
    with torch.device("meta"):
        assert fingerprint(create_backbone("vit_tests_token")) == ""

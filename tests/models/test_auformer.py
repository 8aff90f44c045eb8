"""AUFormer around a ViT: equal to timm to the bit without experts, frozen stays frozen, evidence maps, types."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from auformer.models import AUFormer
from tests.helpers import vits
from tests.helpers.reference import PlainAUFormer
from tests.helpers.vits import images_for, network, shaken, timm_features


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", vits.FIT)
def test_without_experts_the_block_loop_is_timms_to_the_bit(name: str, training: bool) -> None:
    model = shaken(network(name)).train(training)
    images = images_for(model)
    wanted = timm_features(model, images)
    with model.disable_experts():
        assert torch.equal(model.backbone.norm(model.tokens(images)[0]), wanted)
        assert torch.equal(model(images), model.head(model.pooled_features(images)))
        assert model.forward_all(images)[1] is None
    # experts do something, and they are back
    assert not torch.allclose(model.backbone.norm(model.tokens(images)[0]), wanted, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224", "test_vit2", "test_vit3", "vit_auformer_demo_112", "vit_small_patch14_reg4_dinov2",
        "vit_small_patch16_dinov3", "eva02_tiny_patch14_224", "vit_small_patch16_rope_mixed_224",
    ],
)  # fmt: skip
def test_timms_own_vits_to_the_bit(name: str) -> None:
    size = {"vit_auformer_demo_112": None}.get(name, 28 if "patch14" in name else 32)
    model = shaken(AUFormer(name, ["AU12"], img_size=size, expert_width=1)).eval()
    images = images_for(model, 1)
    with torch.no_grad():
        wanted = timm_features(model, images)
        with model.disable_experts():
            assert torch.equal(model.backbone.norm(model.tokens(images)[0]), wanted)


def test_experts_come_back_after_an_error_inside() -> None:
    model = shaken(network())
    before = model(images_for(model))

    def fail() -> None:
        with model.disable_experts():
            with model.disable_experts():
                pass
            assert model.forward_all(images_for(model))[1] is None  # the inner exit must not switch them on
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(model(images_for(model)), before)


@pytest.mark.parametrize("name", ["reg4", "clip", "drop", "stem", "gap", "dinov3", "eva02"])
def test_hooks_on_every_sub_module_that_timm_calls_fire(name: str) -> None:
    model = network(name)
    outside = (nn.Sequential, type(model.backbone.blocks[0]))
    seen: list[set[str]] = []
    for path, module in model.backbone.named_modules():
        if path not in ("", "head", "head_drop") and not isinstance(module, outside):
            module.register_forward_hook(lambda _module, _args, _out, path=path: seen[-1].add(path))
    for run in (model.backbone, model):
        seen.append(set())
        run(images_for(model))
    assert seen[0] == seen[1]
    assert {"patch_embed", "norm", "blocks.1.attn", "blocks.1.mlp", "blocks.0.norm2"} <= seen[1]


@pytest.mark.parametrize("name", ["drop", "stem"])
def test_the_backbone_is_in_eval_mode_always(name: str) -> None:
    model = network(name)
    assert model.training and not any(module.training for module in model.backbone.modules())
    model.eval().train()
    assert model.head.training and not any(module.training for module in model.backbone.modules())


def test_nothing_before_the_first_expert_is_kept_for_the_backward_pass() -> None:
    model = network("stem")
    embedded = model.embed(images_for(model))
    assert not embedded.requires_grad and not model.backbone.blocks[0].norm1(embedded).requires_grad


def test_parameter_counts() -> None:
    with torch.device("meta"):
        model = AUFormer("vit_base_patch16_224", "bp4d")
    per_expert = (8 * 768 + 8) + 4 * (8 * 8 * 9 + 8) + (8 * 24 + 8) + 3 * (8 * 8 + 8) + (768 * 8 + 768)
    assert sum(p.numel() for p in model.groups.parameters()) == 24 * 12 * per_expert == 4_555_008  # "4.56 M"
    head = 768 * 192 + 192 + 192 * 12 + 12 + 12 * 769
    frozen = 85_798_656  # timm's ViT-B/16 without classifier
    assert model.num_parameters() == (4_555_008 + head, 4_555_008 + head + frozen)


def test_evidence_maps_are_norms_of_full_width_outputs() -> None:
    model = shaken(network("reg4", img_size=(28, 56))).double()
    images = images_for(model).double()
    maps = model.expert_maps(images)
    assert maps.shape == (2, 2, 2, 4) and bool((maps > 0).all()) and not maps.requires_grad
    assert torch.allclose(maps, PlainAUFormer(model).expert_maps(images), atol=1e-10, rtol=0)
    with model.disable_experts():
        assert not model.expert_maps(images).any()


def test_predicted_probabilities_are_the_mean_of_both_heads_or_the_main_heads() -> None:
    both, model, single = (shaken(network(**each)) for each in ({}, {"average_heads": False}, {"expert_heads": False}))
    images = images_for(model)
    main, experts = (each.sigmoid() for each in model.forward_all(images))
    assert torch.equal(model.predict_probs(images), main) and not torch.allclose(main, experts, atol=1e-3)
    assert torch.allclose(both.predict_probs(images), (main + experts) / 2)
    assert single.forward_all(images)[1] is None and not single.average_heads
    assert torch.equal(single.predict_probs(images), single(images).sigmoid())
    assert not any(name.startswith("expert_heads") for name in single.adapter_state_dict())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_model_computes_in_the_type_of_its_parameters(dtype: torch.dtype) -> None:
    model = shaken(network("reg4"), 0.1)
    wanted = model.forward_all(images_for(model))
    model = model.to(dtype)
    types = set()
    for module in model.modules():
        module.register_forward_hook(lambda _module, _args, out: types.add(getattr(out, "dtype", dtype)))
    got = model.forward_all(images_for(model))
    assert types == {dtype}
    for each, exact in zip(got, wanted, strict=True):
        assert torch.allclose(each.float(), exact, atol=0.1 if dtype == torch.bfloat16 else 1e-5)
    assert model.expert_maps(images_for(model)).dtype == dtype


def test_autocast_trains() -> None:
    model = shaken(network("stem"), 0.1)
    exact = model(images_for(model))
    with torch.autocast("cpu", torch.bfloat16):
        logits, experts = model.forward_all(images_for(model))
    assert torch.allclose(logits.float(), exact, atol=0.1)
    (logits.float().sum() + experts.float().sum()).backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    assert all(block.attn.fused_attn for block in model.backbone.blocks)  # only written out while the forward pass ran


@pytest.mark.parametrize(
    "arguments",
    [
        {"expert_width": 0}, {"expert_width": 2.0}, {"window": 2}, {"window": -1}, {"window": 10**9 + 1},
        {"dilations": (0,)}, {"dilations": (1, 1)}, {"dilations": (10**9,)}, {"dilations": (1.5,)},
        {"pool": "max"}, {"au_names": ["AU1", "AU01"]}, {"au_names": []}, {"recompute": "all"},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        network(**arguments)  # type: ignore[arg-type]


def test_the_class_token_is_asked_for_in_vain() -> None:
    with pytest.raises(ValueError, match="no class token"):
        network("gap", pool="token")
    model = shaken(network("token", pool="token"))
    x = model.backbone.norm(model.tokens(images_for(model))[0])
    assert torch.equal(model(images_for(model)), model.head(x[:, 0]))


def test_images_of_another_size_type_or_shape_are_refused() -> None:
    model = network("reg4")  # timm itself would take any size here
    bytes_ = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    for images in (torch.rand(1, 3, 42, 28), torch.rand(3, 28, 28), torch.rand(1, 1, 28, 28), bytes_):
        with pytest.raises(ValueError, match="Expected `images`"):
            model(images)

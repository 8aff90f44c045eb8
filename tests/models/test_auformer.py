"""AUFormer around a ViT: equal to timm to the bit without experts, frozen stays frozen, evidence maps, types,
copies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from auformer.models import AUFormer
from tests.helpers import vits
from tests.helpers.reference import PlainAUFormer


def _model(name: str = "token", au_names: object = ("AU1", "AU12"), **arguments: object) -> AUFormer:
    torch.manual_seed(0)
    return AUFormer(f"vit_tests_{name}", au_names, **{"expert_width": 2, **arguments})  # type: ignore[arg-type]


def _shake(model: AUFormer, std: float = 0.3) -> AUFormer:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += std * torch.randn_like(parameter)
    return model


def _images(model: AUFormer, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, *model.image_size, generator=torch.Generator().manual_seed(2))


def _timm_features(model: AUFormer, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(model.backbone.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    return model.backbone.forward_features((images - mean) / std)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", vits.FIT)
def test_without_experts_the_block_loop_is_timms_to_the_bit(name: str, training: bool) -> None:
    model = _shake(_model(name)).train(training)
    images = _images(model)
    wanted = _timm_features(model, images)
    with model.disable_experts():
        assert torch.equal(model.backbone.norm(model.tokens(images)[0]), wanted)
        assert torch.equal(model(images), model.head(model.pooled_features(images)))
        assert model.forward_all(images)[1] is None
    assert not torch.allclose(
        model.backbone.norm(model.tokens(images)[0]), wanted, atol=1e-3
    )  # experts do something, and they are back


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224", "test_vit2", "test_vit3", "vit_auformer_demo_112", "vit_small_patch14_reg4_dinov2",
        "vit_small_patch16_dinov3", "eva02_tiny_patch14_224", "vit_small_patch16_rope_mixed_224",
    ],
)  # fmt: skip
def test_timms_own_vits_to_the_bit(name: str) -> None:
    size = {"vit_auformer_demo_112": None}.get(name, 28 if "patch14" in name else 32)
    model = _shake(AUFormer(name, ["AU12"], img_size=size, expert_width=1)).eval()
    images = _images(model, 1)
    with torch.no_grad():
        wanted = _timm_features(model, images)
        with model.disable_experts():
            assert torch.equal(model.backbone.norm(model.tokens(images)[0]), wanted)


@pytest.mark.parametrize("name", vits.FIT)
def test_a_fresh_model_equals_the_plain_vit(name: str) -> None:
    model = _model(name)
    assert torch.equal(model.backbone.norm(model.tokens(_images(model))[0]), _timm_features(model, _images(model)))


def test_experts_come_back_after_an_error_inside() -> None:
    model = _shake(_model())
    before = model(_images(model))

    def fail() -> None:
        with model.disable_experts():
            with model.disable_experts():
                pass
            assert model.forward_all(_images(model))[1] is None  # the inner exit must not switch them on
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(model(_images(model)), before)


@pytest.mark.parametrize("name", ["reg4", "clip", "drop", "stem", "gap", "dinov3", "eva02"])
def test_hooks_on_every_sub_module_that_timm_calls_fire(name: str) -> None:
    model = _model(name)
    inside = [
        (path, module)
        for path, module in model.backbone.named_modules()
        if path not in ("", "head", "head_drop")
        and not isinstance(module, (nn.Sequential, type(model.backbone.blocks[0])))
    ]
    seen: dict[str, set[str]] = {"timm": set(), "ours": set()}
    target = "timm"
    for path, module in inside:
        module.register_forward_hook(lambda _module, _args, _out, path=path: seen[target].add(path))
    model.backbone(_images(model))
    target = "ours"
    model(_images(model))
    assert (
        seen["ours"] == seen["timm"]
        and {"patch_embed", "norm", "blocks.1.attn", "blocks.1.mlp", "blocks.0.norm2"} <= seen["ours"]
    )


@pytest.mark.parametrize("name", ["drop", "stem"])
def test_the_backbone_is_in_eval_mode_always(name: str) -> None:
    model = _model(name)
    assert model.training and not any(module.training for module in model.backbone.modules())
    model.eval().train()
    assert model.head.training and not any(module.training for module in model.backbone.modules())


@pytest.mark.parametrize("name", ["token", "stem", "reg4", "dinov3"])
def test_a_step_trains_everything_but_the_frozen_weights(name: str) -> None:
    model = _model(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):  # up-projections start at zero, so the maps before them move from the second step on
        logits, experts = model.forward_all(_images(model))
        (logits.square().sum() + (experts - 1).square().sum()).backward()
        assert all(parameter.grad is None for parameter in model.backbone.parameters())
        optimizer.step()
        optimizer.zero_grad()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    trained = {key for key, parameter in model.named_parameters() if not key.startswith("backbone.")}
    # the last group's last output is all that the main head sees of it: every map moves
    assert moved == trained


def test_nothing_before_the_first_expert_is_kept_for_the_backward_pass() -> None:
    model = _model("stem")
    embedded = model.embed(_images(model))
    assert not embedded.requires_grad and not model.backbone.blocks[0].norm1(embedded).requires_grad


def test_parameter_counts() -> None:
    with torch.device("meta"):
        model = AUFormer("vit_base_patch16_224", "bp4d")
    per_expert = (
        (8 * 768 + 8) + (8 * 8 * 9 + 8) + 3 * (8 * 8 * 9 + 8) + (8 * 24 + 8) + 3 * (8 * 8 + 8) + (768 * 8 + 768)
    )
    assert sum(p.numel() for p in model.groups.parameters()) == 24 * 12 * per_expert == 4_555_008  # "4.56 M"
    head = 768 * 192 + 192 + 192 * 12 + 12 + 12 * 769
    frozen = 85_798_656  # timm's ViT-B/16 without classifier
    assert model.num_parameters() == (4_555_008 + head, 4_555_008 + head + frozen)


def test_evidence_maps_are_norms_of_full_width_outputs() -> None:
    model = _shake(_model("reg4", img_size=(28, 56))).double()
    images = _images(model).double()
    maps = model.expert_maps(images)
    assert maps.shape == (2, 2, 2, 4) and bool((maps > 0).all()) and not maps.requires_grad
    assert torch.allclose(maps, PlainAUFormer(model).expert_maps(images), atol=1e-10, rtol=0)
    with model.disable_experts():
        assert not model.expert_maps(images).any()


def test_predicted_probabilities_are_the_mean_of_both_heads_or_the_main_heads() -> None:
    both, model = _shake(_model()), _shake(_model(average_heads=False))
    main, experts = (each.sigmoid() for each in model.forward_all(_images(model)))
    assert torch.equal(model.predict_probs(_images(model)), main)
    assert torch.allclose(both.predict_probs(_images(model)), (main + experts) / 2)
    assert not torch.allclose(main, experts, atol=1e-3)


def test_without_expert_heads() -> None:
    model = _model(expert_heads=False)
    assert model.forward_all(_images(model))[1] is None
    assert not any(name.startswith("expert_heads") for name in model.adapter_state_dict())
    assert not model.average_heads and torch.equal(model.predict_probs(_images(model)), model(_images(model)).sigmoid())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_model_computes_in_the_type_of_its_parameters(dtype: torch.dtype) -> None:
    model = _shake(_model("reg4"), 0.1)
    wanted = model.forward_all(_images(model))
    model = model.to(dtype)
    types = set()
    for module in model.modules():
        module.register_forward_hook(
            lambda _module, _args, out: types.add(out.dtype) if isinstance(out, Tensor) else None
        )
    got = model.forward_all(_images(model))
    assert types == {dtype}
    for each, exact in zip(got, wanted, strict=True):
        assert torch.allclose(each.float(), exact, atol=0.1 if dtype == torch.bfloat16 else 1e-5)
    assert model.expert_maps(_images(model)).dtype == dtype


def test_autocast_trains() -> None:
    model = _shake(_model("stem"), 0.1)
    exact = model(_images(model))
    with torch.autocast("cpu", torch.bfloat16):
        logits, experts = model.forward_all(_images(model))
    assert torch.allclose(logits.float(), exact, atol=0.1)
    (logits.float().sum() + experts.float().sum()).backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    assert all(block.attn.fused_attn for block in model.backbone.blocks)  # only written out while the forward pass ran


@pytest.mark.parametrize(
    "arguments",
    [
        {"expert_width": 0}, {"expert_width": 2.0}, {"window": 2}, {"window": -1}, {"window": 10**9 + 1},
        {"dilations": (0,)}, {"dilations": (1, 1)}, {"dilations": (10**9,)}, {"dilations": (1.5,)},
        {"pool": "max"}, {"au_names": ["AU1", "AU01"]},
        {"au_names": []}, {"recompute": "all"},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        _model(**arguments)  # type: ignore[arg-type]


def test_the_class_token_is_asked_for_in_vain() -> None:
    with pytest.raises(ValueError, match="no class token"):
        _model("gap", pool="token")
    model = _shake(_model("token", pool="token"))
    x = model.backbone.norm(model.tokens(_images(model))[0])
    assert torch.equal(model(_images(model)), model.head(x[:, 0]))


def test_images_of_another_size_type_or_shape_are_refused() -> None:
    model = _model("reg4")  # timm itself would take any size here
    for images in (
        torch.rand(1, 3, 42, 28),
        torch.rand(3, 28, 28),
        torch.rand(1, 1, 28, 28),
        torch.zeros(1, 3, 28, 28, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match="Expected `images`"):
            model(images)

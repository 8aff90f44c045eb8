"""Tiny ViTs of every kind that can carry experts, and of some that cannot, as timm entrypoints `vit_tests_*`; and what
tests do with networks on them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.layers import HybridEmbed, RmsNorm, SwiGLUPacked
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer, checkpoint_filter_fn
from timm.models.vision_transformer_hybrid import ConvStem
from torch import Tensor, nn

from auformer.models import AUFormer

_VARIANTS: dict[str, dict[str, Any]] = {
    "token": {},
    "gap": {"class_token": False, "global_pool": "avg"},  # the real norm is `fc_norm`
    "gap_norm": {"class_token": False, "global_pool": "avg", "fc_norm": False, "mlp_layer": SwiGLUPacked},
    "reg4": {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.5, "dynamic_img_size": True, "patch_size": 14,
             "img_size": 28},
    "clip": {"pre_norm": True, "patch_size": 8, "qk_norm": True, "norm_layer": RmsNorm},
    "map": {"class_token": False, "reg_tokens": 1, "global_pool": "map"},
    "drop": {"drop_path_rate": 0.9, "proj_drop_rate": 0.9, "attn_drop_rate": 0.9, "pos_drop_rate": 0.9,
             "patch_drop_rate": 0.5},
    "patch32": {"patch_size": 32, "img_size": 96, "fc_norm": True, "global_pool": "avg", "pos_embed": "none"},
    "diff": {"attn_layer": "diff", "class_token": False, "reg_tokens": 2, "global_pool": "avg"},
    "stem": {},
    "single": {"depth": 1},
    "no_norm": {"final_norm": False},
    "post_norm": {"block_fn": ResPostBlock},
    "parallel": {"block_fn": ParallelScalingBlock},
}  # fmt: skip
_ROTARY = {"use_rot_pos_emb": True, "use_abs_pos_emb": False}
_EVA: dict[str, dict[str, Any]] = {  # timm's EVA class
    "dinov3": {**_ROTARY, "rope_type": "dinov3", "rope_rotate_half": True, "num_reg_tokens": 4, "init_values": 0.5,
               "qkv_bias": False, "dynamic_img_size": True, "use_post_transformer_norm": True},
    "eva02": {"use_rot_pos_emb": True, "swiglu_mlp": True, "scale_mlp": True, "qkv_fused": False, "ref_feat_shape": 4},
    "eva_fused": {"use_rot_pos_emb": True, "global_pool": "avg", "init_values": 0.5, "drop_path_rate": 0.9},
    "eva_mixed": {**_ROTARY, "rope_type": "mixed", "class_token": False, "global_pool": "avg", "attn_type": "rope"},
    "eva_plain": {"use_pre_transformer_norm": True},
    "eva_post": {"use_post_norm": True},
}  # fmt: skip
_VARIANTS |= _EVA
ROTARY = ("dinov3", "eva02", "eva_fused", "eva_mixed")  # those that have a rotary embedding
FIT = (  # those that can carry experts
    "token", "gap", "gap_norm", "reg4", "clip", "map", "drop", "patch32", "diff", "stem", *ROTARY, "eva_plain",
)  # fmt: skip
_CONFIG = {"input_size": (3, 32, 32), "num_classes": 5, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3),
           "classifier": "head", "first_conv": "patch_embed.proj"}  # fmt: skip
default_cfgs = generate_default_cfgs({f"vit_tests_{name}.random": dict(_CONFIG) for name in _VARIANTS})


def _build(name: str, pretrained: bool, kwargs: dict[str, Any]) -> VisionTransformer | Eva:
    plain: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2}
    plain |= {"num_heads": 2, "mlp_ratio": 2}
    if name in _EVA:
        return build_model_with_cfg(Eva, f"vit_tests_{name}", pretrained, **{**plain, **_EVA[name], **kwargs})
    if name == "stem":  # convolutions with BatchNorm before the tokens
        stem = ConvStem(in_chans=3, depth=2, channels=(8, 16), stride=(4, 4), kernel_size=4, padding=0)
        plain["embed_layer"] = partial(HybridEmbed, backbone=stem, patch_size=1, proj=True)
        plain["patch_size"] = 1
    arguments = {**plain, **_VARIANTS[name], **kwargs}
    return build_model_with_cfg(
        VisionTransformer, f"vit_tests_{name}", pretrained, pretrained_filter_fn=checkpoint_filter_fn, **arguments
    )


def _register(name: str) -> None:
    def build(pretrained: bool = False, **kwargs: Any) -> VisionTransformer | Eva:
        return _build(name, pretrained, kwargs)

    build.__name__ = build.__qualname__ = f"vit_tests_{name}"
    globals()[build.__name__] = register_model(build)


for _name in _VARIANTS:
    _register(_name)


def network(
    name: str = "token", au_names: Any = ("AU1", "AU12"), kind: Any = AUFormer, seed: int = 0, **given: Any
) -> Any:
    """A network of any kind on `vit_tests_NAME`, its weights a function of the seed; experts of width 2."""
    torch.manual_seed(seed)
    return kind(f"vit_tests_{name}", au_names, **({"expert_width": 2, **given} if kind is AUFormer else given))


def shaken(module: Any, std: float = 0.3, seed: int = 1) -> Any:
    """The module with noise on every trained parameter: a fresh one has zero up-projections, which hide most faults."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += std * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return module


def images_for(network: Any, batch: int = 2, seed: int = 2) -> Tensor:
    """Random images of the network's size and type."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, *network.image_size, generator=generator).to(network.dtype)


def timm_features(network: Any, images: Tensor) -> Tensor:
    """Tokens after the final norm as timm itself computes them, normalised as the weight tag says."""
    mean, std = (torch.tensor(network.backbone.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    return network.backbone.forward_features((images - mean) / std)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of every tensor of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def moved(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are no longer what `state_of` copied, to the bit."""
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def trained(network: Any) -> set[str]:
    """Names of the tensors that three steps move; a fresh network's other maps move from the second step on."""
    before, optimizer = state_of(network), torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        given = images_for(network)
        logits = network.forward_all(given) if isinstance(network, AUFormer) else [network(given)]
        sum((each - place).square().sum() for place, each in enumerate(logits) if each is not None).backward()
        optimizer.step()
        optimizer.zero_grad()
    return moved(network, before)

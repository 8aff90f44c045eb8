"""Networks that AUFormer is compared with: same backbone, same standardised features, same head (but the linear probe).

There is no dropout in any of them, as there is none in AUFormer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.errors import require
from auformer.models.backbone import attention_for_training, rotary, sub_layers
from auformer.models.heads import LinearHead, MLPHead
from auformer.models.network import AUNetwork

MAX_SIZE = 4096  # a number read from a stranger's file must not ask for gigabytes of weights [ours]


class Baseline(AUNetwork):
    """Base: a ViT below a head. A subclass overrides `adapt` or `tokens`, or frees parameters of the ViT.

    Arguments as of `AUNetwork`; a subclass describes its own only.
    """

    head_class: type[MLPHead | LinearHead] = MLPHead

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none",
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.head = self.head_class(self.embed_dim, len(self.au_names))
        self.add_intensity_head(linear=self.head_class is LinearHead)
        self.prepare()
        self.train()

    def prepare(self) -> None:
        """Add or free what is trained, where it has no size of its own."""

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """What a sub-layer adds to the residual stream `(B, P+T, D)`.

        Args:
            number: Of the sub-layer, `2 * block + (0 for attention, 1 for the MLP)`.
            y: Its normed input `(B, P+T, D)`.
            out: What it would add by itself `(B, P+T, D)`, layer scale included.
        """
        return out

    def tokens(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to the adapted ViT's tokens before its final norm `(B, P+T, D)`."""
        x, number = self.embed(images), 0
        with attention_for_training(self.backbone):
            for block, rope in zip(self.backbone.blocks, rotary(self.backbone), strict=True):
                for layer in sub_layers(block):
                    y = layer.norm(x)
                    x = x + self.adapt(number, y, layer.branch(y, rope))
                    number += 1
        return x

    def streams(self, images: Tensor) -> tuple[Tensor, None]:
        """Images `(B, 3, H, W)` float in [0, 1] to the adapted ViT's pooled features `(B, D)`, and None."""
        return self.pool_tokens(self.tokens(images)), None

    def train_in_backbone(self, chosen: Callable[[str], bool]) -> None:
        """Free the parameters of the frozen ViT whose names in it are chosen; they lie in the adapter file."""
        names = [name for name, _ in self.backbone.named_parameters() if chosen(name)]
        for name in names:
            self.backbone.get_parameter(name).requires_grad_(True)
        self.trained_in_backbone = frozenset(f"backbone.{name}" for name in names)

    def take_size(self, name: str, value: int, most: int = MAX_SIZE) -> None:
        """Note a size of the baseline's own among its arguments.

        Raises:
            ValueError: It is not a whole number from 1 to `most`.
        """
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"Expected `{name}` to be a whole number from 1 to {most}, but got {value!r}")
        self.arguments[name] = value


def linear_maps(backbone: nn.Module) -> list[str]:
    """Names of the linear maps in a ViT's blocks that timm calls; of EVA-02's, it reads the weight of one instead."""
    modules = dict(backbone.named_modules())
    biased = {name: module for name, module in modules.items() if getattr(module, "q_bias", None) is not None}
    passed_by = {f"{name}.qkv" for name, one in biased.items() if not getattr(one, "qkv_bias_separate", False)}
    linear = (name for name, module in modules.items() if isinstance(module, nn.Linear) and name.startswith("blocks."))
    return [name for name in linear if name not in passed_by]


class LinearProbe(Baseline):
    """Linear probe, as in MAE (He et al., CVPR 2022, arxiv.org/abs/2111.06377): one map on standardised features."""

    head_class = LinearHead

    def streams(self, images: Tensor) -> tuple[Tensor, None]:
        """Images `(B, 3, H, W)` float in [0, 1] to pooled features `(B, D)`; nothing is kept of the frozen ViT."""
        with torch.no_grad():
            return self.pooled_features(images), None


class FullFineTuning(Baseline):
    """Full fine-tuning, as of ViT (Dosovitskiy et al., ICLR 2021, arxiv.org/abs/2010.11929): everything is trained.

    Its adapter file holds the whole network. There is no stochastic depth in either mode; the BatchNorm of a
    convolutional stem uses batch statistics while training. Its learning rate is another one: 3e-4; from 2e-3 on it
    collapses (experiments/results/demo.md).
    """

    frozen = False

    def prepare(self) -> None:
        """Free the whole ViT."""
        self.backbone.requires_grad_(True)


class LastBlocks(Baseline):
    """Partial fine-tuning (MAE, He et al., CVPR 2022, arxiv.org/abs/2111.06377): last blocks, final norm and head.

    Args:
        num_blocks: Blocks that are trained. One, of the 1, 2 and 4 in the code of VPT, where the final norm is trained
            too (github.com/KMnP/vpt, vit_models.py) [ours].

    Raises:
        ValueError: The ViT has fewer blocks.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", num_blocks: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        depth = len(self.backbone.blocks)
        self.take_size("num_blocks", num_blocks, depth)
        last = tuple(f"blocks.{number}." for number in range(depth - num_blocks, depth))
        self.train_in_backbone(lambda name: name.startswith((*last, "norm.", "fc_norm.")))


class BitFit(Baseline):
    """BitFit (Ben Zaken et al., ACL 2022, arxiv.org/abs/2106.10199): every bias of the ViT, also of its embedding."""

    def prepare(self) -> None:
        """Free the biases."""
        self.train_in_backbone(lambda name: "bias" in name.rpartition(".")[2])


class LoRA(Baseline):
    """LoRA (Hu et al., ICLR 2022, arxiv.org/abs/2106.09685): `W x + B A x` on every linear map of the blocks.

    `A (rank, in)` starts random and `B (out, rank)` at zero. All maps of the blocks have one [ours: the paper adapts
    attention only (section 4.2); timm keeps query, key and value in one map, which gets one `A`]. The factor `alpha /
    rank` is 1: alpha is the first rank tried, as in the paper (section 4.1). Weights of the ViT stay as they are, and
    the added ones lie in it under peft's names.

    Args:
        rank: Rank of each update; 8 of the 1 to 64 in the paper's table 6, which hardly differ [ours].

    Raises:
        MissingExtraError: peft is not installed.
        ValueError: The rank is out of range.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", rank: int = 8,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.take_size("rank", rank)
        peft = require("peft", "peft")
        config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=linear_maps(self.backbone))
        peft.inject_adapter_in_model(config, self.backbone)
        self.train_in_backbone(lambda name: "lora_" in name)
        self.train()


class Bottleneck(nn.Module):
    """`up(activation(down(x)))`; `start` draws the down-projection, the up-projection and biases start at zero."""

    def __init__(
        self, dim: int, width: int, start: Callable[[Tensor], Any], activation: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        self.activation = activation
        start(self.down.weight)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, P+T, D)` to the same shape."""
        return self.up(self.activation(self.down(x)))


HOULSBY_STD = 1e-2  # of the down-projection, truncated at two deviations (section 3.6; the authors' code has 1e-3)


class HoulsbyAdapter(Baseline):
    """Adapters (Houlsby et al., ICML 2019, arxiv.org/abs/1902.00751): `h + up(GELU(down(h)))` after each sub-layer.

    The norms of the ViT are trained too. In the paper both projections start from the same narrow distribution, so near
    the identity; here the up-projection starts at zero, so that a fresh one equals the plain ViT [ours].

    Args:
        width: Bottleneck channels; 64 is the one fixed size in the paper's table 1, and the default of the authors'
            code (github.com/google-research/adapter-bert).
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", width: int = 64,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.take_size("width", width)
        start = partial(nn.init.trunc_normal_, std=HOULSBY_STD, a=-2 * HOULSBY_STD, b=2 * HOULSBY_STD)
        adapters = [Bottleneck(self.embed_dim, width, start, F.gelu) for _ in range(2 * len(self.backbone.blocks))]
        self.adapters = nn.ModuleList(adapters)
        self.train_in_backbone(_is_norm)

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Pass the sub-layer's output through its adapter."""
        return out + self.adapters[number](out)


def _is_norm(name: str) -> bool:
    """Whether a parameter belongs to a norm between sub-layers, or to the final one."""
    return name.rpartition(".")[0].rpartition(".")[2] in ("norm1", "norm2", "norm", "fc_norm") and ".attn." not in name


class AdaptFormer(Baseline):
    """AdaptFormer (Chen et al., NeurIPS 2022, arxiv.org/abs/2205.13535): a scaled bottleneck beside each MLP.

    It sees the same normed tokens. He's initialisation below, zero above, as in the authors' code (adapter.py), so a
    fresh one equals the plain ViT.

    Args:
        width: Bottleneck channels; 64 in the authors' code (github.com/ShoufaChen/AdaptFormer, main_image.py).
    """

    scale = 0.1  # the factor of the authors' code, main_image.py

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", width: int = 64,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.take_size("width", width)
        start = partial(nn.init.kaiming_uniform_, a=5**0.5)
        bottlenecks = [Bottleneck(self.embed_dim, width, start, F.relu) for _ in self.backbone.blocks]
        self.bottlenecks = nn.ModuleList(bottlenecks)

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Add the bottleneck's output to that of the MLP."""
        return out + self.scale * self.bottlenecks[number // 2](y) if number % 2 else out


class Bypass(nn.Module):
    """`up(GELU(conv3x3(GELU(down(y)))))`; a prefix token is an image of one pixel, which meets the kernel's centre.

    The kernel starts as the identity, the up-projection at zero, as in the authors' code; GELU in place of its sigmoid
    form of it, and no dropout, where it has 0.1 [ours]. The authors scale the output per task, by 0.01, 0.1 and 1 among
    others; here by 1 [ours].
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.dirac_(self.conv.weight)
        assert self.conv.bias is not None
        for zero in (self.down.bias, self.conv.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, y: Tensor, grid: tuple[int, int]) -> Tensor:
        """`(B, P+T, D)` to the same shape; `grid` is `(H, W)` with `H * W = T`."""
        prefix = y.shape[1] - grid[0] * grid[1]
        h = F.gelu(self.down(y))
        patches = self.conv(h[:, prefix:].transpose(1, 2).unflatten(2, grid))  # (B, R, H, W)
        alone = F.linear(h[:, :prefix], self.conv.weight[:, :, 1, 1], self.conv.bias)  # (B, P, R)
        return self.up(F.gelu(torch.cat([alone, patches.flatten(2).transpose(1, 2)], 1)))


class Convpass(Baseline):
    """Convpass (Jie and Deng, 2022, arxiv.org/abs/2207.07039): a convolutional bypass beside each sub-layer.

    It sees the same normed tokens; a fresh one equals the plain ViT.

    Args:
        width: Hidden channels; 8 in the authors' code (github.com/JieShibo/PETL-ViT, convpass/vtab).
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", width: int = 8,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.take_size("width", width)
        self.bypasses = nn.ModuleList([Bypass(self.embed_dim, width) for _ in range(2 * len(self.backbone.blocks))])

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Add the bypass's output to that of the sub-layer."""
        return out + self.bypasses[number](y, self.grid_size)


class VPTDeep(Baseline):
    """VPT-deep (Jia et al., ECCV 2022, arxiv.org/abs/2203.12119): prompts of its own for each block, dropped after it.

    Prompts start uniform in `+-sqrt(6 / (3 * patch area + D))` and lie behind the prefix tokens, as in the authors'
    code (github.com/KMnP/vpt, vit_prompt/vit.py), so a fresh one differs from the plain ViT. No dropout on them [ours].

    Args:
        num_prompts: Prompts per block; the authors choose it per task [ours: 10 for all].

    Raises:
        ValueError: The ViT has a rotary embedding, which prompts have no place in.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", num_prompts: int = 10,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.take_size("num_prompts", num_prompts)
        if any(rope is not None for rope in rotary(self.backbone)):
            raise ValueError(
                f"Expected `backbone` to be a ViT without rotary embedding for prompts, but got {backbone}"
            )
        height, width = self.backbone.patch_embed.feat_ratio(as_scalar=False)
        limit = (6.0 / (3 * height * width + self.embed_dim)) ** 0.5
        prompts = torch.empty(len(self.backbone.blocks), num_prompts, self.embed_dim)
        self.prompts = nn.Parameter(prompts.uniform_(-limit, limit))

    def tokens(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to tokens before the final norm `(B, P+T, D)`, without prompts."""
        x, prefix = self.embed(images), self.backbone.num_prefix_tokens
        with attention_for_training(self.backbone):
            for block, prompts in zip(self.backbone.blocks, self.prompts, strict=True):
                own = prompts.expand(len(x), -1, -1)
                x = block(torch.cat([x[:, :prefix], own.to(x.dtype), x[:, prefix:]], 1))
                x = torch.cat([x[:, :prefix], x[:, prefix + own.shape[1] :]], 1)
        return x


SSF_STD = 0.02  # of scales around 1 and shifts around 0 at the start, as in the authors' code


class ScaleShift(nn.Module):
    """`scale * h + shift` per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.scale, mean=1.0, std=SSF_STD)
        nn.init.normal_(self.shift, std=SSF_STD)

    def forward(self, h: Tensor) -> Tensor:
        """`(..., dim)` to the same shape."""
        return h * self.scale + self.shift

    def after(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Forward hook of the operation before."""
        return self(output)


class SSF(Baseline):
    """SSF (Lian et al., NeurIPS 2022, arxiv.org/abs/2210.08823): a learnt scale and shift after each operation.

    They follow the patch embedding, each norm and each linear map, as in the authors' code (github.com/dongzelian/SSF,
    vision_transformer.py). A fresh one is near the plain ViT; with scales of 1 and shifts of 0 it is the plain ViT. The
    paper folds them into the frozen weights after training; here they stay by themselves, so that the adapter file
    holds nothing else.
    """

    def prepare(self) -> None:
        """Put a scale and a shift after each operation."""
        modules = dict(self.backbone.named_modules())
        sizes = {name: modules[name].out_features for name in linear_maps(self.backbone)}
        norms = [f"blocks.{n}.{norm}" for n in range(len(self.backbone.blocks)) for norm in ("norm1", "norm2")]
        norms += [name for name in ("norm_pre", "norm", "fc_norm") if not isinstance(modules[name], nn.Identity)]
        sizes |= dict.fromkeys(["patch_embed", *norms], self.embed_dim)
        self.scales = nn.ModuleDict({name.replace(".", "_"): ScaleShift(size) for name, size in sizes.items()})
        for name in sizes:
            modules[name].register_forward_hook(self.scales[name.replace(".", "_")].after)

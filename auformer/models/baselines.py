"""Networks that AUFormer is compared with: same backbone, same standardised features, same head (but the linear probe)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class AdaptedViT(AUNetwork):
    """Base: a frozen ViT below the MLP head that AUFormer has too. A subclass overrides `adapt` or `tokens`, or frees parameters.

    There is no dropout in any of them, as there is none in AUFormer.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        self.head = MLPHead(self.embed_dim, len(self.au_names))
        self.train()

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Change what a sub-layer adds to the residual stream.

        Args:
            number: Of the sub-layer, `2 * block + (0 for attention, 1 for the MLP)`.
            y: Its normed input `(B, P+T, D)`.
            out: What it would add `(B, P+T, D)`, layer scale included.

        Returns:
            `(B, P+T, D)`.
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

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images `(B, 3, H, W)` float in [0, 1] to `(logits (B, N), None)`."""
        return self.head(self.pool_tokens(self.tokens(images))), None

    def train_in_backbone(self, names: Iterable[str]) -> None:
        """Free parameters of the frozen ViT, by their names in it; they lie in the adapter file."""
        parameters = dict(self.backbone.named_parameters())
        for name in names:
            parameters[name].requires_grad_(True)
        self.trained_in_backbone = frozenset(
            f"backbone.{name}" for name, one in parameters.items() if one.requires_grad
        )


def linear_maps(backbone: nn.Module) -> list[str]:
    """Names of the linear maps in the blocks of a ViT, without those that timm reads the weight of instead of calling them (EVA-02)."""
    modules = dict(backbone.named_modules())
    names = [name for name, module in modules.items() if name.startswith("blocks.") and isinstance(module, nn.Linear)]
    passed_by = {
        f"{name}.qkv"
        for name, module in modules.items()
        if getattr(module, "q_bias", None) is not None and not getattr(module, "qkv_bias_separate", False)
    }
    return [name for name in names if name not in passed_by]


def check_size(name: str, value: int, most: int = MAX_SIZE) -> None:
    """Refuse sizes that are no whole numbers from 1 to `most`.

    Raises:
        ValueError: Says which.
    """
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"Expected `{name}` to be a whole number from 1 to {most}, but got {value!r}")


class LinearProbe(AUNetwork):
    """Linear probe: standardised pooled features, then one linear map `D -> N`.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        self.head = LinearHead(self.embed_dim, len(self.au_names))

    def forward_all(self, images: Tensor) -> tuple[Tensor, None]:
        """Images `(B, 3, H, W)` float in [0, 1] to `(logits (B, N), None)`; nothing is kept of the frozen ViT."""
        with torch.no_grad():
            features = self.pooled_features(images)
        return self.head(features), None


class FullFineTuning(AUNetwork):
    """Full fine-tuning: every parameter of the ViT is trained, below the MLP head that AUFormer has too.

    Its adapter file holds the whole network. There is no dropout and no stochastic depth in either mode; the BatchNorm of a
    convolutional stem uses batch statistics while training.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Start from the backbone's weights of timm.
        checkpoint_path: Start from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
    """

    frozen = False

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        self.backbone.requires_grad_(True)
        self.head = MLPHead(self.embed_dim, len(self.au_names))
        self.train()  # the backbone comes in eval mode


NUM_BLOCKS = 1  # of 1, 2 and 4 in the code of VPT, where the final norm is trained too (github.com/KMnP/vpt, vit_models.py) [ours]


class LastBlocks(AdaptedViT):
    """Partial fine-tuning (Yosinski et al., NeurIPS 2014; He et al., CVPR 2022): the last blocks, the final norm and the head are trained.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        num_blocks: Number of blocks that are trained.

    Raises:
        ValueError: The ViT has fewer blocks.
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        num_blocks: int = NUM_BLOCKS,
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        depth = len(self.backbone.blocks)
        check_size("num_blocks", num_blocks, depth)
        last = tuple(f"blocks.{number}." for number in range(depth - num_blocks, depth))
        self.train_in_backbone(
            n for n, _ in self.backbone.named_parameters() if n.startswith((*last, "norm.", "fc_norm."))
        )
        self.arguments["num_blocks"] = num_blocks


class BitFit(AdaptedViT):
    """BitFit (Ben Zaken et al., ACL 2022): every bias of the ViT, those of its norms and its patch embedding included, and the head.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        self.train_in_backbone(
            name for name, _ in self.backbone.named_parameters() if "bias" in name.rpartition(".")[2]
        )


LORA_RANK = 8  # of 1 to 64 in the paper's table 6, which hardly differ [ours]


class LoRA(AdaptedViT):
    """LoRA (Hu et al., ICLR 2022): `W x + B A x` with `A (rank, in)` random and `B (out, rank)` zero at the start.

    On every linear map of the blocks [ours: the paper adapts attention only (section 4.2); timm keeps query, key and value in one map,
    which gets one `A`]. The factor `alpha / rank` is 1: alpha is the first rank tried, as in the paper (section 4.1). Weights of the ViT
    stay as they are, and the added ones lie in it under peft's names.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        rank: Rank of each update.

    Raises:
        MissingExtraError: peft is not installed.
        ValueError: The rank is out of range.
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        rank: int = LORA_RANK,
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        check_size("rank", rank)
        peft = require("peft", "peft")
        config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=linear_maps(self.backbone))
        peft.inject_adapter_in_model(config, self.backbone)
        self.train_in_backbone(name for name, _ in self.backbone.named_parameters() if "lora_" in name)
        self.arguments["rank"] = rank
        self.train()


HOULSBY_WIDTH = 64  # the one fixed size in the paper's table 1, and the default of the authors' code (github.com/google-research/adapter-bert)
HOULSBY_STD = (
    1e-2  # of the down-projection at the start, truncated at two deviations (section 3.6; their code has 1e-3)
)


class SerialAdapter(nn.Module):
    """`h + up(GELU(down(h)))`.

    Args:
        dim: Width of the ViT `D`.
        width: Bottleneck channels.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        nn.init.trunc_normal_(self.down.weight, std=HOULSBY_STD, a=-2 * HOULSBY_STD, b=2 * HOULSBY_STD)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, h: Tensor) -> Tensor:
        """`(B, P+T, D)` to the same shape."""
        return h + self.up(F.gelu(self.down(h)))


class HoulsbyAdapter(AdaptedViT):
    """Adapters (Houlsby et al., ICML 2019): one after each sub-layer, before its residual sum; the norms of the ViT are trained too.

    In the paper both projections start from the same narrow distribution, so near the identity; here the up-projection starts at zero, so
    that a fresh one equals the plain ViT [ours].

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        width: Bottleneck channels.
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        width: int = HOULSBY_WIDTH,
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        check_size("width", width)
        self.adapters = nn.ModuleList(
            [SerialAdapter(self.embed_dim, width) for _ in range(2 * len(self.backbone.blocks))]
        )
        self.train_in_backbone(name for name, _ in self.backbone.named_parameters() if _is_norm(name))
        self.arguments["width"] = width

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Pass the sub-layer's output through its adapter."""
        return self.adapters[number](out)


def _is_norm(name: str) -> bool:
    """Whether a parameter belongs to a norm between sub-layers, or to the final one."""
    return name.rpartition(".")[0].rpartition(".")[2] in ("norm1", "norm2", "norm", "fc_norm") and ".attn." not in name


ADAPTFORMER_WIDTH, ADAPTFORMER_SCALE = (
    64,
    0.1,
)  # middle dimension and scaling factor of the authors' code (github.com/ShoufaChen/AdaptFormer, main_image.py)


class ParallelBottleneck(nn.Module):
    """`s up(ReLU(down(y)))`: down-projection with He's initialisation, up-projection and biases zero, as in the authors' code (adapter.py).

    Args:
        dim: Width of the ViT `D`.
        width: Bottleneck channels.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, y: Tensor) -> Tensor:
        """`(B, P+T, D)` to the same shape."""
        return ADAPTFORMER_SCALE * self.up(F.relu(self.down(y)))


class AdaptFormer(AdaptedViT):
    """AdaptFormer (Chen et al., NeurIPS 2022): beside each MLP a bottleneck on the same normed tokens. A fresh one equals the ViT.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        width: Bottleneck channels.
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        width: int = ADAPTFORMER_WIDTH,
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        check_size("width", width)
        self.bottlenecks = nn.ModuleList([ParallelBottleneck(self.embed_dim, width) for _ in self.backbone.blocks])
        self.arguments["width"] = width

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Add the bottleneck's output to that of the MLP."""
        return out + self.bottlenecks[number // 2](y) if number % 2 else out


CONVPASS_WIDTH = 8  # hidden channels in the authors' code (github.com/JieShibo/PETL-ViT, convpass/vtab)
CONVPASS_SCALE = 1.0  # the authors' configurations set it per task, 0.01, 0.1 and 1 among them [ours: one for all]


class Bypass(nn.Module):
    """`s up(GELU(conv3x3(GELU(down(y)))))`; prefix tokens are images of one pixel, so only the centre of the kernel meets them.

    The kernel starts as the identity, the up-projection at zero, as in the authors' code; GELU in place of its sigmoid form of it, and no
    dropout, where it has 0.1 [ours].

    Args:
        dim: Width of the ViT `D`.
        width: Hidden channels.
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
        return CONVPASS_SCALE * self.up(F.gelu(torch.cat([alone, patches.flatten(2).transpose(1, 2)], 1)))


class Convpass(AdaptedViT):
    """Convpass (Jie and Deng, 2022): beside each sub-layer a convolutional bypass on the same normed tokens. A fresh one equals the ViT.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        width: Hidden channels.
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        width: int = CONVPASS_WIDTH,
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        check_size("width", width)
        self.bypasses = nn.ModuleList([Bypass(self.embed_dim, width) for _ in range(2 * len(self.backbone.blocks))])
        self.arguments["width"] = width

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Add the bypass's output to that of the sub-layer."""
        return out + self.bypasses[number](y, self.grid_size)


VPT_PROMPTS = 10  # the authors choose it per task [ours: one for all]


class VPTDeep(AdaptedViT):
    """VPT-deep (Jia et al., ECCV 2022): each block gets prompts of its own behind the prefix tokens; what it makes of them is dropped.

    Prompts start uniform in `+-sqrt(6 / (3 * patch area + D))` and lie behind the class token, as in the authors' code
    (github.com/KMnP/vpt, vit_prompt/vit.py), so a fresh one differs from the plain ViT. No dropout on them [ours].

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        num_prompts: Prompts per block.

    Raises:
        ValueError: The ViT has a rotary embedding, which prompts have no place in.
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        num_prompts: int = VPT_PROMPTS,
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        check_size("num_prompts", num_prompts)
        if any(rope is not None for rope in rotary(self.backbone)):
            raise ValueError(
                f"Expected `backbone` to be a ViT without rotary embedding for prompts, but got {backbone}"
            )
        height, width = self.backbone.patch_embed.feat_ratio(as_scalar=False)
        limit = (6.0 / (3 * height * width + self.embed_dim)) ** 0.5
        prompts = torch.empty(len(self.backbone.blocks), num_prompts, self.embed_dim)
        self.prompts = nn.Parameter(prompts.uniform_(-limit, limit))
        self.arguments["num_prompts"] = num_prompts

    def tokens(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to tokens before the final norm `(B, P+T, D)`, without prompts."""
        x, prefix = self.embed(images), self.backbone.num_prefix_tokens
        with attention_for_training(self.backbone):
            for block, prompts in zip(self.backbone.blocks, self.prompts, strict=True):
                own = prompts.expand(len(x), -1, -1)
                x = block(torch.cat([x[:, :prefix], own.to(x.dtype), x[:, prefix:]], 1))
                x = torch.cat([x[:, :prefix], x[:, prefix + own.shape[1] :]], 1)
        return x


SSF_STD = 0.02  # of scales around 1 and shifts around 0 at the start: the authors' code (github.com/dongzelian/SSF, vision_transformer.py)


class ScaleShift(nn.Module):
    """`scale * h + shift` per channel.

    Args:
        dim: Number of channels.
    """

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


class SSF(AdaptedViT):
    """SSF (Lian et al., NeurIPS 2022): after the patch embedding, each norm and each linear map, a learnt scale and shift per channel.

    The places are those of the authors' code. A fresh one is near the plain ViT; with scales of 1 and shifts of 0 it is the plain ViT. The
    paper folds them into the frozen weights after training; here they stay by themselves, so that the adapter file holds nothing else.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
    """

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
    ) -> None:
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool
        )
        modules = dict(self.backbone.named_modules())
        sizes = {name: modules[name].out_features for name in linear_maps(self.backbone)}
        norms = [
            f"blocks.{number}.{norm}" for number in range(len(self.backbone.blocks)) for norm in ("norm1", "norm2")
        ]
        norms += [name for name in ("norm_pre", "norm", "fc_norm") if not isinstance(modules[name], nn.Identity)]
        sizes |= dict.fromkeys(["patch_embed", *norms], self.embed_dim)
        self.scales = nn.ModuleDict({name.replace(".", "_"): ScaleShift(size) for name, size in sizes.items()})
        for name in sizes:
            modules[name].register_forward_hook(self.scales[name.replace(".", "_")].after)

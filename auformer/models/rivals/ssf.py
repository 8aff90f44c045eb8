"""Scale and shift after every operation of the ViT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auformer.models.rivals.adapted import AdaptedViT, linear_maps

STD = 0.02  # of scales around 1 and shifts around 0 at the start: the authors' code (github.com/dongzelian/SSF, vision_transformer.py)


class ScaleShift(nn.Module):
    """`scale * h + shift` per channel.

    Args:
        dim: Number of channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.scale, mean=1.0, std=STD)
        nn.init.normal_(self.shift, std=STD)

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
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        modules = dict(self.backbone.named_modules())
        sizes = {name: modules[name].out_features for name in linear_maps(self.backbone)}
        norms = [f"blocks.{number}.{norm}" for number in range(len(self.backbone.blocks)) for norm in ("norm1", "norm2")]
        norms += [name for name in ("norm_pre", "norm", "fc_norm") if not isinstance(modules[name], nn.Identity)]
        sizes |= dict.fromkeys(["patch_embed", *norms], self.embed_dim)
        self.scales = nn.ModuleDict({name.replace(".", "_"): ScaleShift(size) for name, size in sizes.items()})
        for name in sizes:
            modules[name].register_forward_hook(self.scales[name.replace(".", "_")].after)

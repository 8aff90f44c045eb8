"""Adapters in series with each sub-layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.rivals.adapted import AdaptedViT, check_size

WIDTH = 64  # the one fixed size in the paper's table 1, and the default of the authors' code (github.com/google-research/adapter-bert)
STD = 1e-2  # of the down-projection at the start, truncated at two deviations (section 3.6; their code has 1e-3)


class SerialAdapter(nn.Module):
    """`h + up(GELU(down(h)))`.

    Args:
        dim: Width of the ViT `D`.
        width: Bottleneck channels.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        nn.init.trunc_normal_(self.down.weight, std=STD, a=-2 * STD, b=2 * STD)
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
        width: int = WIDTH,
    ) -> None:
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        check_size("width", width)
        self.adapters = nn.ModuleList([SerialAdapter(self.embed_dim, width) for _ in range(2 * len(self.backbone.blocks))])
        self.train_in_backbone(name for name, _ in self.backbone.named_parameters() if _is_norm(name))
        self.arguments["width"] = width

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Pass the sub-layer's output through its adapter."""
        return self.adapters[number](out)


def _is_norm(name: str) -> bool:
    """Whether a parameter belongs to a norm between sub-layers, or to the final one."""
    return name.rpartition(".")[0].rpartition(".")[2] in ("norm1", "norm2", "norm", "fc_norm") and ".attn." not in name

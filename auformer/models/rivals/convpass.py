"""A convolutional bypass beside each sub-layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.rivals.adapted import AdaptedViT, check_size

WIDTH = 8  # hidden channels in the authors' code (github.com/JieShibo/PETL-ViT, convpass/vtab)
SCALE = 1.0  # the authors' configurations set it per task, 0.01, 0.1 and 1 among them [ours: one for all]


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
        return SCALE * self.up(F.gelu(torch.cat([alone, patches.flatten(2).transpose(1, 2)], 1)))


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
        width: int = WIDTH,
    ) -> None:
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        check_size("width", width)
        self.bypasses = nn.ModuleList([Bypass(self.embed_dim, width) for _ in range(2 * len(self.backbone.blocks))])
        self.arguments["width"] = width

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Add the bypass's output to that of the sub-layer."""
        return out + self.bypasses[number](y, self.grid_size)

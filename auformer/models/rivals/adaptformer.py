"""A bottleneck beside the MLP of each block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.rivals.adapted import AdaptedViT, check_size

WIDTH, SCALE = 64, 0.1  # middle dimension and scaling factor of the authors' code (github.com/ShoufaChen/AdaptFormer, main_image.py)


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
        return SCALE * self.up(F.relu(self.down(y)))


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
        width: int = WIDTH,
    ) -> None:
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        check_size("width", width)
        self.bottlenecks = nn.ModuleList([ParallelBottleneck(self.embed_dim, width) for _ in self.backbone.blocks])
        self.arguments["width"] = width

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Add the bottleneck's output to that of the MLP."""
        return out + self.bottlenecks[number // 2](y) if number % 2 else out

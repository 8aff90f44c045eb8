"""A linear map on the pooled features of the frozen ViT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from auformer.models.heads import LinearHead
from auformer.models.network import AUNetwork


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
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        self.head = LinearHead(self.embed_dim, len(self.au_names))

    def forward_all(self, images: Tensor) -> tuple[Tensor, None]:
        """Images `(B, 3, H, W)` float in [0, 1] to `(logits (B, N), None)`; nothing is kept of the frozen ViT."""
        with torch.no_grad():
            features = self.pooled_features(images)
        return self.head(features), None

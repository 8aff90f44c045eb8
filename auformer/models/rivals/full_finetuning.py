"""The whole ViT trained, with the head of AUFormer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auformer.models.heads import MLPHead
from auformer.models.network import AUNetwork


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
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        self.backbone.requires_grad_(True)
        self.head = MLPHead(self.embed_dim, len(self.au_names))
        self.train()  # the backbone comes in eval mode

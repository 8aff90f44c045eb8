"""BitFit: only the biases of the ViT are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auformer.models.rivals.adapted import AdaptedViT


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
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        self.train_in_backbone(name for name, _ in self.backbone.named_parameters() if "bias" in name.rpartition(".")[2])

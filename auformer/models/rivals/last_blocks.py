"""The last blocks of the ViT trained, the rest frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auformer.models.rivals.adapted import AdaptedViT, check_size

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
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        depth = len(self.backbone.blocks)
        check_size("num_blocks", num_blocks, depth)
        last = tuple(f"blocks.{number}." for number in range(depth - num_blocks, depth))
        self.train_in_backbone(n for n, _ in self.backbone.named_parameters() if n.startswith((*last, "norm.", "fc_norm.")))
        self.arguments["num_blocks"] = num_blocks

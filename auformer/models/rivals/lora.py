"""LoRA, by the peft library, on the linear maps of a timm ViT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auformer.errors import require
from auformer.models.rivals.adapted import AdaptedViT, check_size, linear_maps

RANK = 8  # of 1 to 64 in the paper's table 6, which hardly differ [ours]


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
        rank: int = RANK,
    ) -> None:
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        check_size("rank", rank)
        peft = require("peft", "peft")
        config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=linear_maps(self.backbone))
        peft.inject_adapter_in_model(config, self.backbone)
        self.train_in_backbone(name for name, _ in self.backbone.named_parameters() if "lora_" in name)
        self.arguments["rank"] = rank
        self.train()

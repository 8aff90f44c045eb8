"""Prompts: learnt tokens at the input of every block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from auformer.models.backbone import attention_for_training, rotary
from auformer.models.rivals.adapted import AdaptedViT, check_size

NUM_PROMPTS = 10  # the authors choose it per task [ours: one for all]


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
        num_prompts: int = NUM_PROMPTS,
    ) -> None:
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool)
        check_size("num_prompts", num_prompts)
        if any(rope is not None for rope in rotary(self.backbone)):
            raise ValueError(f"Expected `backbone` to be a ViT without rotary embedding for prompts, but got {backbone}")
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

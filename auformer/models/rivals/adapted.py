"""What the rivals that adapt a frozen ViT share: AUFormer's head, and a block loop in which a sub-layer's output can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor, nn

from auformer.models.backbone import attention_for_training, rotary, sub_layers
from auformer.models.heads import MLPHead
from auformer.models.network import AUNetwork

MAX_SIZE = 4096  # a number read from a stranger's file must not ask for gigabytes of weights [ours]


class AdaptedViT(AUNetwork):
    """Base: a frozen ViT below the MLP head that AUFormer has too. A subclass overrides `adapt` or `tokens`, or frees parameters.

    There is no dropout in any of them, as there is none in AUFormer.

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
        self.head = MLPHead(self.embed_dim, len(self.au_names))
        self.train()

    def adapt(self, number: int, y: Tensor, out: Tensor) -> Tensor:
        """Change what a sub-layer adds to the residual stream.

        Args:
            number: Of the sub-layer, `2 * block + (0 for attention, 1 for the MLP)`.
            y: Its normed input `(B, P+T, D)`.
            out: What it would add `(B, P+T, D)`, layer scale included.

        Returns:
            `(B, P+T, D)`.
        """
        return out

    def tokens(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to the adapted ViT's tokens before its final norm `(B, P+T, D)`."""
        x, number = self.embed(images), 0
        with attention_for_training(self.backbone):
            for block, rope in zip(self.backbone.blocks, rotary(self.backbone), strict=True):
                for layer in sub_layers(block):
                    y = layer.norm(x)
                    x = x + self.adapt(number, y, layer.branch(y, rope))
                    number += 1
        return x

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images `(B, 3, H, W)` float in [0, 1] to `(logits (B, N), None)`."""
        return self.head(self.pool_tokens(self.tokens(images))), None

    def train_in_backbone(self, names: Iterable[str]) -> None:
        """Free parameters of the frozen ViT, by their names in it; they lie in the adapter file."""
        parameters = dict(self.backbone.named_parameters())
        for name in names:
            parameters[name].requires_grad_(True)
        self.trained_in_backbone = frozenset(f"backbone.{name}" for name, one in parameters.items() if one.requires_grad)


def linear_maps(backbone: nn.Module) -> list[str]:
    """Names of the linear maps in the blocks of a ViT, without those that timm reads the weight of instead of calling them (EVA-02)."""
    modules = dict(backbone.named_modules())
    names = [name for name, module in modules.items() if name.startswith("blocks.") and isinstance(module, nn.Linear)]
    passed_by = {
        f"{name}.qkv"
        for name, module in modules.items()
        if getattr(module, "q_bias", None) is not None and not getattr(module, "qkv_bias_separate", False)
    }
    return [name for name in names if name not in passed_by]


def check_size(name: str, value: int, most: int = MAX_SIZE) -> None:
    """Refuse sizes that are no whole numbers from 1 to `most`.

    Raises:
        ValueError: Says which.
    """
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"Expected `{name}` to be a whole number from 1 to {most}, but got {value!r}")

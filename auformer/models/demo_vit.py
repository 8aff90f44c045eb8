"""The demo backbone as an ordinary timm entrypoint: `vit_auformer_demo_112` [ours].

A `VisionTransformer` of 2.8 M parameters for 112 px faces: 49 tokens of width 192, six blocks of three heads, no class
token, average pooling, and a convolutional patch embedding, because a plain 16 x 16 patch projection learns rendered
faces far more slowly (held-out loss at equal time, measured with the script below). The packaged weights were
pre-trained on rendered faces without AU labels by `experiments/pretraining/pretrain_demo_backbone.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

DEMO_BACKBONE = "vit_auformer_demo_112"
DEMO_WEIGHTS = Path(__file__).parent.parent / "assets" / "demo_backbone.safetensors"

SCANNED_WEIGHTS = DEMO_WEIGHTS.with_name("scanned_backbone.safetensors")


def _configuration(weights: Path) -> dict[str, Any]:
    return {
        "file": str(weights),
        "num_classes": 0,
        "input_size": (3, 112, 112),
        "fixed_input_size": True,
        "pool_size": None,
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.45, 0.45, 0.45),
        "std": (0.25, 0.25, 0.25),
        "first_conv": "patch_embed.net.0",
        "classifier": "head",
        "license": "apache-2.0",
    }


#: Of the packaged weights: by drawn faces, for the demo and what compares with it, and by drawn and scanned ones under
#: strong augmentation, for the packaged AU detector.
default_cfgs = generate_default_cfgs(
    {
        f"{DEMO_BACKBONE}.rendered_faces": _configuration(DEMO_WEIGHTS),
        f"{DEMO_BACKBONE}.scanned_faces": _configuration(SCANNED_WEIGHTS),
    }
)


class ConvStem(nn.Module):
    """Patch embedding of stride 16 in four convolutions, an `embed_layer` for timm's `VisionTransformer`.

    Three 3 x 3 convolutions of stride 2 with BatchNorm and ReLU, then one 2 x 2 of stride 2: `(B, 3, H, W)` -> `(B,
    H/16 * W/16, D)`.

    Arguments are those of timm's call; 16 is the only `patch_size` that these four steps give.

    Raises:
        ValueError: `patch_size` is not 16 or padding is asked for.
    """

    def __init__(
        self,
        img_size: int = 112,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 192,
        bias: bool = True,
        dynamic_img_pad: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if patch_size != 16 or dynamic_img_pad:
            raise ValueError(
                f"Expected `patch_size` to be 16 without padding, but got {patch_size} and padding {dynamic_img_pad}"
            )
        side = img_size // patch_size
        self.img_size, self.patch_size = (img_size, img_size), (patch_size, patch_size)
        self.grid_size, self.num_patches = (side, side), side * side
        self.strict_img_size = True
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        layers: list[nn.Module] = []
        for channels in (24, 48, 96):
            convolution = nn.Conv2d(in_chans, channels, 3, 2, 1, bias=False, **where)
            layers += [convolution, nn.BatchNorm2d(channels, **where), nn.ReLU()]
            in_chans = channels
        self.net = nn.Sequential(*layers, nn.Conv2d(in_chans, embed_dim, 2, 2, bias=bias, **where))

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Stride of the token grid in pixels, as timm's patch embeddings give it."""
        return self.patch_size[0] if as_scalar else (self.patch_size[0], self.patch_size[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images `(B, 3, H, W)` to tokens `(B, T, D)`."""
        if tuple(x.shape[-2:]) != self.img_size:
            raise ValueError(
                f"Expected images of {self.img_size[0]}x{self.img_size[1]} pixels, but got {x.shape[-2]}x{x.shape[-1]}"
            )
        return self.net(x).flatten(2).transpose(1, 2)  # (B, D, H/16, W/16) -> (B, T, D)


@register_model
def vit_auformer_demo_112(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build the demo ViT through timm; `pretrained=True` loads the packaged float16 weights, never the network."""
    arguments = {
        "img_size": 112, "patch_size": 16, "embed_dim": 192, "depth": 6, "num_heads": 3, "class_token": False,
        "global_pool": "avg", "fc_norm": False, "num_classes": 0, "embed_layer": ConvStem,
    }  # fmt: skip
    return build_model_with_cfg(VisionTransformer, DEMO_BACKBONE, pretrained, **{**arguments, **kwargs})

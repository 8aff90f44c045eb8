"""Backbones with four scales, of timm: ResNets and Swin transformers, trained as a whole.

ResNet: He et al., CVPR 2016 (arxiv.org/abs/1512.03385). Swin: Liu et al., ICCV 2021 (arxiv.org/abs/2103.14030).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from auformer.errors import CheckpointError
from auformer.models.backbone import parse_image_size, weight_overlay

KERNELS = (8, 4, 2, 1)  # from the grid of each scale to that of the last
STRIDE = 32  # pixels of an image per position of the last grid
DROP_PATH = 0.5  # highest rate of stochastic depth in a Swin transformer, as released


class Stages(nn.Module):
    """A ResNet or Swin transformer that gives the maps of its four scales, and tokens.

    The maps of a ResNet are the outputs of its stages, those of a Swin transformer the inputs: patch embedding, then
    each merging, as in the released code of MDHR.

    Args:
        name: Of a timm model.
        pretrained: Load its weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels; 224 by default.

    Attributes:
        channels: Of each map.
        embed_dim: Channels of the tokens.
        img_size: `(H, W)` in pixels.
        grid_size: `(h, w)` of the tokens.

    Raises:
        ValueError: timm has no such model, it is of another kind, or it cannot be built for the image size.
        CheckpointError: The weights cannot be had.
    """

    def __init__(
        self, name: str, *, pretrained: bool = False, checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        size = parse_image_size(img_size) or (224, 224)
        if any(side % STRIDE for side in size):
            raise ValueError(f"Expected `img_size` to be a multiple of {STRIDE} pixels for {name}, but got {size}")
        model = _build(name, pretrained, checkpoint_path, size)
        self.model = model
        self.img_size, self.grid_size = size, (size[0] // STRIDE, size[1] // STRIDE)
        self.pretrained_cfg = {key: value for key, value in model.pretrained_cfg.items() if key != "state_dict"}
        model.pretrained_cfg = model.default_cfg = self.pretrained_cfg
        self.native_pos_embed: tuple[int, ...] = ()
        self.embed_dim: int = model.num_features
        self.swin = isinstance(model, SwinTransformer)
        if self.swin:
            self.channels = [model.embed_dim * 2**scale for scale in range(4)]
        else:
            self.channels = [each["num_chs"] for each in model.feature_info[1:]]

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that do not decay by timm's rule."""
        spared = self.model.no_weight_decay() if hasattr(self.model, "no_weight_decay") else ()
        return {f"model.{name}" for name in spared}

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Normalised images `(B, 3, H, W)` to maps `(B, c, H/s, W/s)`, s = 4, 8, 16, 32, and tokens `(B, h w, D)`."""
        return self._swin_maps(x) if self.swin else self._resnet_maps(x)

    def _resnet_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        model: Any = self.model
        x = model.maxpool(model.act1(model.bn1(model.conv1(x))))
        maps = []
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = layer(x)
            maps.append(x)
        return maps, x.flatten(2).transpose(1, 2)

    def _swin_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        model: Any = self.model
        x, maps = model.patch_embed(x), []  # (B, H/4, W/4, c)
        for layer in model.layers:
            x = layer.downsample(x)
            maps.append(x.permute(0, 3, 1, 2))
            x = layer.blocks(x)
        return maps, model.norm(x).flatten(1, 2)


def _build(name: str, pretrained: bool, checkpoint_path: str | Path | None, size: tuple[int, int]) -> Any:
    """The timm model without classifier."""
    if not re.fullmatch(r"(resnet|swin)[\w.\-]*", name) or not timm.is_model(name.partition(".")[0]):
        raise ValueError(
            f"Expected `backbone` to be the name of a ResNet or Swin transformer of timm, but got {name!r}"
        )
    overlay = None if checkpoint_path is None else weight_overlay(Path(checkpoint_path))
    if overlay is not None and "state_dict" in overlay:
        overlay["state_dict"] = {key: one for key, one in overlay["state_dict"].items() if not key.startswith("fc.")}
    swin: dict[str, Any] = {"drop_path_rate": DROP_PATH}
    if size != (224, 224):
        swin["img_size"] = size
    try:
        model: Any = timm.create_model(
            name, num_classes=0, pretrained=pretrained or overlay is not None, pretrained_cfg_overlay=overlay,
            **(swin if name.startswith("swin") else {}),
        )  # fmt: skip
    except Exception as error:
        if overlay is None and not pretrained:
            raise ValueError(f"Expected `img_size` {size} to be one that {name} can be built for ({error})") from error
        raise CheckpointError(
            f"Cannot load pretrained weights into {name} ({type(error).__name__}: {error}). Run once with network "
            "access, or pass a local file as `checkpoint_path=`"
        ) from error
    if not isinstance(model, ResNet | SwinTransformer):
        raise ValueError(
            f"Expected `backbone` to be a ResNet or Swin transformer, but {name} is {type(model).__name__}"
        )
    return model

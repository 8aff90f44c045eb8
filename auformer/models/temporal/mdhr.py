"""MDHR as released: a ResNet or Swin transformer, trained as a whole, below dynamics, regions, relations and time.

Wang et al., "Multi-scale Dynamic and Hierarchical Relationship Modeling for Facial Action Units Recognition", CVPR
2024, arxiv.org/abs/2404.06443. Independent of the authors' code (github.com/CVI-SZU/MDHR, MIT), whose numbers it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from auformer.models.temporal.dynamics import FacialDynamics
from auformer.models.temporal.head import DynamicHead
from auformer.models.temporal.network import ClipNetwork
from auformer.models.temporal.stages import KERNELS, Stages

DIM = 512  # channels above the backbone, as released
WIDTH = 8  # channels of the common grid of the dynamics, in those of the first map


class MDHR(ClipNetwork):
    """MDHR on timm's ResNet-50, Swin-B, or another of their kinds; its adapter file holds the whole network.

    Args:
        backbone: `resnet50` or `swin_base_patch4_window7_224`, with or without a weight tag; others of their kinds
            work too. The released weights are torchvision's `resnet50-19c8e357.pth` and Microsoft's
            `swin_base_patch4_window7_224.pth` (timm: `.ms_in1k`).
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, a multiple of 32; 224 as released.
        clip_length: Frames `T` of a clip; 16 as released.
        reach: Transitions `k` on either side of a frame; 5 as released.
        ends: Transitions beyond a clip: `zeros` as released, or `inside`, which leaves them out of the mean [ours].
        edges: `active` as released; `none`, `all`, `others`: ablations.
        view: What is tested of an image: its `centre`, as large as faces are in training, or the `whole`, in which they
            are 1/8 smaller, as released.

    Raises:
        ValueError: An argument is out of its range.
    """

    frozen = False
    head: Any
    backbone: Stages

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, clip_length: int = 16,
        reach: int = 5, ends: str = "zeros", edges: str = "active", view: str = "centre",
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size
        )  # fmt: skip
        if view not in ("centre", "whole"):
            raise ValueError(f"Expected `view` to be centre or whole, but got {view!r}")
        self.view = view
        del self.arguments["pool"]
        self.take_clip_length(clip_length)
        stages = self.backbone
        width = WIDTH * stages.channels[0]
        dynamics = FacialDynamics(stages.channels, KERNELS, width, DIM, reach=reach, ends=ends)
        self.head = DynamicHead(self.au_names, stages.embed_dim, DIM, dynamics, edges=edges)
        self.region_heads = [region.aus for region in self.head.regions]
        self.arguments |= {"reach": reach, "ends": ends, "edges": edges, "view": view}
        self.train()

    def make_backbone(self, name: str, **options: Any) -> Any:
        """A ResNet or Swin transformer with four scales."""
        return Stages(name, **options)

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """`(H, W)` of an image in pixels, `(h, w)` of the grid of tokens."""
        return self.backbone.img_size, self.backbone.grid_size

    @property
    def has_feature_statistics(self) -> bool:
        """There are none to measure: the backbone is trained."""
        return True

    def clip_outputs(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips `(B, T, 3, H, W)` to `logits`, `probs` `(B T, N)` and `region_logits`, see `DynamicHead`."""
        images, frames = self.fold(clips)
        maps, tokens = self.backbone(self.normalise(images))
        return self.head(tokens, [each.unflatten(0, (-1, frames)) for each in maps], self.grid_size, frames)

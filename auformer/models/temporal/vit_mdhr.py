"""MDHR's head on a frozen ViT [ours]: its scales are depths of the ViT, on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auformer.models.backbone import rotary
from auformer.models.heads import Standardise
from auformer.models.temporal.dynamics import FacialDynamics
from auformer.models.temporal.head import DynamicHead
from auformer.models.temporal.network import ClipNetwork

MAX_DIM = 4096  # channels; a number read from a stranger's file must not ask for gigabytes of weights [ours]
DYNAMICS = ("weights", "sum", "none")


def default_taps(depth: int) -> tuple[int, ...]:
    """Blocks after which tokens are taken: four at equal distances, the last block among them, or three, two, one.

    >>> default_taps(12), default_taps(6), default_taps(7)
    ((3, 6, 9, 12), (2, 4, 6), (7,))
    """
    number = next(count for count in (4, 3, 2, 1) if depth % count == 0)
    return tuple(depth // number * (step + 1) for step in range(number))


class TappedViT(ClipNetwork):
    """Base of clip networks that read the tokens of several depths of a frozen ViT, standardised per channel.

    A subclass calls `take_taps` in its constructor.
    """

    standardise: Standardise

    def take_taps(self, taps: Sequence[int] | None) -> None:
        """Note after which blocks tokens are taken.

        Raises:
            ValueError: They are no rising numbers of blocks.
        """
        depth = len(self.backbone.blocks)
        chosen = default_taps(depth) if taps is None else tuple(taps)
        inside = all(type(tap) is int and 1 <= tap <= depth for tap in chosen)
        if not chosen or not inside or sorted(set(chosen)) != list(chosen):
            raise ValueError(f"Expected `taps` to be rising numbers of blocks from 1 to {depth}, but got {taps!r}")
        self.taps = chosen
        self.standardise = Standardise(len(chosen) * self.embed_dim)
        self.arguments["taps"] = list(chosen)

    @property
    def has_feature_statistics(self) -> bool:
        """Whether the standardisation of the taps has been measured."""
        return bool(self.standardise.measured)

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the standardisation: mean and deviation `(taps D,)` of `measured_features` over training images."""
        self.standardise.set_statistics(mean, std)

    @torch.no_grad()
    def measured_features(self, images: Tensor) -> Tensor:
        """Tokens of all taps of single images `(B, 3, H, W)`, a row per token `(B T, taps D)`."""
        return self.tap(images).flatten(0, 1)

    @torch.no_grad()
    def tap(self, images: Tensor) -> Tensor:
        """Patch tokens of single images `(B, 3, H, W)` after each tap, one beside the other `(B, h w, taps D)`."""
        x, found = self.embed(images), []
        for number, (block, rope) in enumerate(zip(self.backbone.blocks, rotary(self.backbone), strict=True), start=1):
            x = block(x) if rope is None else block(x, rope=rope)
            if number in self.taps:
                found.append(x[:, self.backbone.num_prefix_tokens :])
            if number == self.taps[-1]:
                break
        return torch.cat(found, -1)


class ViTMDHR(TappedViT):
    """Static tokens of the last tap, dynamics of all taps, then regions, relations, time and classifier of MDHR.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`; it is frozen.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`; the backbone's own by default.
        clip_length: Frames `T` of a clip.
        dim: Channels `C` above the backbone: 512 on ViT-B; 96 on the demo backbone.
        taps: Blocks after which tokens are taken; by default see `default_taps`.
        reach: Transitions `k` on either side of a frame.
        ends: Transitions beyond a clip: `inside` leaves them out of the mean; `zeros` is the released code's way.
        dynamics: `weights` of the taps per position; their plain `sum`, or `none` at all (ablations).
        edges: See `edges_of`: `active`; `none`, `all`, `others` (ablations).
        over_time: The convolution over time; False: an ablation.

    Raises:
        ValueError: An argument is out of its range.
    """

    head: Any

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, clip_length: int = 16,
        dim: int = 512, taps: Sequence[int] | None = None, reach: int = 5, ends: str = "inside",
        dynamics: str = "weights", edges: str = "active", over_time: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size
        )  # fmt: skip
        if type(dim) is not int or not 1 <= dim <= MAX_DIM:
            raise ValueError(f"Expected `dim` to be a number of channels from 1 to {MAX_DIM}, but got {dim!r}")
        if dynamics not in DYNAMICS:
            raise ValueError(f"Expected `dynamics` to be one of {', '.join(DYNAMICS)}, but got {dynamics!r}")
        del self.arguments["pool"]
        self.take_clip_length(clip_length)
        self.take_taps(taps)
        moving = None
        if dynamics != "none":
            channels, ones = [self.embed_dim] * len(self.taps), [1] * len(self.taps)
            moving = FacialDynamics(channels, ones, dim, dim, reach=reach, ends=ends, fusion=dynamics)
        self.head = DynamicHead(self.au_names, self.embed_dim, dim, moving, edges=edges, over_time=over_time)
        self.region_heads = [region.aus for region in self.head.regions]
        self.arguments |= {
            "dim": dim, "reach": reach, "ends": ends, "dynamics": dynamics, "edges": edges, "over_time": over_time,
        }  # fmt: skip
        self.train()

    def clip_outputs(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips `(B, T, 3, H, W)` to `logits`, `probs` `(B T, N)` and `region_logits`, see `DynamicHead`."""
        images, frames = self.fold(clips)
        return self.outputs_of_taps(self.tap(images), frames)

    def outputs_of_taps(self, tokens: Tensor, frames: int) -> dict[str, Tensor]:
        """The same from what `tap` gives `(B T, h w, taps D)`, for `frames` frames `T` a clip: all that is trained."""
        each = self.standardise(tokens).chunk(len(self.taps), -1)
        maps = [one.transpose(1, 2).unflatten(2, self.grid_size).unflatten(0, (-1, frames)) for one in each]
        return self.head(each[-1], maps, self.grid_size, frames)

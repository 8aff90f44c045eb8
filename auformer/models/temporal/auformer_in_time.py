"""AUFormer that sees clips [ours]: its experts beside what moved between neighbouring frames, and a look over time.

Joins the experts of AUFormer (Yuan et al., ECCV 2024, arxiv.org/abs/2403.04697) with the facial dynamics and the
convolution over time of MDHR (Wang et al., CVPR 2024, arxiv.org/abs/2404.06443).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.auformer import AUFormer
from auformer.models.temporal.convolution import TimeConvolution
from auformer.models.temporal.dynamics import FacialDynamics
from auformer.models.temporal.network import ClipNetwork
from auformer.models.temporal.vit_mdhr import MAX_DIM, default_taps

TIMES = ("none", "dynamics", "convolution", "both")
NARROW = 8  # channels of what one action unit reads of the dynamics, as of one expert


class FrameByFrame(NamedTuple):
    """What `AUFormerInTime` knows of each frame by itself, before it looks at those around.

    Args:
        logits: Of the main head `(B, N)`.
        expert_logits: Of the expert heads `(B, N)`; None without them.
        means: What each expert of the last group handed on, averaged over the grid `(B, N, R)`; None while experts are
            disabled.
        tokens: Patch tokens after each tap `(B, h w, D)`; empty without dynamics.
    """

    logits: Tensor
    expert_logits: Tensor | None
    means: Tensor | None
    tokens: list[Tensor]


class AUFormerInTime(ClipNetwork, AUFormer):
    """AUFormer frame by frame, and to its logits added what the frames around say, zero in a fresh network.

    `dynamics`: differences of neighbouring frames after some blocks, experts included (`FacialDynamics`), read by each
    action unit through a narrow map of its own and averaged over the grid. `convolution`: what each expert of the last
    group hands on, averaged over the grid, over five frames (`TimeConvolution`). `both`: the convolution sees both. One
    linear map per action unit makes a number of it, which both the main head's and the expert head's logit gain.

    Args:
        backbone: As all up to `blocks` of `AUFormer`.
        au_names: Action units, or the name of a set; one expert each per group.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels.
        clip_length: Frames `T` of a clip.
        time: `none` (AUFormer frame by frame, for comparison), `dynamics`, `convolution`, `both`.
        dim: Channels of the dynamics.
        taps: Blocks after which differences are taken; by default see `default_taps`.
        reach: Transitions `k` on either side of a frame.
        ends: Transitions beyond a clip: `inside` leaves them out of the mean; `zeros` is MDHR's way.
        expert_width: Bottleneck channels of one expert.
        dilations: Dilations of the multi-receptive-field branch.
        window: Odd side of the context operator's neighbourhood.
        pool: `avg` or `token`.
        expert_heads: Build the expert heads.
        average_heads: Predict the mean of both heads' probabilities.
        experts_beside: Sub-layers with experts.
        carry: Each expert sees its own output in the previous group.
        shared_expert: One expert per group for all action units.
        blocks: Blocks with experts.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, clip_length: int = 16,
        time: str = "both", dim: int = 96, taps: Sequence[int] | None = None, reach: int = 5, ends: str = "inside",
        expert_width: int = 8, dilations: Sequence[int] = (1, 3, 5), window: int = 3, pool: str = "avg",
        expert_heads: bool = True, average_heads: bool = True, experts_beside: str = "both", carry: bool = True,
        shared_expert: bool = False, blocks: str = "all",
    ) -> None:  # fmt: skip
        if time not in TIMES:
            raise ValueError(f"Expected `time` to be one of {', '.join(TIMES)}, but got {time!r}")
        if type(dim) is not int or not 1 <= dim <= MAX_DIM:
            raise ValueError(f"Expected `dim` to be a number of channels from 1 to {MAX_DIM}, but got {dim!r}")
        AUFormer.__init__(
            self, backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size,
            expert_width=expert_width, dilations=dilations, window=window, pool=pool, expert_heads=expert_heads,
            average_heads=average_heads, experts_beside=experts_beside, carry=carry, shared_expert=shared_expert,
            blocks=blocks,
        )  # fmt: skip
        self.take_clip_length(clip_length)
        depth, num_aus = len(self.backbone.blocks), len(self.au_names)
        self.taps = default_taps(depth) if taps is None else tuple(taps)
        if not self.taps or not all(type(tap) is int and 1 <= tap <= depth for tap in self.taps):
            raise ValueError(f"Expected `taps` to be numbers of blocks from 1 to {depth}, but got {taps!r}")
        self.arguments |= {"time": time, "dim": dim, "taps": list(self.taps), "reach": reach, "ends": ends}
        self.moves, self.looks = time in ("dynamics", "both"), time in ("convolution", "both")
        ones, channels = [1] * len(self.taps), [self.embed_dim] * len(self.taps)
        self.dynamics = FacialDynamics(channels, ones, dim, dim, reach=reach, ends=ends) if self.moves else None
        self.narrow = nn.Linear(dim, num_aus * NARROW) if self.moves else None
        width = NARROW * self.moves + expert_width * self.looks
        self.over_time = TimeConvolution(num_aus, width) if self.looks else None
        self.read_time = nn.Parameter(torch.zeros(num_aus, width)) if width else None
        self.train()

    def clip_outputs(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips `(B, T, 3, H, W)` to `logits`, `probs`, `expert_logits` where there are any, `(B T, N)` each."""
        images, frames = self.fold(clips)
        return self.with_time(self.frame_by_frame(images), frames)

    def frame_by_frame(self, images: Tensor) -> FrameByFrame:
        """What AUFormer says of single images `(B, 3, H, W)`, and what `with_time` needs of each."""
        x, carried, found = self.embed(images), None, []
        for number, steps in enumerate(self._blocks(), start=1):
            x, carried = self._block(steps, x, carried, None)
            if self.moves and number in self.taps:
                found.append(x[:, self.backbone.num_prefix_tokens :])
        means = None if carried is None else carried.means
        return FrameByFrame(self.head(self.pool_tokens(x)), self.expert_logits(carried), means, found)

    def with_time(self, each: FrameByFrame, frames: int) -> dict[str, Tensor]:
        """`outputs` of clips of `frames` frames `T` from those of their frames: all that AUFormer itself has not."""
        logits, expert_logits = each.logits, each.expert_logits
        if self.read_time is not None:
            added = self.in_time(each.tokens, each.means, frames)
            logits = logits + added
            expert_logits = None if expert_logits is None else expert_logits + added
        outputs = {"logits": logits, "probs": self.mean_probs(logits, expert_logits)}
        return outputs if expert_logits is None else {**outputs, "expert_logits": expert_logits}

    def in_time(self, tokens: Sequence[Tensor], means: Tensor | None, frames: int) -> Tensor:
        """What the frames around add to the logits `(B T, N)`.

        Args:
            tokens: Patch tokens after each tap `(B T, h w, D)`; empty without dynamics.
            means: What each expert of the last group handed on, averaged over the grid `(B T, N, R)`; None while
                experts are disabled: then the convolution adds nothing.
            frames: Frames `T` of a clip.
        """
        assert self.read_time is not None
        num_aus, parts = len(self.au_names), []
        if self.dynamics is not None and self.narrow is not None:
            maps = [one.transpose(1, 2).unflatten(2, self.grid_size).unflatten(0, (-1, frames)) for one in tokens]
            moved = self.dynamics(maps).flatten(2).transpose(1, 2)  # (B T, h w, C)
            parts.append(F.gelu(self.narrow(moved)).mean(1).unflatten(1, (num_aus, NARROW)))
        if self.over_time is not None:
            if means is None:
                return self.read_time.new_zeros(())
            parts.append(means.expand(-1, num_aus, -1))
            features = self.over_time(torch.cat(parts, -1), frames)
        else:
            features = parts[0]
        return (features * self.read_time).sum(-1)

"""AUFormer that sees clips [ours]: frame by frame, and beside it MDHR's head on its tokens.

Joins the experts of AUFormer (Yuan et al., ECCV 2024, arxiv.org/abs/2403.04697) with the facial dynamics and the
convolution over time of MDHR (Wang et al., CVPR 2024, arxiv.org/abs/2404.06443).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from auformer.models.auformer import AUFormer
from auformer.models.temporal.dynamics import FacialDynamics
from auformer.models.temporal.head import DynamicHead
from auformer.models.temporal.network import ClipNetwork
from auformer.models.temporal.vit_mdhr import MAX_DIM, default_taps

TIMES = ("none", "dynamics", "convolution", "both")


class FrameByFrame(NamedTuple):
    """What `AUFormerInTime` knows of each frame by itself, before it looks at those around.

    Args:
        logits: Of the main head `(B, N)`.
        expert_logits: Of the expert heads `(B, N)`; None without them.
        tokens: Patch tokens after each tap `(B, h w, D)`; empty with `time: none`.
    """

    logits: Tensor
    expert_logits: Tensor | None
    tokens: list[Tensor]


class AUFormerInTime(ClipNetwork, AUFormer):
    """AUFormer frame by frame, and MDHR's head on the tokens that its experts leave, which looks at the frames around.

    The head (`DynamicHead`) has logits and a loss of its own, and the probability is the mean of its and AUFormer's. On
    rendered clips that is better than adding what it finds to AUFormer's logits: where AUFormer already fits its
    training frames, nothing is left to be learned from them (`experiments/results/time.md`).

    Args:
        backbone: As all up to `blocks` of `AUFormer`.
        au_names: Action units, or the name of a set; one expert each per group.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels.
        clip_length: Frames `T` of a clip.
        time: What the head has of MDHR's: `dynamics`, differences of neighbouring frames; `convolution` over five
            frames; `both`; `none`: AUFormer frame by frame, for comparison.
        dim: Channels of the head.
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
        depth = len(self.backbone.blocks)
        self.taps = default_taps(depth) if taps is None else tuple(taps)
        if not self.taps or not all(type(tap) is int and 1 <= tap <= depth for tap in self.taps):
            raise ValueError(f"Expected `taps` to be numbers of blocks from 1 to {depth}, but got {taps!r}")
        self.arguments |= {"time": time, "dim": dim, "taps": list(self.taps), "reach": reach, "ends": ends}
        self.time_head: Any = None
        if time != "none":
            moving, shape = None, ([self.embed_dim] * len(self.taps), [1] * len(self.taps))
            if time != "convolution":
                moving = FacialDynamics(*shape, dim, dim, reach=reach, ends=ends)
            over_time = time != "dynamics"
            self.time_head = DynamicHead(self.au_names, self.embed_dim, dim, moving, over_time=over_time)
            self.region_heads = [region.aus for region in self.time_head.regions]
        self.train()

    def clip_outputs(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips `(B, T, 3, H, W)` to what `with_time` gives."""
        images, frames = self.fold(clips)
        return self.with_time(self.frame_by_frame(images), frames)

    def frame_by_frame(self, images: Tensor) -> FrameByFrame:
        """What AUFormer says of single images `(B, 3, H, W)`, and what `with_time` needs of each."""
        x, carried, found = self.embed(images), None, []
        for number, steps in enumerate(self._blocks(), start=1):
            x, carried = self._block(steps, x, carried, None)
            if self.time_head is not None and number in self.taps:
                found.append(x[:, self.backbone.num_prefix_tokens :])
        return FrameByFrame(self.head(self.pool_tokens(x)), self.expert_logits(carried), found)

    def with_time(self, each: FrameByFrame, frames: int) -> dict[str, Tensor]:
        """Outputs of clips of `frames` frames `T` from those of their frames.

        Returns:
            `logits`, `probs` and, where there are any, `expert_logits`; with a head over time also its `time_logits`
            `(B T, N)`, and `region_logits`, see `DynamicHead`.
        """
        outputs = {"logits": each.logits, "probs": self.mean_probs(each.logits, each.expert_logits)}
        if each.expert_logits is not None:
            outputs["expert_logits"] = each.expert_logits
        if self.time_head is None:
            return outputs
        found = self.in_time(each.tokens, frames)
        probs = (outputs["probs"] + found["probs"]) / 2
        return {**outputs, "probs": probs, "time_logits": found["logits"], "region_logits": found["region_logits"]}

    def in_time(self, tokens: Sequence[Tensor], frames: int) -> dict[str, Tensor]:
        """What the head over time says of tokens `(B T, h w, D)` after each tap, see `DynamicHead`."""
        maps = [one.transpose(1, 2).unflatten(2, self.grid_size).unflatten(0, (-1, frames)) for one in tokens]
        return self.time_head(tokens[-1], maps, self.grid_size, frames)

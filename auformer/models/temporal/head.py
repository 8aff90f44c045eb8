"""Everything of MDHR above the backbone's maps, whatever backbone that is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.temporal.blocks import Block, logits_of
from auformer.models.temporal.convolution import CosineClassifier, TimeConvolution
from auformer.models.temporal.dynamics import FacialDynamics
from auformer.models.temporal.regions import RegionLearning, regions_of
from auformer.models.temporal.relations import CrossRelations


class DynamicHead(nn.Module):
    """Static and dynamic tokens, regions, relations, time, classifier.

    Args:
        au_names: Action units.
        inputs: Channels of the tokens.
        dim: Channels `C` of everything above.
        dynamics: What makes the dynamic tokens; None leaves them out (an ablation).
        region_blocks: See `RegionLearning`; by default as released for the list of action units.
        edges: See `edges_of`.
        over_time: The convolution over time; without, a ReLU in its place (an ablation).
    """

    def __init__(
        self, au_names: Sequence[str], inputs: int, dim: int, dynamics: FacialDynamics | None, *,
        edges: str = "active", over_time: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.regions = regions_of(au_names)
        blocks = all(region.name != "lower" for region in self.regions)  # the released list of DISFA has none
        self.static = Block(inputs, dim)
        self.dynamics = dynamics
        self.local = RegionLearning(self.regions, dim, len(au_names), blocks=blocks)
        self.cross = CrossRelations(self.regions, dim, edges=edges)
        self.time = TimeConvolution(len(au_names), dim) if over_time else None
        self.classifier = CosineClassifier(len(au_names), dim)

    def features(self, tokens: Tensor, maps: Sequence[Tensor], grid: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
        """One feature per action unit `(B T, N, C)` before time, and the logits of each region `(B T, classes)`."""
        both = self.static(tokens)  # (B T, h w, C)
        if self.dynamics is not None:
            both = both + self.dynamics(maps).flatten(2).transpose(1, 2)
        nodes, logits = self.local(both, grid)
        return self.cross(nodes, self.local.active(logits)), logits

    def forward(self, tokens: Tensor, maps: Sequence[Tensor], grid: tuple[int, int], frames: int) -> dict[str, Tensor]:
        """What the head says about clips.

        Args:
            tokens: Static tokens `(B T, h w, inputs)`.
            maps: Maps of each scale `(B, T, channels, H, W)`.
            grid: `(h, w)`.
            frames: Frames `T` of a clip.

        Returns:
            `logits`, `probs` `(B T, N)`, and `region_logits (B T, classes of all regions)`.
        """
        nodes, regions = self.features(tokens, maps, grid)
        last = F.relu(nodes) if self.time is None else self.time(nodes, frames)
        probs = self.classifier(last)
        return {"logits": logits_of(probs), "probs": probs, "region_logits": torch.cat(regions, 1)}

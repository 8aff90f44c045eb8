"""Multi-scale facial dynamics (MFD) of MDHR: what moved between neighbouring frames, at several scales.

Wang et al., "Multi-scale Dynamic and Hierarchical Relationship Modeling for Facial Action Units Recognition", CVPR
2024, arxiv.org/abs/2404.06443; computed as the released code does (github.com/CVI-SZU/MDHR, 3497bed2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.temporal.blocks import init_convolution

NARROW = 16  # channels of a scale from which its weight is computed, as released
ENDS = ("zeros", "inside")
FUSIONS = ("weights", "sum")


def pool_transitions(transitions: Tensor, reach: int, ends: str = "zeros") -> Tensor:
    """Mean of the `2k` transitions around each frame: of frame t, those from t-k to t+k-1.

    Args:
        transitions: `(B, T-1, ...)`, one between each two neighbouring frames; T at least 2.
        reach: `k`, at least 1.
        ends: Transitions beyond the clip: `zeros` counts them as zero, as released; `inside` leaves them out of the
            mean [ours].

    Returns:
        `(B, T, ...)`.

    >>> pool_transitions(torch.arange(1.0, 6.0).view(1, 5, 1), 1).flatten().tolist()
    [0.5, 1.5, 2.5, 3.5, 4.5, 2.5]
    """
    rest = transitions.shape[2:]
    rows = transitions.reshape(transitions.shape[0], 1, transitions.shape[1], -1)  # (B, 1, T-1, channels x grid)
    pooled = F.avg_pool2d(rows, (2 * reach, 1), stride=1, padding=(reach, 0), count_include_pad=ends == "zeros")
    return pooled.squeeze(1).unflatten(2, rest)


class FacialDynamics(nn.Module):
    """Differences of neighbouring frames on each map, pooled over time, weighed per position over the scales.

    Args:
        channels: Channels of each map.
        kernels: Kernel and stride that bring each map to the common grid.
        width: Channels of the common grid.
        outputs: Channels of the result.
        reach: Transitions `k` on either side of a frame; 5 in the released code.
        ends: See `pool_transitions`.
        fusion: `weights` (a softmax over the scales per position) or the plain `sum` of the scales (an ablation); a
            single scale has no weights.

    Shape: maps `(B, T, channels_l, h kernel_l, w kernel_l)` to `(B T, outputs, h, w)`.

    Raises:
        ValueError: An option is none of its words, or the reach is below 1.
    """

    def __init__(
        self, channels: Sequence[int], kernels: Sequence[int], width: int, outputs: int, *, reach: int = 5,
        ends: str = "zeros", fusion: str = "weights",
    ) -> None:  # fmt: skip
        super().__init__()
        if ends not in ENDS or fusion not in FUSIONS:
            words = f"`ends` {', '.join(ENDS)}, `fusion` {', '.join(FUSIONS)}"
            raise ValueError(f"Expected one of the words of {words}, but got {ends!r} and {fusion!r}")
        if type(reach) is not int or not 1 <= reach <= 1000:
            raise ValueError(f"Expected `reach` to be a whole number of frames from 1 to 1000, but got {reach!r}")
        self.reach, self.ends = reach, ends
        pairs = list(zip(channels, kernels, strict=True))
        self.convs = nn.ModuleList([init_convolution(nn.Conv2d(c, width, q, stride=q)) for c, q in pairs])
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for _ in pairs])
        self.out_conv, self.out_norm = init_convolution(nn.Conv2d(width, outputs, 1)), nn.BatchNorm2d(outputs)
        weighed = fusion == "weights" and len(pairs) > 1
        self.narrow = nn.ModuleList([init_convolution(nn.Conv2d(width, NARROW, 1)) for _ in pairs] if weighed else [])
        self.narrow_norms = nn.ModuleList([nn.BatchNorm2d(NARROW) for _ in pairs] if weighed else [])
        number = len(pairs)
        self.weigh = init_convolution(nn.Conv2d(number * NARROW, number, 1)) if weighed else None

    def pooled(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Of each map `(B, T, c, H, W)` what moved around each frame `(B T, width, h, w)`; 0 in a clip of one frame."""
        found = []
        layers: Any = zip(maps, self.convs, self.norms, strict=True)
        for each, conv, norm in layers:
            clips, frames = each.shape[:2]
            if frames == 1:
                grid = (each.shape[3] // conv.kernel_size[0], each.shape[4] // conv.kernel_size[1])
                found.append(each.new_zeros(clips, conv.out_channels, *grid))
                continue
            steps = (each[:, 1:] - each[:, :-1]).flatten(0, 1)  # (B (T-1), c, H, W)
            moved = F.relu(norm(conv(steps))).unflatten(0, (clips, frames - 1))
            found.append(pool_transitions(moved, self.reach, self.ends).flatten(0, 1))
        return found

    def weights(self, pooled: Sequence[Tensor]) -> Tensor:
        """Weights of the scales `(B T, scales, h, w)`, which add up to 1 at each position."""
        assert self.weigh is not None
        layers = zip(pooled, self.narrow, self.narrow_norms, strict=True)
        return self.weigh(torch.cat([F.relu(norm(conv(each))) for each, conv, norm in layers], 1)).softmax(1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of each scale `(B, T, c, H, W)` to `(B T, outputs, h, w)`."""
        pooled = self.pooled(maps)
        if self.weigh is None:
            total = sum(pooled[1:], pooled[0])
        else:
            weights = self.weights(pooled)
            parts = [each * weights[:, [scale]] for scale, each in enumerate(pooled)]
            total = sum(parts[1:], parts[0])
        return F.relu(self.out_norm(self.out_conv(total)))

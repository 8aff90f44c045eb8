"""The last layers of MDHR: a convolution over time for each action unit (AU), and the cosine with its prototype."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIME_KERNEL = 5  # frames, as released


class TimeConvolution(nn.Module):
    """Temporal convolution (TCN): each channel of each AU has a kernel of 5 frames of its own, without a residual path.

    BatchNorm is over the AUs: each has one mean and one variance over all frames and channels. All as released.

    Args:
        num_aus: Action units `N`.
        dim: Channels `C` of a feature.
    """

    def __init__(self, num_aus: int, dim: int) -> None:
        super().__init__()
        channels = num_aus * dim
        self.conv = nn.Conv1d(channels, channels, TIME_KERNEL, padding=TIME_KERNEL // 2, groups=channels)
        self.norm = nn.BatchNorm1d(num_aus)

    def forward(self, v: Tensor, frames: int) -> Tensor:
        """Features of clips of `frames` frames, folded `(B T, N, C)`, to the same shape, 0 or more."""
        rows = v.flatten(1).unflatten(0, (-1, frames)).transpose(1, 2)  # (B, N C, T)
        mixed = self.conv(rows).transpose(1, 2).reshape(v.shape)
        return F.relu(self.norm(mixed))


class CosineClassifier(nn.Module):
    """Probability of an AU: the cosine of its feature and its prototype, both without negative entries.

    A prototype's entries that start negative get no gradient through their ReLU and stay so, as released.

    Args:
        num_aus: Action units `N`.
        dim: Channels `C` of a feature.
    """

    def __init__(self, num_aus: int, dim: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.empty(num_aus, dim))
        nn.init.xavier_uniform_(self.prototypes)

    def forward(self, v: Tensor) -> Tensor:
        """Features `(B, N, C)`, 0 or more, to probabilities `(B, N)`."""
        return (F.normalize(v, dim=-1) * F.normalize(F.relu(self.prototypes), dim=-1)).sum(-1).clamp(0, 1)

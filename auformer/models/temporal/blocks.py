"""The unit that MDHR and AUNCE are made of: a linear map, BatchNorm over its outputs, ReLU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """`ReLU(BN(W x + b))` of tokens; the statistics are those of all samples and tokens (ME-GraphAU's linear block).

    Weights start from N(0, 2 / outputs), biases uniform in +-1/sqrt(inputs), as in the released code of MDHR.

    Shape: `(B, P, inputs)` to `(B, P, outputs)`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.bn = nn.BatchNorm1d(outputs)
        nn.init.normal_(self.fc.weight, std=(2 / outputs) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `(B, P, inputs)` to `(B, P, outputs)`, 0 or more."""
        return F.relu(self.bn(self.fc(x).flatten(0, 1))).unflatten(0, x.shape[:2])


def init_convolution(conv: nn.Conv2d) -> nn.Conv2d:
    """Draw the weight from N(0, 2 / (kernel area x outputs)), as in MDHR's code; the bias stays torch's."""
    area = conv.kernel_size[0] * conv.kernel_size[1]
    nn.init.normal_(conv.weight, std=(2 / (area * conv.out_channels)) ** 0.5)
    return conv


SMALLEST = 1e-8  # probabilities below count as this much in a logarithm, as in the released loss


def logits_of(probs: Tensor) -> Tensor:
    """Logits whose sigmoid is a probability in [0, 1], bounded: `log max(p, 1e-8) - log max(1 - p, 1e-8)`.

    A clamped logarithm has no gradient. The WA loss of the logits is that of the probabilities to 5e-9, and so is its
    gradient between 0 and 1; at exactly 0 or 1 a miss has a gradient here, and none in the released code.

    >>> import torch
    >>> logits_of(torch.tensor([0.0, 0.5, 1.0])).round().tolist()
    [-18.0, 0.0, 18.0]
    """
    return probs.clamp_min(SMALLEST).log() - (1 - probs).clamp_min(SMALLEST).log()

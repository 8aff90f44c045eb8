"""The one linear map from a ViT's tokens to a language model's embeddings (AU-LLaVA, arxiv.org/abs/2409.08444 [W])."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.heads import Standardise


class Projector(nn.Module):
    """Standardise, then one linear map [W]; it starts so that an image token is as long as the mean embedding [ours].

    Args:
        dim: Channels `D` of the ViT.
        width: Channels of the language model.
        length: Mean length of the language model's embeddings.
        pool: 2: the mean of each 2 x 2 tokens first, for ViTs with many; 1: none.
    """

    def __init__(self, dim: int, width: int, length: float, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.standardise = Standardise(dim)
        self.fc = nn.Linear(dim, width)
        nn.init.normal_(self.fc.weight, std=length * (dim * width) ** -0.5)
        nn.init.zeros_(self.fc.bias)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Normed patch tokens `(B, T, D)` of a grid to image tokens `(B, T', width)`."""
        x = self.standardise(tokens)
        if self.pool > 1:
            x = x.transpose(1, 2).unflatten(2, grid)
            x = F.avg_pool2d(x, self.pool, ceil_mode=True).flatten(2).transpose(1, 2)
        found: Tensor = self.fc(x)
        return found


def mean_length(embeddings: Tensor) -> float:
    """Mean length of embeddings `(V, D)`; 1 for those without memory."""
    return 1.0 if embeddings.is_meta else float(torch.linalg.vector_norm(embeddings.detach().float(), dim=1).mean())

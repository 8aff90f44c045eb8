"""Networks for AUNCE: one feature of length 1 per action unit (AU), learnt by contrast, then a linear probe on it.

Shang et al., "Learning contrastive feature representations for facial action unit detection", arxiv.org/abs/2402.06165;
its encoder is that of ME-GraphAU (Luo et al., IJCAI 2022, arxiv.org/abs/2205.01782), stage 1. Written from facts of the
published computation; there is no line of the authors' code here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models.auformer import AUFormer
from auformer.models.network import AUNetwork
from auformer.models.temporal.blocks import Block
from auformer.models.temporal.stages import Stages

NEIGHBOURS = 4  # AUs that an AU hears, for both lists, as released


class NeighbourGraph(nn.Module):
    """Each AU hears the AUs whose features are most similar: `ReLU(v + BN(A' V v + U v))` (ME-GraphAU, equation 3).

    An AU is its own neighbour only if it is among the most similar ones; ties keep more than `neighbours`. `A'` is the
    adjacency, divided by the root of its row sums on both sides. BatchNorm has one mean and variance per AU.

    Args:
        num_aus: Action units `N`.
        dim: Channels of a feature.
        neighbours: `K`; as many as there are AUs, if there are fewer.
    """

    def __init__(self, num_aus: int, dim: int, neighbours: int = NEIGHBOURS) -> None:
        super().__init__()
        self.neighbours = min(neighbours, num_aus)
        self.own, self.heard = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.BatchNorm1d(num_aus)
        for linear in (self.own, self.heard):
            nn.init.normal_(linear.weight, std=(2 / dim) ** 0.5)

    def edges(self, v: Tensor) -> Tensor:
        """Whom each AU hears: `(B, N, N)` of 0 and 1 from features `(B, N, C)`; no gradient."""
        similar = (v @ v.transpose(1, 2)).detach()
        return (similar >= similar.topk(self.neighbours, -1).values[..., -1:]).to(v)

    def forward(self, v: Tensor) -> Tensor:
        """Features `(B, N, C)` to the same shape, 0 or more."""
        edges = self.edges(v)
        scale = edges.sum(-1).rsqrt()
        mixed = scale.unsqueeze(2) * edges * scale.unsqueeze(1)
        return F.relu(v + self.norm(mixed @ self.heard(v) + self.own(v)))


class GraphHead(nn.Module):
    """From tokens to one feature of length 1 per AU: a block and a mean over the grid each, then their graph."""

    def __init__(self, num_aus: int, dim: int) -> None:
        super().__init__()
        self.au_blocks = nn.ModuleList([Block(dim, dim) for _ in range(num_aus)])
        self.graph = NeighbourGraph(num_aus, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `(B, T, C)` to features `(B, C, N)`, of length 1 over `C`, 0 or more."""
        nodes = torch.stack([block(tokens).mean(1) for block in self.au_blocks], 1)
        return F.normalize(self.graph(nodes), dim=-1).transpose(1, 2)


class ContrastNetwork(AUNetwork):
    """Base: `features` gives what contrast trains, and a linear map per AU on them is the probe.

    Attributes:
        probe_weight: `(N, C)`.
        probe_bias: `(N,)`.
    """

    probe_weight: nn.Parameter
    probe_bias: nn.Parameter

    def add_probe(self, dim: int) -> None:
        """Build the probe on features of `dim` channels; it starts as torch's linear layers do."""
        limit = dim**-0.5
        self.probe_weight = nn.Parameter(torch.empty(len(self.au_names), dim).uniform_(-limit, limit))
        self.probe_bias = nn.Parameter(torch.zeros(len(self.au_names)))

    def probe_names(self) -> tuple[str, ...]:
        """Names of the parameters of the probe; contrast trains the others."""
        return ("probe_weight", "probe_bias")

    def features(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to features `(B, C, N)`, of length 1 over `C`."""
        raise NotImplementedError

    def probe(self, features: Tensor) -> Tensor:
        """Features `(B, C, N)` to logits `(B, N)`."""
        return torch.einsum("bcn,nc->bn", features, self.probe_weight) + self.probe_bias

    @property
    def has_feature_statistics(self) -> bool:
        """There are none to measure: its blocks have BatchNorm."""
        return True

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Images `(B, 3, H, W)` to `logits` and `probs` of the probe `(B, N)`."""
        logits = self.probe(self.features(images))
        return {"logits": logits, "probs": logits.sigmoid()}

    def forward_all(self, images: Tensor) -> tuple[Tensor, None]:
        """Images `(B, 3, H, W)` to the probe's logits `(B, N)`, and None."""
        return self.outputs(images)["logits"], None

    def predict_probs(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` to probabilities `(B, N)`."""
        return self.outputs(images)["probs"]


class AUNCE(ContrastNetwork):
    """AUNCE's encoder on a Swin transformer or ResNet of timm, trained as a whole; its file holds all of it.

    The released one has `N x 1024` further parameters that are not used; they are not here. Its pixels are normalised
    by CIFAR's means; here by those of the weights [ours].

    Args:
        backbone: `swin_base_patch4_window7_224` as released, with or without a weight tag, or another of its kind.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, a multiple of 32.
        view: See `auformer.models.temporal.mdhr.MDHR`.
    """

    frozen = False
    backbone: Stages

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, view: str = "centre",
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size
        )  # fmt: skip
        if view not in ("centre", "whole"):
            raise ValueError(f"Expected `view` to be centre or whole, but got {view!r}")
        del self.arguments["pool"]
        self.view = view
        self.arguments["view"] = view
        self.first = Block(self.embed_dim, self.embed_dim)
        self.encoder = GraphHead(len(self.au_names), self.embed_dim)
        self.add_probe(self.embed_dim)
        self.train()

    def make_backbone(self, name: str, **options: Any) -> Any:
        """A ResNet or Swin transformer."""
        return Stages(name, **options)

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """`(H, W)` of an image in pixels, `(h, w)` of the grid of tokens."""
        return self.backbone.img_size, self.backbone.grid_size

    def features(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to features `(B, D, N)`, of length 1 over `D`."""
        return self.encoder(self.first(self.backbone(self.normalise(images))[1]))


class ViTAUNCE(ContrastNetwork):
    """The same encoder on the patch tokens of a frozen ViT, at its width [ours].

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size
        )  # fmt: skip
        del self.arguments["pool"]
        self.first = Block(self.embed_dim, self.embed_dim)
        self.encoder = GraphHead(len(self.au_names), self.embed_dim)
        self.add_probe(self.embed_dim)
        self.train()

    def features(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to features `(B, D, N)`, of length 1 over `D`."""
        with torch.no_grad():
            tokens = self.plain_tokens(images)[:, self.backbone.num_prefix_tokens :]
        return self.encoder(self.first(tokens))


class AUFormerContrast(ContrastNetwork, AUFormer):
    """AUFormer whose experts learn by contrast [ours]: the feature of an AU is what its expert of the last group says.

    Narrow outputs of the last group, averaged over the grid, of length 1. There are neither main nor expert heads.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set; one expert each per group.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        expert_width: Bottleneck channels of one expert, those of a feature.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, expert_width: int = 8,
    ) -> None:  # fmt: skip
        AUFormer.__init__(
            self, backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size,
            expert_width=expert_width, expert_heads=False,
        )  # fmt: skip
        shown = ("backbone", "au_names", "img_size", "expert_width")
        self.arguments = {name: self.arguments[name] for name in shown}
        self.head = nn.Identity()  # type: ignore[assignment]
        self.add_probe(expert_width)
        self.train()

    def features(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to features `(B, R, N)`, of length 1 over `R`."""
        carried = self.tokens(images)[1]
        assert carried is not None  # its experts are never disabled here
        return F.normalize(carried.means, dim=-1).transpose(1, 2)

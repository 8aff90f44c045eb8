"""AUFormer as its figure draws it: one small module per expert, nothing fused (method.md 3). The yardstick for parity and for speed.

Weights come from a fused model through `expert_weights`, whose names these modules have. Every expert's input and output is built at the
full width of the ViT, and the loop runs over experts one by one.
"""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models import AUFormer


class PlainExpert(nn.Module):
    """One expert: `up(gelu(m + MRF(m) + CA(m)))` with `m = conv(gelu(down(e)))`, on the patch grid."""

    def __init__(self, dim: int, width: int, dilations: tuple[int, ...], window: int) -> None:
        super().__init__()
        self.window = window
        self.down = nn.Conv2d(dim, width, 1)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.dilated = nn.ModuleList([nn.Conv2d(width, width, 3, padding=r, dilation=r) for r in dilations])
        if dilations:
            self.fuse = nn.Conv2d(len(dilations) * width, width, 1)
        if window:
            self.query, self.key, self.value = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.up = nn.Conv2d(width, dim, 1)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of one expert; the names must be the same set, and matrices become 1x1 kernels."""
        shapes = {name: tensor.shape for name, tensor in self.state_dict().items()}
        assert shapes.keys() == weights.keys(), shapes.keys() ^ weights.keys()
        self.to(next(iter(weights.values())).dtype)
        self.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in weights.items()})

    def context(self, m: Tensor) -> Tensor:
        """CA of `(B, R, H, W)`, one neighbour at a time; a neighbour outside the grid has weight 0."""
        query, key, value = self.query(m), self.key(m), self.value(m)
        height, width, half = *m.shape[2:], self.window // 2
        scores, values = [], []
        for dy in range(-half, half + 1):
            for dx in range(-half, half + 1):
                rows, columns = torch.arange(height) + dy, torch.arange(width) + dx
                inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
                rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
                score = query * key[:, :, rows][:, :, :, columns]
                scores.append(torch.where(inside, score, float("-inf")))
                values.append(value[:, :, rows][:, :, :, columns])
        weights = torch.softmax(torch.stack(scores), 0)
        return (weights * torch.stack(values)).sum(0)

    def forward(self, e: Tensor) -> Tensor:
        """`(B, D, H, W)` to `(B, D, H, W)`."""
        m = self.conv(F.gelu(self.down(e)))
        total = m
        if len(self.dilated):
            total = total + self.fuse(torch.cat([branch(m) for branch in self.dilated], 1))
        if self.window:
            total = total + self.context(m)
        return self.up(F.gelu(total))


class PlainAUFormer(nn.Module):
    """The plain form of a fused model, with its weights.

    Args:
        model: The fused model. The frozen ViT is shared, all else is copied.
    """

    def __init__(self, model: AUFormer) -> None:
        super().__init__()
        arguments = model.arguments
        shape = (model.embed_dim, arguments["expert_width"], tuple(arguments["dilations"]), arguments["window"])
        self.vit, self.grid, self.pool = model.backbone, model.grid_size, arguments["pool"]
        self.mean, self.std = model.pixel_mean, model.pixel_std
        self.groups = nn.ModuleList([nn.ModuleList([PlainExpert(*shape) for _ in model.au_names]) for _ in model.groups])
        for g, group in enumerate(self.groups):
            for expert, name in zip(group, model.au_names, strict=True):
                expert.load(model.expert_weights(g, name))
        self.head, self.expert_heads = deepcopy(model.head), deepcopy(model.expert_heads)

    def tokens(self, images: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Tokens before the final norm `(B, P+T, D)`, and every expert's output `(B, D, H, W)` by group and expert."""
        vit = self.vit
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed((images - self.mean) / self.std)))
        prefix, outputs, previous = vit.num_prefix_tokens, [], None
        for g, experts in enumerate(self.groups):
            block = vit.blocks[g // 2]
            y = block.norm1(x) if g % 2 == 0 else block.norm2(x)
            f = block.ls1(block.attn(y)) if g % 2 == 0 else block.ls2(block.mlp(y))
            patches = y[:, prefix:].transpose(1, 2).unflatten(2, self.grid)  # (B, D, H, W)
            inputs = [patches if previous is None else patches + previous[i] for i in range(len(experts))]
            previous = [expert(e) for expert, e in zip(experts, inputs, strict=True)]
            outputs.append(previous)
            mean = sum(previous[1:], previous[0]) / len(previous)
            x = x + f + F.pad(mean.flatten(2).transpose(1, 2), (0, 0, prefix, 0))
        return x, outputs

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images `(B, 3, H, W)` to `(logits, expert logits)`, each `(B, N)`."""
        x, outputs = self.tokens(images)
        x = self.vit.norm(x)
        pooled = x[:, 0] if self.pool == "token" else x[:, self.vit.num_prefix_tokens :].mean(1)
        logits = self.head(self.vit.fc_norm(pooled))
        if self.expert_heads is None:
            return logits, None
        last = [output.mean((2, 3)) for output in outputs[-1]]  # N of (B, D)
        heads = zip(last, self.expert_heads.weight, self.expert_heads.bias, strict=True)
        return logits, torch.stack([each @ weight + bias for each, weight, bias in heads], 1)

    @torch.no_grad()
    def expert_maps(self, images: Tensor) -> Tensor:
        """Norm over `D` of each expert's output, summed over groups: `(B, N, H, W)`."""
        _, outputs = self.tokens(images)
        return torch.stack([sum(group[i].norm(dim=1) for group in outputs) for i in range(len(outputs[0]))], 1)

    def expert_gradients(self, g: int, i: int) -> dict[str, Tensor]:
        """Gradients of one expert's weights, by the names of `expert_weights`."""
        return {name: parameter.grad for name, parameter in self.groups[g][i].named_parameters()}

"""AUFormer as its figure draws it (method.md 3): one small module per expert, nothing fused.

The reference for parity and speed. Weights come from a fused model through `expert_weights`, whose names these modules
have. Every expert works at the full width of the ViT, and the loop runs over experts one by one.
"""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auformer.models import AUFormer
from tests.helpers.vits import images_for


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
        self.vit, self.grid, self.pool, self.arguments = model.backbone, model.grid_size, arguments["pool"], arguments
        self.mean, self.std = model.pixel_mean, model.pixel_std
        self.num_aus = len(model.au_names)
        self.places = [n for n in range(2 * len(self.vit.blocks)) if self.has_group(n)]
        names = model.au_names[:1] if arguments["shared_expert"] else model.au_names
        self.groups = nn.ModuleList([nn.ModuleList([PlainExpert(*shape) for _ in names]) for _ in self.places])
        for g, group in enumerate(self.groups):
            for expert, name in zip(group, names, strict=True):
                expert.load(model.expert_weights(g, name))
        self.head, self.expert_heads = deepcopy(model.head), deepcopy(model.expert_heads)

    def has_group(self, number: int) -> bool:
        """Whether there are experts beside sub-layer `number`, even for attention, odd for the MLP."""
        depth, beside, blocks = len(self.vit.blocks), self.arguments["experts_beside"], self.arguments["blocks"]
        if (beside == "attention" and number % 2 == 1) or (beside == "mlp" and number % 2 == 0):
            return False
        early = number // 2 < depth / 2
        return blocks == "all" or early == (blocks == "first_half")

    def embed(self, images: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """Tokens before block 1, and the rotary embedding of each block."""
        vit = self.vit
        x = vit._pos_embed(vit.patch_embed((images - self.mean) / self.std))
        x, rope = x if isinstance(x, tuple) else (x, None)
        mixed = rope is not None and vit.rope_mixed
        return vit.norm_pre(x), [rope[n] if mixed else rope for n in range(len(vit.blocks))]

    def sub_layer(self, number: int, x: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor]:
        """Normed tokens, and the output of sub-layer `number` with layer scale."""
        block = self.vit.blocks[number // 2]
        attention = number % 2 == 0
        y = block.norm1(x) if attention else block.norm2(x)
        if hasattr(block, "ls1"):
            return y, block.ls1(block.attn(y)) if attention else block.ls2(block.mlp(y))
        gamma = block.gamma_1 if attention else block.gamma_2
        f = block.attn(y, rope=rope) if attention else block.mlp(y)
        return y, f if gamma is None else f * gamma

    def tokens(self, images: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Tokens before the final norm `(B, P+T, D)`, and every expert's output `(B, D, H, W)` by group and expert."""
        x, ropes = self.embed(images)
        prefix, outputs, previous = self.vit.num_prefix_tokens, [], None
        for number in range(2 * len(self.vit.blocks)):
            y, f = self.sub_layer(number, x, ropes[number // 2])
            x = x + f
            if number not in self.places:
                continue
            experts = self.groups[self.places.index(number)]
            patches = y[:, prefix:].transpose(1, 2).unflatten(2, self.grid)  # (B, D, H, W)
            if previous is None or not self.arguments["carry"]:
                inputs = [patches for _ in experts]
            else:
                inputs = [patches + output for output in previous]
            previous = [expert(e) for expert, e in zip(experts, inputs, strict=True)]
            outputs.append(previous)
            mean = sum(previous[1:], previous[0]) / len(previous)
            x = x + F.pad(mean.flatten(2).transpose(1, 2), (0, 0, prefix, 0))
        return x, outputs

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images `(B, 3, H, W)` to `(logits, expert logits)`, each `(B, N)`."""
        x, outputs = self.tokens(images)
        x = self.vit.norm(x)
        pooled = x[:, 0] if self.pool == "token" else x[:, self.vit.num_prefix_tokens :].mean(1)
        logits = self.head(self.vit.fc_norm(pooled))
        if self.expert_heads is None:
            return logits, None
        last = [self.of_au(outputs[-1], i).mean((2, 3)) for i in range(self.num_aus)]  # N of (B, D)
        heads = zip(last, self.expert_heads.weight, self.expert_heads.bias, strict=True)
        return logits, torch.stack([each @ weight + bias for each, weight, bias in heads], 1)

    @torch.no_grad()
    def expert_maps(self, images: Tensor) -> Tensor:
        """Norm over `D` of each expert's output, summed over groups: `(B, N, H, W)`."""
        _, outputs = self.tokens(images)
        return torch.stack([sum(self.of_au(group, i).norm(dim=1) for group in outputs) for i in range(self.num_aus)], 1)

    @staticmethod
    def of_au(group: list[Tensor], i: int) -> Tensor:
        """The output of action unit `i`'s expert, or of the one that all share."""
        return group[i] if len(group) > 1 else group[0]

    def expert_gradients(self, g: int, i: int) -> dict[str, Tensor]:
        """Gradients of one expert's weights, by the names of `expert_weights`."""
        return {name: parameter.grad for name, parameter in self.groups[g][i].named_parameters()}


def compare(model: AUFormer, silent: tuple[str, ...] = ("key.bias",)) -> None:
    """Outputs, evidence maps and gradients of everything that is trained, to 1e-10; only `silent` ones may be zero.

    (A bias of all keys adds the same to every score of a position, which a softmax does not see.)
    """
    plain, images = PlainAUFormer(model), images_for(model)
    for network in (model, plain):
        logits, expert_logits = network.forward_all(images)
        objective = logits.sin().sum() + (0 if expert_logits is None else expert_logits.cos().sum())
        objective.backward()
        if network is model:
            first = (logits, expert_logits)
    assert torch.allclose(first[0], logits, atol=1e-10, rtol=0)
    if expert_logits is not None:
        assert torch.allclose(first[1], expert_logits, atol=1e-10, rtol=0)
    assert torch.allclose(model.expert_maps(images), plain.expert_maps(images), atol=1e-10, rtol=0)
    for g, (group, experts) in enumerate(zip(model.groups, plain.groups, strict=True)):
        for name, parameter in group.named_parameters():
            wanted = torch.cat([dict(expert.named_parameters())[name].grad.flatten() for expert in experts])
            assert torch.allclose(parameter.grad.flatten(), wanted, atol=1e-10, rtol=0), (g, name)
            assert wanted.abs().max() > 1e-8 or name in silent, (g, name)
    others = dict(plain.head.named_parameters(prefix="head"))
    if plain.expert_heads is not None:
        others |= dict(plain.expert_heads.named_parameters(prefix="expert_heads"))
    own = dict(model.named_parameters())
    assert all(torch.allclose(own[name].grad, parameter.grad, atol=1e-10, rtol=0) for name, parameter in others.items())
    assert all(parameter.grad is None for parameter in model.backbone.parameters())

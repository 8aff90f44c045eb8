"""The ways that the speed page compares: networks with the same ViT, and one forward or training step of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from auformer.errors import MissingExtraError
from auformer.models import AUFormer, AUNetwork
from auformer.models.backbone import attention_for_training, rotary
from experiments.harness import time_in_turn

Way = Callable[[], object]


class Rig(NamedTuple):
    """What is measured, and on what."""

    backbone: str  # name of a timm ViT
    small: str  # name of the timm ViT for the slopes
    au_names: list[str]
    img_size: int | None  # side of the images in pixels, None for the backbone's own
    width: int  # channels `R` of one expert
    device: str  # `cpu` or `cuda`
    rounds: int  # timed rounds
    forward: tuple[int, ...]  # batches of the forward passes
    training: tuple[int, ...]  # batches of the training steps
    batch: int  # of everything that is measured at one size only
    experts: tuple[int, ...]  # numbers of experts for the slopes
    sides: tuple[int, int]  # two image sizes in pixels for the slopes, the second twice the first

    def arguments(self, **changed: Any) -> dict[str, Any]:
        """Arguments of every network of the package, with some changed."""
        return {"backbone": self.backbone, "au_names": self.au_names, "img_size": self.img_size} | changed

    def build(self, **changed: Any) -> AUFormer:
        """AUFormer with up-projections that are not zero, as after training, in training mode."""
        torch.manual_seed(0)
        model = AUFormer(**self.arguments(expert_width=self.width, **changed))
        with torch.no_grad():
            for group in model.groups:
                group.up.weight.normal_(std=0.02)
        return model.to(self.device)

    def images(self, network: Any, batch: int) -> Tensor:
        """A batch of random images `(batch, 3, H, W)` for a network of the package, or for the plain form of one."""
        size = network.image_size if isinstance(network, AUNetwork) else network.vit.patch_embed.img_size
        return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(batch)).to(self.device)

    def half(self, wanted: bool = True) -> Any:
        """A context of bfloat16, or none."""
        return torch.autocast(self.device, torch.bfloat16) if wanted else nullcontext()


def baseline(rig: Rig, kind: type[AUNetwork]) -> AUNetwork | None:
    """A baseline on a ViT of its own; None where its package is not installed."""
    try:
        return kind(**rig.arguments()).to(rig.device)
    except MissingExtraError:
        return None


def sharing(model: AUFormer, other: AUFormer) -> AUFormer:
    """The first model on the ViT of the other, which is frozen, so that several of them take little memory."""
    model.backbone = other.backbone
    return model


def in_turn(rig: Rig, ways: dict[str, Way], *, rounds: int | None = None, repeats: int = 1) -> dict[str, list[float]]:
    """Seconds of each way in turn, of `repeats` calls together where one is too short; a GPU is waited for."""

    def whole(way: Way) -> Way:
        def run() -> None:
            for _ in range(repeats):
                way()
            if rig.device == "cuda":
                torch.cuda.synchronize()

        return run

    return time_in_turn({name: whole(way) for name, way in ways.items()}, rounds or rig.rounds)


def forward(network: Callable[[Tensor], object], images: Tensor) -> Way:
    """One prediction without gradients."""

    def run() -> None:
        with torch.no_grad():
            network(images)

    return run


def step(rig: Rig, network: Any, images: Tensor, *, half: bool = False) -> Way:
    """Forward and backward of a network of the package, or of the plain form, which throws away earlier gradients."""
    network.train()

    def run() -> None:
        network.zero_grad(set_to_none=True)
        with rig.half(half):
            logits, expert_logits = network.forward_all(images)
        loss = logits.float().sum()
        (loss if expert_logits is None else loss + expert_logits.float().sum()).backward()

    return run


class BiasBeforeBlocks(nn.Module):
    """The bare frozen ViT of a model with a trained bias `(D,)` on its patch tokens before block 1: `F` is its time."""

    def __init__(self, model: AUFormer) -> None:
        super().__init__()
        self.model = [model]  # in a list: its parameters are not ours
        self.bias = nn.Parameter(torch.zeros(model.embed_dim, device=model.pixel_mean.device))
        patches = torch.ones(model.grid_size[0] * model.grid_size[1], 1, device=self.bias.device)
        self.patches = F.pad(patches, (0, 0, model.backbone.num_prefix_tokens, 0))  # (P+T, 1): 1 on patches
        weight = torch.randn(model.embed_dim, generator=torch.Generator().manual_seed(0))
        self.weight = weight.to(self.bias.device)

    def forward_all(self, images: Tensor) -> tuple[Tensor, None]:
        """Images `(B, 3, H, W)` to one number each `(B,)`, and None."""
        model = self.model[0]
        with torch.no_grad():
            x = model.embed(images)
        x = x + self.patches * self.bias
        with attention_for_training(model.backbone):
            for block, rope in zip(model.backbone.blocks, rotary(model.backbone), strict=True):
                x = block(x) if rope is None else block(x, rope=rope)
        return model.pool_tokens(x) @ self.weight, None


class CompiledTraining(nn.Module):
    """A network of the package, or `BiasBeforeBlocks`, whose `forward_all` is compiled, one graph without a break."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.forward_all = torch.compile(network.forward_all, fullgraph=True)


def counted(network: Any, images: Tensor, *, training: bool) -> int:
    """Operations of the products and convolutions that are really run, by torch's counter, with attention written out.

    Its formula for the gradients of convolutions does not know groups (torch 2.15), so that one is ours.
    """
    vit = network.model[0].backbone if isinstance(network, BiasBeforeBlocks) else network.backbone
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.train(training)
    if not training:
        forward(network.forward_all, images)()  # what is kept while predicting is made here
    for parameter in trained:
        parameter.requires_grad_(training)  # the counter follows gradients wherever something is trained
    for block in vit.blocks:
        block.attn.fused_attn = False
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward})
    with counter, torch.set_grad_enabled(training):
        logits, expert_logits = network.forward_all(images)
        if training:
            (logits.sum() if expert_logits is None else logits.sum() + expert_logits.sum()).backward()
    for block in vit.blocks:
        block.attn.fused_attn = True
    for parameter in trained:
        parameter.requires_grad_()
    return counter.get_total_flops()


def convolution_backward(
    grad: Sequence[int], x: Sequence[int], weight: Sequence[int], *rest: Any, out_shape: Any = None, **others: Any
) -> int:
    """Operations of the two gradients of a convolution, each as many as its forward pass.

    `grad` is the shape of the gradient of its outputs `(B, O, H, W)`, `weight` that of its kernels `(O, I / groups, k,
    k)`; the last of `rest` says which gradients are wanted.
    """
    once = 2
    for size in (*grad, *weight[1:]):
        once *= size
    return once * sum(bool(wanted) for wanted in rest[-1][:2])

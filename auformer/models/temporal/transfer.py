"""The start of one network from another that was trained on other data: AUFormer's experts, or the head of MDHR."""

from __future__ import annotations

import torch
from torch import nn

from auformer.errors import CheckpointError
from auformer.models.auformer import transfer_experts
from auformer.models.network import AUNetwork
from auformer.models.temporal.vit_mdhr import ViTMDHR

SHAPES = ("taps", "dim", "reach", "ends", "dynamics", "over_time")  # arguments that shape what is taken over


def transfer(source: AUNetwork, target: AUNetwork) -> list[str]:
    """Copy what belongs to shared action units: of two AUFormers the experts, of two `ViTMDHR` the head [ours].

    Returns:
        The action units that were taken over, in the order of the target.

    Raises:
        CheckpointError: The networks are of other kinds, do not fit each other, or share no action unit; nothing is
            changed.
    """
    if isinstance(source, ViTMDHR) and isinstance(target, ViTMDHR):
        return transfer_head(source, target)
    return transfer_experts(source, target)


@torch.no_grad()
def transfer_head(source: ViTMDHR, target: ViTMDHR) -> list[str]:
    """Copy static block, dynamics, relations, and of shared action units block, convolution and prototype.

    Regions of equal name take over their block; region heads do not: their classes are combinations of other lists.
    Clips may have another length.

    Raises:
        CheckpointError: See `transfer`.
    """
    for name in SHAPES:
        mine, theirs = target.arguments[name], source.arguments[name]
        if mine != theirs:
            raise CheckpointError(f"Expected a checkpoint with `{name}` {mine}, but got {theirs}; set it to that")
    if source.fingerprint != target.fingerprint:
        raise CheckpointError(
            f"Expected a checkpoint on the same frozen weights as {target.backbone_name}, but got one with others"
        )
    shared = [au for au in target.au_names if au in source.au_names]
    if not shared:
        names = f"{', '.join(target.au_names)}, but got {', '.join(source.au_names)}"
        raise CheckpointError(f"Expected a checkpoint for {names}")
    _copy(source.standardise, target.standardise)
    for name in ("static", "dynamics", "cross"):
        theirs, mine = getattr(source.head, name), getattr(target.head, name)
        if mine is not None:
            _copy(theirs, mine)
    regions = {region.name: number for number, region in enumerate(source.head.regions)}
    for number, region in enumerate(target.head.regions):
        blocks = source.head.local.region_blocks, target.head.local.region_blocks
        if region.name in regions and all(len(one) for one in blocks):
            _copy(blocks[0][regions[region.name]], blocks[1][number])
    for au in shared:
        here, there = target.au_names.index(au), source.au_names.index(au)
        _copy(source.head.local.au_blocks[there], target.head.local.au_blocks[here])
        target.head.classifier.prototypes[here] = source.head.classifier.prototypes[there]
        if target.head.time is not None:
            _copy_time(source.head.time, target.head.time, there, here)
    return shared


def _copy(source: nn.Module, target: nn.Module) -> None:
    """All tensors of one module into another of the same shape."""
    theirs = source.state_dict()
    for name, tensor in target.state_dict().items():
        tensor.copy_(theirs[name])


def _copy_time(source: nn.Module, target: nn.Module, there: int, here: int) -> None:
    """Kernels and statistics of one action unit in `TimeConvolution`."""
    theirs, mine = dict(source.state_dict()), dict(target.state_dict())
    number = len(mine["norm.weight"]), len(theirs["norm.weight"])
    for name in ("conv.weight", "conv.bias"):
        mine[name].chunk(number[0])[here].copy_(theirs[name].chunk(number[1])[there])
    for name in ("weight", "bias", "running_mean", "running_var"):
        mine[f"norm.{name}"][here] = theirs[f"norm.{name}"][there]

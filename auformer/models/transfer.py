"""Experts of one AUFormer as the start of another: the action units that both have, the rest stays as it was initialised [ours].

The paper transfers what was learnt on macro-expressions to micro-expressions and does not say how [P]; an expert belongs to an AU, so
whatever belongs to an AU both have is taken over: its expert in every group, and its expert head. The main head is not: it rests on the
feature statistics of its own training images.
"""

from __future__ import annotations

import torch

from auformer.errors import CheckpointError
from auformer.models.auformer import AUFormer
from auformer.models.network import AUNetwork

# Arguments in which two networks may differ; in all others, which shape the experts and say where they are, they have to agree.
FREE = ("backbone", "au_names", "img_size", "pool", "expert_heads", "average_heads")


def transfer_experts(source: AUNetwork, target: AUNetwork) -> list[str]:
    """Copy the experts of shared action units.

    Args:
        source: A trained AUFormer.
        target: An AUFormer on the same frozen ViT, of another or the same list of action units; it is changed.

    Returns:
        The action units whose experts were taken over, in the order of the target.

    Raises:
        CheckpointError: One of them is no AUFormer, they differ in backbone or expert shape, or share no action unit; nothing is changed.
    """
    if not isinstance(source, AUFormer) or not isinstance(target, AUFormer):
        kinds = f"{type(source).__name__} and {type(target).__name__}"
        raise CheckpointError(f"Expected two AUFormers to move experts between, but got {kinds}: other networks have none")
    for name in [name for name in target.arguments if name not in FREE]:
        mine, theirs = target.arguments[name], source.arguments[name]
        if mine != theirs:
            raise CheckpointError(f"Expected a checkpoint with experts of `{name}` {mine}, but got {theirs}; set `model.{name}` to that")
    if source.fingerprint != target.fingerprint or len(source.groups) != len(target.groups):
        raise CheckpointError(
            f"Expected a checkpoint on the same frozen weights as {target.backbone_name}, but got one on {source.backbone_name} with others"
        )
    shared = [au for au in target.au_names if au in source.au_names]
    if not shared:
        raise CheckpointError(f"Expected a checkpoint with experts for {', '.join(target.au_names)}, but got {', '.join(source.au_names)}")
    for au in shared:
        for group in range(len(target.groups)):
            target.load_expert_weights(group, au, source.expert_weights(group, au))
    if source.expert_heads is not None and target.expert_heads is not None:
        here, there = ([network.au_names.index(au) for au in shared] for network in (target, source))
        with torch.no_grad():
            target.expert_heads.weight[here] = source.expert_heads.weight[there].to(target.expert_heads.weight)
            target.expert_heads.bias[here] = source.expert_heads.bias[there].to(target.expert_heads.bias)
    return shared

"""One action unit's expert taken out of a group as a plain dict, and put back: to inspect it or to move it between models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from auformer.models.experts import ExpertGroup, ExpertMap


def _maps(group: ExpertGroup) -> Iterator[tuple[str, ExpertMap]]:
    """The maps of a group by name, in the order of the signal."""
    for name, module in group.named_modules():
        if isinstance(module, ExpertMap):
            yield name, module


def _views(group: ExpertGroup, index: int) -> dict[str, Tensor]:
    """Views of the parameters of expert `index`, by name."""
    views: dict[str, Tensor] = {}
    for name, module in _maps(group):
        weight, bias = module.stacked()
        views[f"{name}.weight"], views[f"{name}.bias"] = weight[index], bias[index]
    return views


def expert_weights(group: ExpertGroup, index: int) -> dict[str, Tensor]:
    """Detached copies of one expert's parameters, in the group's type.

    Args:
        group: The group.
        index: Number of the expert.

    Returns:
        `down.weight (R, D)`, `conv.weight (R, R, 3, 3)`, `dilated.{i}.weight (R, R, 3, 3)`, `fuse.weight (R, len(dilations)*R)` in the
        order of `dilations`, `query|key|value.weight (R, R)`, `up.weight (D, R)`, a `bias` beside each; none for branches left out.
    """
    return {name: view.detach().clone() for name, view in _views(group, index).items()}


def load_expert_weights(group: ExpertGroup, index: int, weights: Mapping[str, Tensor]) -> None:
    """Copy one expert's parameters into a group; nothing is changed unless everything fits.

    Args:
        group: The group.
        index: Number of the expert.
        weights: What `expert_weights` gives, of any floating-point type.

    Raises:
        ValueError: A key is missing or not expected, or a tensor has another shape or is not floating-point.
    """
    views = _views(group, index)
    if weights.keys() != views.keys():
        missing, extra = sorted(views.keys() - weights.keys()), sorted(weights.keys() - views.keys())
        raise ValueError(f"Expected `weights` to have the keys of one expert, but got missing {missing}, unexpected {extra}")
    for name, view in views.items():
        found = weights[name]
        if found.shape != view.shape or not found.is_floating_point():
            raise ValueError(f"Expected `{name}` to be a floating-point {tuple(view.shape)}, but got {found.dtype} {tuple(found.shape)}")
    with torch.no_grad():
        for name, view in views.items():
            view.copy_(weights[name])

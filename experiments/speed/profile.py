"""Where the time of the groups goes in a forward pass, by torch's profiler: every operation, by its shapes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from auformer.models import AUFormer
from auformer.models.experts import ExpertGroup

RANGE = "auformer::group"
WHOLE = "auformer::forward"
SMALL = 0.01  # operations below this share of the groups' time are told together [ours]


@contextmanager
def _marked(model: nn.Module) -> Iterator[None]:
    """Inside, what every group of a model does is marked for the profiler."""
    opened: list[Any] = []

    def enter(*_: Any) -> None:
        opened.append(record_function(RANGE))
        opened[-1].__enter__()

    def leave(*_: Any) -> None:
        opened.pop().__exit__(None, None, None)

    groups = [module for module in model.modules() if isinstance(module, ExpertGroup)]
    hooks = [group.register_forward_pre_hook(enter) for group in groups]
    hooks += [group.register_forward_hook(leave) for group in groups]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def label(name: str, shapes: list[Any]) -> str:
    """What an operation is called on the page: its name, and for products its sizes.

    >>> label("aten::linear", [[4, 197, 768], [96, 768], [96]]), label("aten::addmm", [[788, 768], [788, 97], [97,
    768]]) ('product 768 to 96', 'product 97 to 768') >>> label("aten::gelu", [[4, 196, 96]]) 'gelu'
    """
    plain = name.removeprefix("aten::").rstrip("_")
    if plain == "linear":
        return f"product {shapes[1][1]} to {shapes[1][0]}"
    return f"product {shapes[2][0]} to {shapes[2][1]}" if plain == "addmm" else plain


def forward_profile(model: AUFormer, images: Tensor, repeats: int = 7) -> dict[str, float]:
    """Time of all groups in a forward pass by operation, over the time of all else in the pass; medians over passes.

    The model is in eval mode. The largest come first, then what is left and `all groups`.
    """
    with _marked(model), torch.no_grad():
        passes = [_one_pass(model, images) for _ in range(repeats + 1)][1:]
    whole = statistics.median(each["all groups"] for each in passes)
    shares = {
        name: statistics.median(each.get(name, 0.0) for each in passes) for name in passes[0] if name != "all groups"
    }
    told = {name: share for name, share in sorted(shares.items(), key=lambda item: -item[1]) if share >= SMALL * whole}
    return told | {"what is left": whole - sum(told.values()), "all groups": whole}


def _one_pass(model: AUFormer, images: Tensor) -> dict[str, float]:
    """Time of the groups by operation, and of all of them, over the time of all else; one pass."""
    cuda = images.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, record_shapes=True) as profiled, record_function(WHOLE):
        model(images)
        if cuda:
            torch.cuda.synchronize()
    seconds: dict[str, float] = defaultdict(float)
    whole = groups = 0.0
    for event in profiled.events():
        parent = "" if event.cpu_parent is None else event.cpu_parent.name
        spent = event.device_time_total if cuda else event.cpu_time_total
        if event.name == WHOLE:
            whole += spent
        elif event.name == RANGE and parent == WHOLE:
            groups += spent
        elif parent == RANGE:
            seconds[label(event.name, event.input_shapes)] += spent
    return {name: spent / (whole - groups) for name, spent in [*seconds.items(), ("all groups", groups)]}

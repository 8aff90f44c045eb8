"""Where the time of the groups goes in a forward pass, by torch's profiler: every operation that a group calls, by its shapes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from auformer.models import AUFormer
from auformer.models.experts import ExpertGroup

RANGE = "auformer::group"
WHOLE = "auformer::forward"
SMALL = 0.01  # operations below this share of the groups' time are told together [ours]


class _Ranges:
    """Marks what every group of a model does, for the profiler, until it is closed."""

    def __init__(self, model: nn.Module) -> None:
        self._open: list[Any] = []
        self._hooks = []
        for module in model.modules():
            if isinstance(module, ExpertGroup):
                self._hooks += [
                    module.register_forward_pre_hook(self._enter),
                    module.register_forward_hook(self._leave),
                ]

    def _enter(self, *_: Any) -> None:
        self._open.append(record_function(RANGE))
        self._open[-1].__enter__()

    def _leave(self, *_: Any) -> None:
        self._open.pop().__exit__(None, None, None)

    def close(self) -> None:
        """Mark nothing any more."""
        for hook in self._hooks:
            hook.remove()


def label(name: str, shapes: list[Any]) -> str:
    """What an operation is called on the page: its name, and for products its sizes.

    >>> label("aten::linear", [[4, 197, 768], [96, 768], [96]]), label("aten::addmm", [[788, 768], [788, 97], [97, 768]])
    ('product 768 to 96', 'product 97 to 768')
    >>> label("aten::gelu", [[4, 196, 96]])
    'gelu'
    """
    plain = name.removeprefix("aten::").rstrip("_")
    if plain == "linear":
        return f"product {shapes[1][1]} to {shapes[1][0]}"
    return f"product {shapes[2][0]} to {shapes[2][1]}" if plain == "addmm" else plain


def forward_profile(model: AUFormer, images: Tensor, repeats: int = 7) -> dict[str, float]:
    """Time of all groups in a forward pass by operation, over the time of all else in the same pass; medians over passes.

    Args:
        model: In eval mode.
        images: `(B, 3, H, W)`.
        repeats: Passes, after one that is not counted.

    Returns:
        Ratio by operation, the largest first, then that of what is left and of `all groups`.
    """
    ranges = _Ranges(model)
    try:
        with torch.no_grad():
            passes = [_one_pass(model, images) for _ in range(repeats + 1)][1:]
    finally:
        ranges.close()
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

"""Where the time of the groups goes in a forward pass, by torch's profiler: every operation that a group calls, by its shapes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from auformer.models import AUFormer
from auformer.models.moke import ExpertGroup

RANGE = "auformer::group"
SMALL = 0.01  # operations below this share of the groups' time are told together [ours]


class _Ranges:
    """Marks what every group of a model does, for the profiler, until it is closed."""

    def __init__(self, model: nn.Module) -> None:
        self._open: list[Any] = []
        self._hooks = []
        for module in model.modules():
            if isinstance(module, ExpertGroup):
                self._hooks += [module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave)]

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


def forward_profile(model: AUFormer, images: Tensor, repeats: int = 5) -> dict[str, Any]:
    """Seconds of all groups in one forward pass, together and by operation.

    Args:
        model: In eval mode.
        images: `(B, 3, H, W)`.
        repeats: Passes, after one that is not counted.
    """
    cuda = images.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    ranges, seconds, total = _Ranges(model), defaultdict(float), 0.0
    try:
        with torch.no_grad():
            model(images)
            with profile(activities=activities, record_shapes=True) as profiled:
                for _ in range(repeats):
                    model(images)
    finally:
        ranges.close()
    for event in profiled.events():
        spent = (event.device_time_total if cuda else event.cpu_time_total) / 1e6 / repeats
        if event.name == RANGE and event.cpu_parent is None:
            total += spent
        elif event.cpu_parent is not None and event.cpu_parent.name == RANGE:
            seconds[label(event.name, event.input_shapes)] += spent
    small = {name: value for name, value in seconds.items() if value < SMALL * total}
    told = {name: seconds[name] for name in sorted(seconds, key=seconds.__getitem__, reverse=True) if name not in small}
    return {"groups": total, "operations": told | {"what is left": total - sum(told.values())}}

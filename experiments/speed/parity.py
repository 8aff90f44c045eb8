"""Parity on a device: what the speed page times gives the same numbers as the plain form in float64 on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.speed.bench import plain_form
from experiments.speed.ways import Rig

# Largest difference relative to the largest value [ours]: rounding, with a margin for the order of sums.
BOUNDS = {
    "float64, outputs": 1e-9,
    "float64, gradients": 1e-8,
    "float32, outputs": 1e-3,
    "float32, kept maps": 1e-3,
    "bfloat16, outputs": 0.1,
    "compiled, outputs": 1e-3,
    "CUDA graphs, outputs": 1e-3,
}


def difference(found: Tensor, wanted: Tensor) -> float:
    """Largest difference relative to the largest value; infinite where something is not finite.

    >>> difference(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]))
    0.25
    """
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    if not bool(torch.isfinite(found).all()):
        return float("inf")
    return float((found - wanted).abs().max() / wanted.abs().max())


def parity(rig: Rig, *, compiled: bool) -> dict[str, Any]:
    """Differences by name, and the names of those beyond their bound, on the rig's small ViT."""
    torch.backends.cudnn.allow_tf32 = False  # the convolutions of torch have 10 bits of mantissa otherwise
    model = rig._replace(backbone=rig.small, device="cpu").build().double()
    plain = plain_form(model)
    images = rig._replace(device="cpu").images(model, 2).double()
    wanted = torch.stack(plain.forward_all(images))  # main head, expert heads
    (wanted[0].sum() + wanted[1].sum()).backward()
    model = model.to(rig.device)
    found = torch.stack(model.forward_all(images.to(rig.device)))
    (found[0].sum() + found[1].sum()).backward()
    result = {"float64, outputs": difference(found, wanted), "float64, gradients": _gradients(model, plain)}
    model.zero_grad(set_to_none=True)
    result |= _single(rig, model.float(), images.float().to(rig.device), wanted, compiled)
    torch.backends.cudnn.allow_tf32 = True
    return {"differences": result, "beyond": [name for name, value in result.items() if not value <= BOUNDS[name]]}


def _gradients(model: Any, plain: Any) -> float:
    """Largest difference of the gradients of the first and the last group's projections, over all experts."""
    worst = 0.0
    for g in (0, len(model.groups) - 1):
        for name in ("down", "up"):
            own = getattr(model.groups[g], name)
            each = [plain.expert_gradients(g, i)[f"{name}.weight"].flatten(1) for i in range(own.num_experts)]
            worst = max(worst, difference(own.weight.grad, torch.cat(each)))
    return worst


def _single(rig: Rig, model: Any, images: Tensor, wanted: Tensor, compiled: bool) -> dict[str, float]:
    """Differences in float32 and below: recording gradients, predicting twice with kept maps, bfloat16, compiled."""
    result = {"float32, outputs": difference(torch.stack(model.forward_all(images)), wanted)}
    model.eval()
    with torch.no_grad():
        model(images)
        result["float32, kept maps"] = difference(model(images), wanted[0])
        with rig.half():
            result["bfloat16, outputs"] = difference(model(images), wanted[0])
        modes = {"compiled, outputs": None}
        modes |= {"CUDA graphs, outputs": "reduce-overhead"} if rig.device == "cuda" else {}
        for name, mode in modes.items() if compiled else ():
            network = torch.compile(model, fullgraph=True, mode=mode)
            for _ in range(2):
                network(images)
            result[name] = difference(network(images), wanted[0])
            torch.compiler.reset()
    return result

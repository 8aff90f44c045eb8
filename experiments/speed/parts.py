"""What the speed page measures, part by part: each function times its ways in turn and gives ratios and the seconds behind them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from auformer.aus import ACTION_UNITS
from auformer.models import AUFormer, FullFineTuning, LoRA
from experiments.speed.bench import plain_form, ratio
from experiments.speed.forms import FORMS, example
from experiments.speed.profile import forward_profile
from experiments.speed.ways import BiasBeforeBlocks, CompiledTraining, Rig, Way, forward, in_turn, rival, sharing, step

Figures = dict[str, Any]


def over(seconds: dict[str, list[float]], under: str) -> dict[str, float]:
    """Every way's time over that of one of them, the median of the ratios within a round."""
    return {name: ratio(seconds, name, under) for name in seconds if name != under}


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median seconds of every way."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def forwards(rig: Rig) -> Figures:
    """Predictions in eval mode, the composed maps kept, over those of the bare ViT: float32 at every batch, bfloat16 at one."""
    model = rig.build().eval()
    result: Figures = {"ratios": {}, "seconds": {}}
    for batch, half in [*((batch, False) for batch in rig.forward), (rig.batch, True)]:
        images = rig.images(model, batch)
        ways = {"vit": forward(model.backbone.forward_features, images), "auformer": forward(model, images)}
        with rig.half(half):
            rounds = max(
                1, rig.rounds * min(4, 8 // batch) if batch <= 8 else (rig.rounds + 1) // 2
            )  # short ones more often
            seconds = in_turn(rig, ways, rounds=rounds, repeats=10 if rig.device == "cuda" and batch < 8 else 1)
        name = f"forward{' bf16' if half else ''}/{batch}"
        result["ratios"][name], result["seconds"][name] = ratio(seconds, "auformer", "vit"), medians(seconds)
    return result


def compiled(rig: Rig) -> Figures:
    """The same with both compiled, one graph without a break; batch 1 too, on a GPU as CUDA graphs, and there the training step."""
    model = rig.build().eval()
    result: Figures = {"ratios": {}, "seconds": {}}
    cases: list[tuple[str, int, Any]] = [("forward compiled", rig.batch, None)]
    cases.append(
        ("forward CUDA graphs", 1, "reduce-overhead") if rig.device == "cuda" else ("forward compiled", 1, None)
    )
    for what, batch, mode in cases:
        images = rig.images(model, batch)
        ways: dict[str, Way] = {}
        for name, network in (("vit", model.backbone.forward_features), ("auformer", model)):
            ways[name] = forward(torch.compile(network, fullgraph=True, mode=mode), images)
            for _ in range(3):  # compiling, and what CUDA graphs record first
                ways[name]()
        repeats = 10 if rig.device == "cuda" and batch < 8 else 1
        seconds = in_turn(rig, ways, rounds=4 * rig.rounds if batch == 1 else rig.rounds, repeats=repeats)
        result["ratios"][f"{what}/{batch}"], result["seconds"][f"{what}/{batch}"] = (
            ratio(seconds, "auformer", "vit"),
            medians(seconds),
        )
        torch.compiler.reset()
    if rig.device == "cuda":
        ways = {}
        images = rig.images(model, rig.batch)
        for name, network in (("F", BiasBeforeBlocks(model)), ("auformer", model)):
            ways[name] = step(rig, CompiledTraining(network), images, half=True)
            for _ in range(3):
                ways[name]()
        seconds = in_turn(rig, ways)
        name = f"training compiled/{rig.batch}"
        result["ratios"][name], result["seconds"][name] = ratio(seconds, "auformer", "F"), medians(seconds)
    return result


def trainings(rig: Rig) -> Figures:
    """Forward and backward over `F`, over LoRA, over full fine-tuning and over the plain loop; bfloat16 on a GPU."""
    model = rig.build()
    half = rig.device == "cuda"
    networks: dict[str, Any] = {"F": BiasBeforeBlocks(model), "auformer": model, "lora": rival(rig, LoRA)}
    result: Figures = {"ratios": {}, "seconds": {}}
    for batch in rig.training:
        result = _training(rig, networks, batch, rig.rounds if batch == rig.batch else max(1, rig.rounds // 2), result)
    again = {f"recompute {what}": sharing(rig.build(recompute=what), model) for what in ("experts", "blocks")}
    others = {"full": rival(rig, FullFineTuning), "loop": None if half else plain_form(model)}
    return _training(rig, {"auformer": model, **again, **others}, rig.batch, max(1, rig.rounds // 2), result)


def _training(rig: Rig, networks: dict[str, Any], batch: int, rounds: int, result: Figures) -> Figures:
    """Steps of several networks in turn, added to a result; one that is None is left out."""
    half = rig.device == "cuda"
    images = rig.images(networks["auformer"], batch)
    ways = {name: step(rig, network, images, half=half) for name, network in networks.items() if network is not None}
    seconds = in_turn(rig, ways, rounds=rounds)
    ratios = {}
    for name in ways:
        if name.startswith("recompute"):  # what it costs
            ratios[f"{name}/{batch}"] = ratio(seconds, name, "auformer")
        elif name != "auformer":
            ratios[f"{'training' if name == 'F' else name}/{batch}"] = ratio(seconds, "auformer", name)
    return {
        "ratios": result["ratios"] | ratios,
        "seconds": result["seconds"] | {f"{', '.join(ways)}/{batch}": medians(seconds)},
    }


# What one training step is measured for in memory: the network, by name.
STEPS: dict[str, Callable[[Rig], Any]] = {
    "loop": lambda rig: plain_form(rig.build()),
    "lora": lambda rig: rival(rig, LoRA),
    **{what: lambda rig, what=what: rig.build(recompute=what) for what in ("nothing", "experts", "blocks")},
}


def memory(rig: Rig, measure: Callable[[str], tuple[int, int]]) -> Figures:
    """Bytes kept for the backward pass, and growth of the peak memory over one training step, over those of the plain loop.

    Args:
        rig: What is measured, and on what.
        measure: Growth of the peak memory in the training step of one of `STEPS`, 0 where it is not known, and bytes kept in it.
    """
    names = [name for name in STEPS if rig.device == "cpu" or name != "loop"]  # the plain form is for the CPU
    found = {name: measure(name) for name in names}
    result: Figures = {"ratios": {}, "peak": {}, "kept": {}}
    for name, values in found.items():
        for what, value, loop in zip(("peak", "kept"), values, found.get("loop", (0, 0)), strict=True):
            result[what][name] = value
            if name != "loop" and loop and value:
                result["ratios"][f"{what} {name}/{rig.batch}"] = value / loop
    return result


# Options that leave stages out.
LEFT_OUT: dict[str, dict[str, Any]] = {
    "own": {"carry": False},
    "fields": {"dilations": []},
    "context": {"window": 0},
    "all three": {"carry": False, "dilations": [], "window": 0},
}


def stages(rig: Rig) -> Figures:
    """What the groups cost by operation, forward, and by stage, in training: the whole model less the one without it.

    Two rates say what the floor on paper means in time: operations per second that the bare ViT reaches, bytes per second of a copy.
    """
    whole = rig.build().eval()
    images = rig.images(whole, rig.batch)
    found = forward_profile(whole, images)
    bare = in_turn(rig, {"vit": forward(whole.backbone.forward_features, images)})
    models = {"auformer": whole} | {name: sharing(rig.build(**changed), whole) for name, changed in LEFT_OUT.items()}
    ways = {"vit": step(rig, BiasBeforeBlocks(whole), images)} | {
        name: step(rig, one, images) for name, one in models.items()
    }
    steps = in_turn(rig, ways, rounds=2 * rig.rounds)  # differences of small parts
    a = torch.rand(2**24, device=rig.device)  # 64 MiB: no cache holds it
    b = torch.empty_like(a)
    copies = in_turn(rig, {"copy": lambda: b.copy_(a)}, rounds=5)
    return {
        "forward": found,
        "training": _shares(over(steps, "vit")),
        "seconds": {"forward": medians(bare), "training": medians(steps)},
        "bytes_per_second": 2 * 4 * a.numel() / statistics.median(copies["copy"]),
    }


def _shares(ratios: dict[str, float]) -> dict[str, float]:
    """Cost of what was left out, and of the rest: down, convolution, up and the additions; in multiples of the bare ViT.

    >>> _shares({"auformer": 1.5, "own": 1.375, "fields": 1.375, "context": 1.25, "all three": 1.125})
    {'own': 0.125, 'fields': 0.125, 'context': 0.25, 'down, convolution, up': 0.125, 'whole': 0.5}
    """
    parts = {name: ratios["auformer"] - ratios[name] for name in LEFT_OUT if name != "all three"}
    return parts | {"down, convolution, up": ratios["all three"] - 1, "whole": ratios["auformer"] - 1}


def forms(rig: Rig) -> Figures:
    """Milliseconds of the ways to write the convolutions of one group, forward, and forward and backward."""
    side = rig.build().grid_size[0]
    result: Figures = {}
    for what, dilations in (("convolution", (1,)), ("fields", (1, 3, 5))):
        x, kernels = example(rig.batch, side, len(rig.au_names), rig.width, len(dilations), rig.device)
        ahead = in_turn(
            rig, {name: forward(_bound(form, kernels, dilations), x) for name, form in FORMS.items()}, repeats=10
        )
        trained = [kernel.clone().requires_grad_() for kernel in kernels]
        inputs = x.clone().requires_grad_()
        back = in_turn(
            rig,
            {name: _gradients(_bound(form, trained, dilations), inputs, trained) for name, form in FORMS.items()},
            repeats=4,
        )
        result[what] = {
            name: {"forward": 100 * statistics.median(ahead[name]), "training": 250 * statistics.median(back[name])}
            for name in FORMS
        }
    return result


def _bound(form: Any, kernels: Any, dilations: tuple[int, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: form(x, kernels, dilations)


def _gradients(form: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, trained: list[torch.Tensor]) -> Way:
    return lambda: torch.autograd.grad(form(x).sum(), [x, *trained])


def slopes(rig: Rig) -> Figures:
    """Time over the bare ViT's against the number of experts, the blocks that have them, and the image size; and against the steps."""
    plain = rig._replace(backbone=rig.small, img_size=rig.sides[1])
    base = plain.build()
    names = list(ACTION_UNITS)
    many = {str(n): sharing(plain.build(au_names=names[:n]), base) for n in rig.experts}
    half = {where: sharing(plain.build(blocks=where), base) for where in ("first_half", "last_half")} | {"all": base}
    small = plain._replace(img_size=rig.sides[0]).build()
    return {
        "experts": _against(plain, many, base),
        "blocks": _against(plain, half, base),
        "sides": {str(one.image_size[0]): _against(plain, {"auformer": one}, one)["auformer"] for one in (small, base)},
        "steps": _epochs(plain, base),
    }


def _against(rig: Rig, models: dict[str, AUFormer], base: AUFormer) -> dict[str, dict[str, float]]:
    """Forward over `f`, and forward and backward over `F`, of several models; seconds per image of the first and of the bare ViT."""
    images = rig.images(base, rig.batch)
    for model in models.values():
        model.eval()
    ways = {"vit": forward(base.backbone.forward_features, images)} | {
        name: forward(model, images) for name, model in models.items()
    }
    ahead = in_turn(rig, ways, rounds=max(1, rig.rounds // 2))
    ways = {"F": step(rig, BiasBeforeBlocks(base), images)} | {
        name: step(rig, model, images) for name, model in models.items()
    }
    steps = in_turn(rig, ways, rounds=max(1, rig.rounds // 2))
    first, second = over(ahead, "vit"), over(steps, "F")
    times = {
        name: (statistics.median(ahead[name]) / rig.batch, statistics.median(steps[name]) / rig.batch)
        for name in models
    }
    return {
        name: {
            "forward": first[name],
            "training": second[name],
            "s forward": times[name][0],
            "s training": times[name][1],
        }
        for name in models
    }


def _epochs(rig: Rig, model: AUFormer) -> dict[str, float]:
    """Seconds of one and of two passes over the same batches, with the optimiser's steps, and their ratio."""
    batches = [rig.images(model, rig.batch) for _ in range(3)]
    optimiser = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.0)

    def epochs(count: int) -> Way:
        def run() -> None:
            for _ in range(count):
                for images in batches:
                    step(rig, model, images)()
                    optimiser.step()

        return run

    seconds = in_turn(rig, {"1": epochs(1), "2": epochs(2)})
    return medians(seconds) | {"ratio": ratio(seconds, "2", "1")}

"""What the speed page measures, part by part: ways timed in turn, as ratios and the seconds behind them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from auformer.aus import ACTION_UNITS
from auformer.models import AUFormer, FullFineTuning, LinearProbe, LoRA
from auformer.models.experts import ExpertGroup
from auformer.models.export import export_detector
from auformer.models.local_attention import local_attention
from auformer.models.onnx_file import OnnxDetector
from experiments.harness import Seconds, medians, ratio
from experiments.speed.bench import plain_form
from experiments.speed.ways import BiasBeforeBlocks, CompiledTraining, Rig, Way, baseline, forward, in_turn, sharing
from experiments.speed.ways import step as training_step

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
Figures = dict[str, Any]
RANGE = "auformer::group"
WHOLE = "auformer::forward"
SMALL = 0.01  # operations below this share of the groups' time are told together [ours]


def over(seconds: Seconds, under: str) -> dict[str, float]:
    """Every way's time over that of one of them, the median of the ratios within a round."""
    return {name: ratio(seconds, name, under) for name in seconds if name != under}


def _add(result: Figures, name: str, seconds: Seconds, over: str, under: str) -> None:
    """Add a ratio, and the seconds behind it."""
    result["ratios"][name], result["seconds"][name] = ratio(seconds, over, under), medians(seconds)


def forwards(rig: Rig) -> Figures:
    """Predictions in eval mode, composed maps kept, over the bare ViT's: float32 at every batch, bfloat16 at one."""
    model = rig.build().eval()
    result: Figures = {"ratios": {}, "seconds": {}}
    for batch, half in [*((batch, False) for batch in rig.forward), (rig.batch, True)]:
        images = rig.images(model, batch)
        ways = {"vit": forward(model.backbone.forward_features, images), "auformer": forward(model, images)}
        often = rig.rounds * min(4, 8 // batch) if batch <= 8 else (rig.rounds + 1) // 2  # short ones more often
        with rig.half(half):
            repeats = 10 if rig.device == "cuda" and batch < 8 else 1
            seconds = in_turn(rig, ways, rounds=max(1, often), repeats=repeats)
        _add(result, f"forward{' bf16' if half else ''}/{batch}", seconds, "auformer", "vit")
    return result


def compiled(rig: Rig) -> Figures:
    """The same with both compiled; batch 1 too, on a GPU as CUDA graphs, and there the training step."""
    model = rig.build().eval()
    result: Figures = {"ratios": {}, "seconds": {}}

    def warm(way: Way) -> Way:
        for _ in range(3):  # compiling, and what CUDA graphs record first
            way()
        return way

    cuda = rig.device == "cuda"
    single = ("forward CUDA graphs", 1, "reduce-overhead") if cuda else ("forward compiled", 1, None)
    for what, batch, mode in (("forward compiled", rig.batch, None), single):
        images = rig.images(model, batch)
        networks = {"vit": model.backbone.forward_features, "auformer": model}
        ways = {
            name: warm(forward(torch.compile(network, fullgraph=True, mode=mode), images))
            for name, network in networks.items()
        }
        rounds = 4 * rig.rounds if batch == 1 else rig.rounds
        seconds = in_turn(rig, ways, rounds=rounds, repeats=10 if cuda and batch < 8 else 1)
        _add(result, f"{what}/{batch}", seconds, "auformer", "vit")
        torch.compiler.reset()
    if cuda:
        images, both = rig.images(model, rig.batch), {"F": BiasBeforeBlocks(model), "auformer": model}
        ways = {name: warm(training_step(rig, CompiledTraining(one), images, half=True)) for name, one in both.items()}
        _add(result, f"training compiled/{rig.batch}", in_turn(rig, ways), "auformer", "F")
    return result


def exported(rig: Rig) -> Figures:
    """Batch 1 in files of `auformer export`, run by onnxruntime: AUFormer over the bare ViT (a linear probe).

    Each also over torch's bare ViT, and the largest difference of probabilities to those of torch.
    """
    model, probe = rig.build().eval(), LinearProbe(**rig.arguments()).eval()
    images = rig.images(model, 1)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: OnnxDetector(export_detector(one, Path(folder) / f"{name}.onnx"), threads=torch.get_num_threads())
            for name, one in (("probe", probe), ("auformer", model))
        }
        ways: dict[str, Way] = {name: partial(one.predict_probs, images.numpy()) for name, one in files.items()}
        seconds = in_turn(rig, ways | {"vit": forward(model.backbone.forward_features, images)}, rounds=4 * rig.rounds)
        found = files["auformer"].predict_probs(images.numpy())
    with torch.no_grad():
        beyond = float((torch.as_tensor(found) - model.predict_probs(images)).abs().max())
    result: Figures = {"ratios": {}, "seconds": {}, "difference": beyond}
    _add(result, "exported/1", seconds, "auformer", "probe")
    _add(result, "exported over eager/1", seconds, "auformer", "vit")
    return result


def cold(rig: Rig) -> Figures:
    """Microseconds of operations of one group at batch 1: again and again, after a product of the ViT, after a pause.

    The product is that of an MLP; the pause lasts 3 ms, about as long.
    """
    model = rig.build().eval()
    group, (height, width) = model.groups[1], model.grid_size
    y = torch.randn(1, model.backbone.num_prefix_tokens + height * width, model.embed_dim)
    wide = torch.randn(4 * model.embed_dim, model.embed_dim)
    z = torch.randn(1, height, width, len(group.conv.bias))
    h, kernel = z.permute(0, 3, 1, 2), group.conv.weight.contiguous(memory_format=torch.channels_last)
    qkv = torch.randn(1, height, width, 3 * z.shape[3]).chunk(3, -1)
    small: dict[str, Way] = {
        "product down": lambda: F.linear(y, group.down.weight, group.down.bias),
        "3x3 convolution": lambda: F.conv2d(h, kernel, group.conv.bias, padding=1, groups=group.num_experts),
        "GELU": lambda: F.gelu(z),
        "attention of neighbours": lambda: local_attention(*qkv, group.window),
        "sum": lambda: z + z,
    }
    before: dict[str, Way] = {
        "again and again": lambda: None, "after a product": lambda: F.linear(y, wide),
        "after a pause": lambda: time.sleep(0.003),
    }  # fmt: skip
    with torch.no_grad():
        return {
            "microseconds": {
                name: {when: 1e6 * _after(way, first, 20 * rig.rounds) for when, first in before.items()}
                for name, way in small.items()
            }
        }


def _after(way: Way, first: Way, rounds: int) -> float:
    """Median seconds of a way that is timed alone, each time after another."""
    found = []
    for _ in range(rounds + 1):
        first()
        begin = time.perf_counter()
        way()
        found.append(time.perf_counter() - begin)
    return statistics.median(found[1:])


def trainings(rig: Rig) -> Figures:
    """Forward and backward over `F`, over LoRA, over full fine-tuning and over the plain loop; bfloat16 on a GPU."""
    model = rig.build()
    half = rig.device == "cuda"
    networks: dict[str, Any] = {"F": BiasBeforeBlocks(model), "auformer": model, "lora": baseline(rig, LoRA)}
    result: Figures = {"ratios": {}, "seconds": {}}
    for batch in rig.training:
        result = _training(rig, networks, batch, rig.rounds if batch == rig.batch else max(1, rig.rounds // 2), result)
    again = {f"recompute {what}": sharing(rig.build(recompute=what), model) for what in ("experts", "blocks")}
    others = {"full": baseline(rig, FullFineTuning), "loop": None if half else plain_form(model)}
    return _training(rig, {"auformer": model, **again, **others}, rig.batch, max(1, rig.rounds // 2), result)


def _training(rig: Rig, networks: dict[str, Any], batch: int, rounds: int, result: Figures) -> Figures:
    """Steps of several networks in turn, added to a result; one that is None is left out."""
    half = rig.device == "cuda"
    images = rig.images(networks["auformer"], batch)
    ways = {
        name: training_step(rig, network, images, half=half)
        for name, network in networks.items()
        if network is not None
    }
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
    "lora": lambda rig: baseline(rig, LoRA),
    **{what: lambda rig, what=what: rig.build(recompute=what) for what in ("nothing", "experts", "blocks")},
}


def memory(rig: Rig, measure: Callable[[str], tuple[int, int]]) -> Figures:
    """Bytes kept for the backward pass, and growth of the peak memory over one training step, over the plain loop's.

    `measure` gives the growth of the peak memory in the step of one of `STEPS`, 0 where it is not known, and bytes
    kept.
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

    >>> label("aten::linear", [[4, 197, 768], [96, 768], [96]]), label("aten::gelu", [[4, 196, 96]])
    ('product 768 to 96', 'gelu')
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


# Options that leave stages out.
LEFT_OUT: dict[str, dict[str, Any]] = {
    "own": {"carry": False},
    "fields": {"dilations": []},
    "context": {"window": 0},
    "all three": {"carry": False, "dilations": [], "window": 0},
}


def stages(rig: Rig) -> Figures:
    """What the groups cost by operation, forward, and by stage, in training: the whole model less the one without it.

    Two rates say what the floor on paper means in time: operations per second that the bare ViT reaches, bytes per
    second of a copy.
    """
    whole = rig.build().eval()
    images = rig.images(whole, rig.batch)
    found = forward_profile(whole, images)
    bare = in_turn(rig, {"vit": forward(whole.backbone.forward_features, images)})
    models = {"auformer": whole} | {name: sharing(rig.build(**changed), whole) for name, changed in LEFT_OUT.items()}
    ways = {"vit": training_step(rig, BiasBeforeBlocks(whole), images)} | {
        name: training_step(rig, one, images) for name, one in models.items()
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
    """Cost of what was left out, and of the rest: down, convolution, up and additions; in multiples of the bare ViT.

    >>> _shares({"auformer": 1.5, "own": 1.375, "fields": 1.375, "context": 1.25, "all three": 1.125})
    {'own': 0.125, 'fields': 0.125, 'context': 0.25, 'down, convolution, up': 0.125, 'whole': 0.5}
    """
    parts = {name: ratios["auformer"] - ratios[name] for name in LEFT_OUT if name != "all three"}
    return parts | {"down, convolution, up": ratios["all three"] - 1, "whole": ratios["auformer"] - 1}


def slopes(rig: Rig) -> Figures:
    """Time over the bare ViT's by number of experts, blocks that have them, and image size."""
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
    }


def _against(rig: Rig, models: dict[str, AUFormer], base: AUFormer) -> dict[str, dict[str, float]]:
    """Forward over `f`, and forward and backward over `F`, of several models, and their seconds per image."""
    images, rounds = rig.images(base, rig.batch), max(1, rig.rounds // 2)
    ways = {"vit": forward(base.backbone.forward_features, images)}
    ways |= {name: forward(model.eval(), images) for name, model in models.items()}
    ahead = in_turn(rig, ways, rounds=rounds)
    ways = {"F": training_step(rig, BiasBeforeBlocks(base), images)}
    ways |= {name: training_step(rig, model, images) for name, model in models.items()}
    steps = in_turn(rig, ways, rounds=rounds)
    return {
        name: {
            "forward": ratio(ahead, name, "vit"),
            "training": ratio(steps, name, "F"),
            "s forward": medians(ahead)[name] / rig.batch,
            "s training": medians(steps)[name] / rig.batch,
        }
        for name in models
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

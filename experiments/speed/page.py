"""The speed page as Markdown, of what `bench_speed` measured, and its targets: what each figure is, its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auformer.scoring.tables import Table
from experiments.harness import Target, target_table
from experiments.speed import floor as speed_floor
from experiments.speed.floor import Stage
from experiments.speed.parts import BOUNDS

GIGA, MEGA = 1e9, 1e6
GPU_ABSENT = "not measured: no GPU at hand, `experiments/speed/gpu_speed.sh` is ready"
SMALL = "the groups' many small operations run below the rate of the ViT's large products, on which the floor rests"
FORWARD = f"{SMALL}: see where the time goes"
SINGLE = (
    "a group takes about twice as long between the blocks of the ViT as by itself, where its two wide products run "
    "at the ViT's rate: probably because the ViT's weights (0.34 GB) pass through the caches in between; compiling "
    "changes little"
)
TRAINING = f"{SMALL}: see where the time goes, and what recomputing and LoRA take"
STEP, LOOP = "forward and backward, batch", "over the plain loop's"

# part that measures it, name among its ratios -> the figure
CPU = {
    ("forward", "forward/1"): Target("forward, batch 1, over `f`", 1.10, reason=SINGLE),
    ("exported", "exported/1"): Target("forward, batch 1, both exported and run by onnxruntime", 1.10),
    ("exported", "exported over eager/1"): Target("forward, batch 1, exported and run by onnxruntime, over `f`"),
    ("forward", "forward/4"): Target("forward, batch 4, over `f`"),
    ("forward", "forward/16"): Target("forward, batch 16, over `f`", 1.10, reason=FORWARD),
    ("forward", "forward bf16/4"): Target("forward, batch 4, bfloat16 by autocast, over the bare ViT's"),
    ("compiled", "forward compiled/1"): Target("forward, batch 1, `torch.compile`, over the compiled bare ViT's"),
    ("compiled", "forward compiled/4"): Target("forward, batch 4, `torch.compile`, over the compiled bare ViT's"),
    ("training", "training/4"): Target(f"{STEP} 4, over `F`", 1.20, reason=TRAINING),
    ("training", "training/16"): Target(f"{STEP} 16, over `F`", 1.12, reason=TRAINING),
    ("training", "lora/4"): Target(f"{STEP} 4, over LoRA's (r = 8)", 1.10, reason=TRAINING),
    ("training", "lora/16"): Target(f"{STEP} 16, over LoRA's (r = 8)", 1.10, reason=TRAINING),
    ("training", "loop/4"): Target(f"{STEP} 4, {LOOP}"),
    ("training", "full/4"): Target(f"{STEP} 4, over full fine-tuning's"),
    ("training", "recompute experts/4"): Target(
        "a step with the groups' interior recomputed, batch 4, over one without"
    ),
    ("training", "recompute blocks/4"): Target("a step with every block recomputed, batch 4, over one without"),
    ("memory", "peak nothing/4"): Target(f"peak memory of a step {LOOP}, nothing recomputed", 0.45),
    ("memory", "peak experts/4"): Target(f"peak memory of a step {LOOP}, the groups' interior recomputed", 0.35),
    ("memory", "peak blocks/4"): Target(f"peak memory of a step {LOOP}, every block recomputed"),
    ("memory", "kept nothing/4"): Target(f"bytes kept for the backward pass {LOOP}, nothing recomputed"),
    ("memory", "kept experts/4"): Target(f"bytes kept for the backward pass {LOOP}, the groups' interior recomputed"),
    ("memory", "peak lora/4"): Target(f"peak memory of LoRA's step {LOOP}"),
}
GPU = {
    ("compiled", "forward compiled/64"): Target(
        "forward, batch 64, `torch.compile`, over the compiled bare ViT's", 1.10, reason=FORWARD
    ),
    ("forward", "forward/64"): Target("forward, batch 64, eager, over `f`"),
    ("forward", "forward bf16/64"): Target("forward, batch 64, eager, bfloat16 by autocast, over the bare ViT's"),
    ("forward", "forward/1"): Target("forward, batch 1, eager, over `f`"),
    ("compiled", "forward CUDA graphs/1"): Target("forward, batch 1, CUDA graphs, over the bare ViT's with them"),
    ("training", "training/64"): Target(f"{STEP} 64, bfloat16, over `F`", 1.30, reason=TRAINING),
    ("compiled", "training compiled/64"): Target(f"{STEP} 64, bfloat16, `torch.compile`, over the compiled `F`"),
    ("training", "lora/64"): Target(f"{STEP} 64, bfloat16, over LoRA's (r = 8)", 1.10, reason=TRAINING),
    ("training", "full/64"): Target(f"{STEP} 64, bfloat16, over full fine-tuning's"),
}
FORMULAS = """\
Letters: `T` patches, `P` prefix tokens, `S = P + T`, `D` width, `L` blocks, `N` experts of width `R`, `M = N R`, `k`
the window (3). Per image; a multiplication with its addition is 2 operations.

| stage | operations, forward | numbers read and written, forward |
| --- | --- | --- |
| ViT: patches (16 x 16 x 3) | `2 T 768 D` | `768 T + S D` |
| ViT: norm, two per block | | `2 S D` |
| ViT: query, key, value | `6 S D^2` | `4 S D` |
| ViT: attention | `4 S^2 D` | `4 S D` |
| ViT: projection, added to the stream | `2 S D^2` | `3 S D` |
| ViT: MLP, first and second map, added to the stream | `8 S D^2 + 8 S D^2` | `5 S D + 6 S D` |
| group: down | `2 T D M` | `T D + T M` |
| group: own, the carried output; not in the first group | `2 T M R` | `3 T M` |
| group: convolution | `18 T M R` | `2 T M` |
| group: fields, three dilations with the 1x1 map folded in | `54 T M R` | `2 T M` |
| group: query, key, value | `6 T M R` | `4 T M` |
| group: context, on every channel | `7 k^2 T M` | `4 T M` |
| group: sum of branches, GELU | | `4 T M` |
| group: up, added to the stream | `2 T M D` | `2 T D + T M` |
| group: composing, training only, per step | `2 M R D + 54 M R^2` | `M (2 D + R) + 57 M R` |

To these come the weights, once per batch. Backward: the gradients of the inputs cost as many operations as the forward
pass (attention twice as many; context `8 k^2 T M`, the attention weights at hand), and so do the gradients of the
weights where they are trained (all of the groups, none of the ViT). AUFormer does not pay the way back through the
first attention, since nothing before it is trained; that is taken off. The first group has no gradient to its input.
Ratios by bytes are of stages that each go to memory: in a cache that holds `T M` numbers per image (75 kB for 12
experts), or in a kernel that joins stages, they are lower."""


def _number(value: float) -> str:
    return f"{value:.3g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return Table(header, rows).markdown()


def verdicts(result: Mapping[str, Any], targets: Mapping[tuple[str, str], Target]) -> str:
    """Table of every target, what was measured, and the verdict."""
    values, shown = {}, {}
    for (part, figure), target in targets.items():
        found, name = result["parts"].get(part, {}), f"{part}: {figure}"
        values[name] = found.get("ratios", {}).get(figure)
        missing = f" (failed: {found['failed']})" if "failed" in found else ""
        shown[name] = target._replace(what=target.what + missing)
    return target_table(shown, values, missing="not measured")


def floors(part: Mapping[str, Any]) -> str:
    """Table of the floor for every ViT and number of experts."""
    rows = []
    for name, each in part["tables"].items():
        work = [_number(each[key]["operations"] / GIGA) for key in ("forward", "groups", "training", "groups_training")]
        rows.append([*name.split(", "), *work, *(f"{value:.3f}" for value in each["ratios"].values())])
    ratios = next(iter(part["tables"].values()))["ratios"]
    header = ["ViT", "N", "`f`", "groups, forward", "`F`", "groups, training"]
    return _table([*header, *(f"floor, {name}" for name in ratios)], rows)


def counts(part: Mapping[str, Any]) -> str:
    """Sentence on what torch counts in what is really run."""
    count = part["counted"]
    ahead, steps = (count[f"auformer, {kind}"] / count[f"vit, {kind}"] for kind in ("forward", "training"))
    return (
        f"Operations that are really run, by torch's counter (matrix products and convolutions): forward {ahead:.3f} "
        f"of the bare ViT, training {steps:.3f} of `F`. What is above the floor are the zeros of block-diagonal maps."
    )


def group_table(part: Mapping[str, Any]) -> str:
    """Table of the stages of one later group, beside one sub-layer's mean share of the ViT."""
    vit = speed_floor.VITS["ViT-B/16"]
    floor = speed_floor.floor(vit, 12, batch=part["batch"])
    rows = []
    for stage in speed_floor.group_stages(vit, 12, speed_floor.WIDTH, 224, batch=part["batch"], training=True):
        row = [stage.name]
        for work, whole in ((stage.forward, floor.forward), (stage.training, floor.training)):
            share = 100 * 2 * vit.depth * work.flops / whole.flops
            row += [_number(work.flops / MEGA), _number(work.bytes / MEGA), f"{share:.2f} %"]
        rows.append(row)
    header = [f"{what}{kind}" for kind in (", forward", ", training") for what in ("M operations", "MB")]
    return _table(["stage", *header[:2], "of `f` / 2L", *header[2:], "of `F` / 2L"], rows)


# What was left out to time it -> stages of the floor that it is
MEASURED = {
    "own": ("own",),
    "fields": ("fields",),
    "context": ("query, key, value", "context"),
    "down, convolution, up": ("down", "convolution", "up", "sum and GELU"),
}


def operations(part: Mapping[str, Any]) -> str:
    """Table of the operations of all groups in a forward pass, in per cent of the rest of the pass."""
    return _table(["operation", "time"], [[name, f"{100 * share:.2f} %"] for name, share in part["forward"].items()])


def shares(part: Mapping[str, Any], floor: Mapping[str, Any]) -> str:
    """Table of what stages cost in training beside what they cost on paper, in per cent of `F`."""
    vit, batch = speed_floor.VITS["ViT-B/16"], floor["batch"]
    paper = speed_floor.floor(vit, 12, batch=batch).training.flops
    stages: list[Stage] = []
    for layer in range(2 * vit.depth):
        stages += speed_floor.group_stages(vit, 12, speed_floor.WIDTH, 224, batch=batch, first=layer == 0)
    work = {
        name: sum(stage.training.flops for stage in stages if stage.name in names) / paper
        for name, names in MEASURED.items()
    }
    work["whole"] = sum(work.values())
    rows = [[name, f"{100 * share:.1f} %", f"{100 * part['training'][name]:.1f} %"] for name, share in work.items()]
    return _table(["stages of all groups", "operations, of `F`", "time, of `F`"], rows)


def roof(part: Mapping[str, Any], batch: int) -> str:
    """Sentence on the machine's two rates, and what the bytes of the groups would take at the slower one."""
    paper = speed_floor.floor(speed_floor.VITS["ViT-B/16"], 12, batch=batch)
    second = part["seconds"]["forward"]["vit"]
    rate, band = batch * paper.forward.flops / second, part["bytes_per_second"]
    time = paper.groups.flops / rate, paper.groups.bytes / band
    return (
        f"The bare ViT runs at {rate / GIGA:.3g} G operations per second here, a copy at {band / GIGA:.3g} GB/s. At "
        f"these rates the groups' operations take {100 * batch * time[0] / second:.1f} % of `f`, and their bytes, were "
        f"all of them to go to memory, {100 * batch * time[1] / second:.1f} %."
    )


def differences(part: Mapping[str, Any]) -> str:
    rows = [[name, f"{value:.1e}", f"at most {BOUNDS[name]:g}"] for name, value in part["differences"].items()]
    return _table(["largest difference over largest value", "measured", "bound"], rows)


def cold(part: Mapping[str, Any]) -> str:
    """Table of the time of single operations by what went before."""
    rows = [[name, *(f"{value:.0f}" for value in each.values())] for name, each in part["microseconds"].items()]
    return _table(["microseconds of", *next(iter(part["microseconds"].values()))], rows)


def slopes(part: Mapping[str, Any]) -> str:
    rows = []
    for what, label in (("experts", "N = {}"), ("blocks", "experts in blocks: {}"), ("sides", "{} px")):
        for name, each in part[what].items():
            times = [f"{1000 * each[key]:.3g}" for key in ("s forward", "s training")]
            ratios = [f"{each[key]:.3f}" for key in ("forward", "training")]
            rows.append([label.format(name.replace("_", " ")), *ratios, *times])
    header = ["", "forward over `f`", "training over `F`", "forward, ms per image", "training, ms per image"]
    return _table(header, rows)


def markdown(result: Mapping[str, Any]) -> str:
    """The page."""
    plain, parts = result["settings"], result["parts"]
    gpu = plain["device"] != "cpu"
    where = plain["device"] if gpu else f"CPU, {plain['threads']} threads"
    blocks = [f"# Speed and memory against the floor{' on ' + plain['device'] if gpu else ''}"]
    if plain["quick"]:
        blocks.append("**A tiny ViT and one round: this shows that the script runs, no figure means anything.**")
    blocks += [
        f"`python -m experiments.speed.bench_speed{' --device cuda' if gpu else ''}`: {plain['backbone']}, "
        f"{plain['aus']} action units, R = {plain['expert_width']}, {where}, float32 unless said otherwise; torch "
        f"{plain['torch']}, timm {plain['timm']}, {plain['machine']}. Ratios are of ways timed in turn in one process, "
        "the median over rounds of the ratio within a round. `f`: forward pass of the bare frozen ViT; `F`: its "
        "forward pass and the gradients down to a trained bias on the patch tokens before block 1, what any method "
        "with trained parts in the first block pays.",
        "This page is about the network; photos and videos, from the file to the table, beside an earlier build: "
        "[predict_before_after.md](predict_before_after.md).",
        "Measured at: " + ", ".join(f"{name} {part['commit']} ({part['date']})" for name, part in parts.items()) + ".",
        "## Targets",
        verdicts(result, GPU if gpu else CPU),
    ]
    if not gpu:
        bounds = "; ".join(f"{target.what}: at most {target.bound:.2f}" for target in GPU.values() if target.bound)
        blocks.append(f"On a GPU ({bounds}): {GPU_ABSENT}.")
    if "parity" in parts:
        blocks += ["## The same numbers", f"{plain['small']} beside the plain form in float64 on the CPU."]
        blocks.append(differences(parts["parity"]))
    if "floor" in parts:
        paper = parts["floor"]
        blocks += ["## The floor on paper", FORMULAS]
        blocks += [f"In G operations per image at 224 px, R = 8, batch {paper['batch']}:", floors(paper), counts(paper)]
        blocks += ["One group after the first, ViT-B/16, N = 12:", group_table(paper)]
    if {"stages", "floor"} <= parts.keys():
        blocks += [
            "## Where the time goes",
            f"Forward, batch {plain['batch']}, by torch's profiler, over the rest of the pass:",
            operations(parts["stages"]),
            roof(parts["stages"], plain["batch"]),
            "Training: the whole model less the one without a stage, so that a figure may be off by a few per cent of "
            "`F`.",
            shares(parts["stages"], parts["floor"]),
        ]
    if "cold" in parts:
        blocks += ["Single operations of a group at batch 1, by what went before:", cold(parts["cold"])]
    if "slopes" in parts:
        blocks += ["## What grows with what", f"{plain['small']}, batch {plain['batch']}.", slopes(parts["slopes"])]
    return "\n\n".join(blocks) + "\n"

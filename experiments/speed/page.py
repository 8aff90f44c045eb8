"""The speed page as Markdown, of what `bench_speed.py` measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.speed import floor as speed_floor
from experiments.speed.floor import Stage
from experiments.speed.parity import BOUNDS
from experiments.speed.targets import CPU, GPU, GPU_ABSENT, Target, verdict

GIGA = 1e9
MEGA = 1e6
FORMULAS = """\
Letters: `T` patches, `P` prefix tokens, `S = P + T`, `D` width, `L` blocks, `N` experts of width `R`, `M = N R`, `k` the window (3). Per
image; a multiplication with its addition is 2 operations.

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

To these come the weights, once per batch. Backward: the gradients of the inputs cost as many operations as the forward pass (attention
twice as many; context `8 k^2 T M`, the attention weights at hand), and so do the gradients of the weights where they are trained (all of
the groups, none of the ViT). AUFormer does not pay the way back through the first attention, since nothing before it is trained; that is
taken off. The first group has no gradient to its input. Ratios by bytes are of stages that each go to memory: in a cache that holds
`T M` numbers per image (75 kB for 12 experts), or in a kernel that joins stages, they are lower."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def verdicts(result: dict[str, Any], targets: Sequence[Target]) -> str:
    """Table of every target, what was measured, and the verdict."""
    rows = []
    for target in targets:
        part = result["parts"].get(target.part, {})
        value = part.get("ratios", {}).get(target.figure)
        bound = "" if target.bound is None else f"at most {target.bound:.2f}"
        missing = f"not measured: {part['failed']}" if "failed" in part else "not measured"
        rows.append([target.what, missing if value is None else _number(value), bound, verdict(target, value)])
    return table(["what", "measured", "target", "verdict"], rows)


def floors(part: dict[str, Any]) -> str:
    """Table of the floor for every ViT and number of experts."""
    rows = []
    for name, each in part["tables"].items():
        vit, experts = name.split(", ")
        work = [_number(each[key]["operations"] / GIGA) for key in ("forward", "groups", "training", "groups_training")]
        rows.append([vit, experts, *work, *(f"{value:.3f}" for value in each["ratios"].values())])
    head = ["ViT", "N", "`f`", "groups, forward", "`F`", "groups, training"]
    return table([*head, *(f"floor, {name}" for name in next(iter(part["tables"].values()))["ratios"])], rows)


def counts(part: dict[str, Any]) -> str:
    """Sentence on what torch counts in what is really run."""
    count = part["counted"]
    ahead, steps = (count[f"auformer, {kind}"] / count[f"vit, {kind}"] for kind in ("forward", "training"))
    return (
        f"Operations that are really run, by torch's counter (matrix products and convolutions): forward {ahead:.3f} of the bare ViT, "
        f"training {steps:.3f} of `F`. What is above the floor are the zeros of block-diagonal maps."
    )


def stage_rows(stages: Sequence[Stage], whole: float, whole_training: float) -> list[list[str]]:
    """Rows of a table of stages: operations, bytes, share of the bare ViT."""
    return [
        [
            stage.name,
            _number(stage.forward.flops / MEGA), _number(stage.forward.bytes / MEGA), f"{100 * stage.forward.flops / whole:.2f} %",
            _number(stage.training.flops / MEGA), _number(stage.training.bytes / MEGA),
            f"{100 * stage.training.flops / whole_training:.2f} %",
        ]
        for stage in stages
    ]  # fmt: skip


def group_table(part: dict[str, Any]) -> str:
    """Table of the stages of one later group, beside one sub-layer's mean share of the ViT."""
    vit = speed_floor.VITS["ViT-B/16"]
    floor = speed_floor.floor(vit, 12, batch=part["batch"])
    stages = speed_floor.group_stages(vit, 12, speed_floor.WIDTH, 224, batch=part["batch"], training=True)
    layers = 2 * vit.depth
    head = [
        "stage",
        "M operations, forward",
        "MB, forward",
        "of `f` / 2L",
        "M operations, training",
        "MB, training",
        "of `F` / 2L",
    ]
    return table(head, stage_rows(stages, floor.forward.flops / layers, floor.training.flops / layers))


# What was left out to time it -> stages of the floor that it is
MEASURED = {
    "own": ("own",),
    "fields": ("fields",),
    "context": ("query, key, value", "context"),
    "down, convolution, up": ("down", "convolution", "up", "sum and GELU"),
}


def operations(part: dict[str, Any]) -> str:
    """Table of the operations of all groups in a forward pass, in per cent of the rest of the pass."""
    return table(["operation", "time"], [[name, f"{100 * share:.2f} %"] for name, share in part["forward"].items()])


def shares(part: dict[str, Any], floor: dict[str, Any]) -> str:
    """Table of what stages cost in training beside what they cost on paper, in per cent of `F`."""
    vit = speed_floor.VITS["ViT-B/16"]
    paper = speed_floor.floor(vit, 12, batch=floor["batch"]).training.flops
    rows, whole = [], 0.0
    for name, stages in MEASURED.items():
        work = 0.0
        for layer in range(2 * vit.depth):
            group = speed_floor.group_stages(vit, 12, speed_floor.WIDTH, 224, batch=floor["batch"], first=layer == 0)
            work += sum(stage.training.flops for stage in group if stage.name in stages)
        whole += work / paper
        rows.append([name, f"{100 * work / paper:.1f} %", f"{100 * part['training'][name]:.1f} %"])
    rows.append(["whole", f"{100 * whole:.1f} %", f"{100 * part['training']['whole']:.1f} %"])
    return table(["stages of all groups", "operations, of `F`", "time, of `F`"], rows)


def roof(part: dict[str, Any], batch: int) -> str:
    """Sentence on the machine's two rates, and what the bytes of the groups would take at the slower one."""
    paper = speed_floor.floor(speed_floor.VITS["ViT-B/16"], 12, batch=batch)
    second = part["seconds"]["forward"]["vit"]
    rate, band = batch * paper.forward.flops / second, part["bytes_per_second"]
    time = paper.groups.flops / rate, paper.groups.bytes / band
    return (
        f"The bare ViT runs at {rate / GIGA:.3g} G operations per second here, a copy at {band / GIGA:.3g} GB/s. At these rates the "
        f"groups' operations take {100 * batch * time[0] / second:.1f} % of `f`, and their bytes, were all of them to go to memory, "
        f"{100 * batch * time[1] / second:.1f} %."
    )


def differences(part: dict[str, Any]) -> str:
    """Table of the differences from the plain form."""
    rows = [[name, f"{value:.1e}", f"at most {BOUNDS[name]:g}"] for name, value in part["differences"].items()]
    return table(["largest difference over largest value", "measured", "bound"], rows)


def forms(part: dict[str, Any]) -> str:
    """Table of the ways to write the convolutions."""
    names = list(part["convolution"])
    rows = [
        [
            name,
            *(
                _number(part[what][name][kind])
                for what in ("convolution", "fields")
                for kind in ("forward", "training")
            ),
        ]
        for name in names
    ]
    return table(
        ["ms, one group", "convolution, forward", "with backward", "three fields, forward", "with backward"], rows
    )


def slopes(part: dict[str, Any]) -> str:
    """Tables of what grows with what."""
    rows = []
    for what, label in (("experts", "N = {}"), ("blocks", "experts in blocks: {}"), ("sides", "{} px")):
        for name, each in part[what].items():
            times = [f"{1000 * each[key]:.3g}" for key in ("s forward", "s training")]
            rows.append(
                [label.format(name.replace("_", " ")), f"{each['forward']:.3f}", f"{each['training']:.3f}", *times]
            )
    both = table(["", "forward over `f`", "training over `F`", "forward, ms per image", "training, ms per image"], rows)
    return f"{both}\n\nTwice the steps of an epoch take {part['steps']['ratio']:.3f} times as long: data costs in proportion."


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    plain, parts = result["settings"], result["parts"]
    gpu = plain["device"] != "cpu"
    where = plain["device"] if gpu else f"CPU, {plain['threads']} threads"
    lines = [
        f"# Speed and memory against the floor{' on ' + plain['device'] if gpu else ''}",
        f"`python experiments/bench_speed.py{' --device cuda' if gpu else ''}`: {plain['backbone']}, {plain['aus']} action units, "
        f"R = {plain['expert_width']}, {where}, float32 unless said otherwise; torch {plain['torch']}, timm {plain['timm']}, "
        f"{plain['machine']}. Ratios are of ways timed in turn in one process, the median over rounds of the ratio within a round. `f`: "
        "forward pass of the bare frozen ViT; `F`: its forward pass and the gradients down to a trained bias on the patch tokens before "
        "block 1, what any method with trained parts in the first block pays.",
        "Measured at: " + ", ".join(f"{name} {part['commit']} ({part['date']})" for name, part in parts.items()) + ".",
        "## Targets",
        verdicts(result, GPU if gpu else CPU),
    ]
    if plain["quick"]:
        lines.insert(1, "**A tiny ViT and one round: this shows that the script runs, no figure means anything.**")
    if not gpu:
        lines += [f"On a GPU ({'; '.join(f'{t.what}: at most {t.bound:.2f}' for t in GPU if t.bound)}): {GPU_ABSENT}."]
    if "parity" in parts:
        lines += [
            "## The same numbers",
            f"{plain['small']} beside the plain form in float64 on the CPU.",
            differences(parts["parity"]),
        ]
    if "floor" in parts:
        lines += ["## The floor on paper", FORMULAS]
        lines += [
            f"In G operations per image at 224 px, R = 8, batch {parts['floor']['batch']}:",
            floors(parts["floor"]),
            counts(parts["floor"]),
        ]
        lines += ["One group after the first, ViT-B/16, N = 12:", group_table(parts["floor"])]
    if {"stages", "floor"} <= parts.keys():
        lines += [
            "## Where the time goes",
            f"Forward, batch {plain['batch']}, by torch's profiler, over the rest of the pass:",
        ]
        lines += [operations(parts["stages"]), roof(parts["stages"], plain["batch"])]
        lines += [
            "Training: the whole model less the one without a stage, so that a figure may be off by a few per cent of `F`."
        ]
        lines += [shares(parts["stages"], parts["floor"])]
    if "forms" in parts:
        lines += ["## Ways to write the convolutions", forms(parts["forms"])]
    if "slopes" in parts:
        lines += ["## What grows with what", f"{plain['small']}, batch {plain['batch']}.", slopes(parts["slopes"])]
    return "\n\n".join(lines) + "\n"

"""The speed page: forward, training and memory against the bare frozen ViT, LoRA and the plain loop, beside the floor.

    python -m experiments.speed.bench_speed [--parts forward training ...] [--compile] [--device cuda] [--quick]

ViT-B/16 at 224 px, 12 action units, expert width 8, two threads on a CPU. Every ratio is of ways that are timed in turn
in one process: the median over rounds of the ratio within a round. Parts that are not asked for keep what an earlier
run of the same settings wrote; each says its commit. Writes `speed.json` and `speed.md`, on a GPU `speed_gpu.json` and
`speed_gpu.md` with its name; after every part, so that a run that is stopped keeps what it has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch

from auformer.aus import parse_au_names
from auformer.files import read_json
from experiments.harness import circumstances, in_child, kept_bytes, new_parser, resident, write_result
from experiments.speed import floor as speed_floor
from experiments.speed import parts as speed_parts
from experiments.speed.page import markdown
from experiments.speed.ways import BiasBeforeBlocks, Rig, counted, step

PARTS = ("parity", "floor", "forward", "exported", "compiled", "training", "memory", "stages", "cold", "slopes")
CPU_ONLY = ("exported", "cold")  # left out on a GPU
CHANGING = ("commit", "date", "load")  # said by each part, not by the settings


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, help="what to measure (default: all, `compiled` on a GPU only)")
    add("--compile", action="store_true", help="compile too; on a CPU it needs a C++ compiler and minutes")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where (default: %(default)s)")
    add("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    add("--rounds", type=int, default=5, help="timed rounds after one for warming up (default: %(default)s)")
    add("--quick", action="store_true", help="a tiny ViT and one round: shows that it runs, not how fast")
    add("--step", choices=tuple(speed_parts.STEPS), help=argparse.SUPPRESS)  # one step, in a process of its own
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "Expected a GPU for --device cuda, but torch finds none: install a torch with CUDA, or use --device cpu"
        )
    if not args.parts:
        args.parts = [part for part in PARTS if part != "compiled" or args.compile or args.device == "cuda"]
    if args.device == "cuda":
        args.parts = [part for part in args.parts if part not in CPU_ONLY]
    return args


def make_rig(args: argparse.Namespace) -> Rig:
    torch.set_num_threads(args.threads)
    if args.quick:
        aus = ["AU1", "AU2", "AU12"]
        return Rig("test_vit", "test_vit", aus, 32, 2, args.device, 1, (1, 2), (2,), 2, (1, 2), (32, 64))
    aus = parse_au_names("bp4d")
    common = ("vit_base_patch16_224", "vit_small_patch16_224", aus, None, speed_floor.WIDTH, args.device, args.rounds)
    batches = ((1, 64), (64,), 64) if args.device == "cuda" else ((1, 4, 16), (4, 16), 4)
    return Rig(*common, *batches, speed_floor.EXPERTS, (112, 224))


def paper(rig: Rig) -> dict[str, Any]:
    """The floor on paper, and the operations that torch counts in what is run, of the network that is measured."""
    tables, batch = {}, max(rig.training)
    for name, vit in speed_floor.VITS.items():
        for experts in speed_floor.EXPERTS:
            floor = speed_floor.floor(vit, experts, batch=batch)
            work = {part: {"operations": one.flops, "bytes": one.bytes} for part, one in floor._asdict().items()}
            tables[f"{name}, {experts}"] = {"ratios": floor.ratios(), **work}
    model = rig.build()
    images = rig.images(model, rig.batch)
    counts = {
        f"{name}, {'training' if training else 'forward'}": counted(network, images, training=training)
        for name, network in (("vit", BiasBeforeBlocks(model)), ("auformer", model))
        for training in (False, True)
    }
    return {"tables": tables, "counted": counts, "batch": batch}


def memory_of(rig: Rig, argv: list[str]) -> Callable[[str], tuple[int, int]]:
    """What `one_step` gives: of a process of its own on a CPU, by torch's count on a GPU."""

    def on_cpu(name: str) -> tuple[int, int]:
        growth, kept = in_child("experiments.speed.bench_speed", *argv, "--step", name).split()
        return int(growth), int(kept)

    return on_cpu if rig.device == "cpu" else lambda name: one_step(rig, name)


def one_step(rig: Rig, name: str) -> tuple[int, int]:
    """Growth of the peak memory over one step of one of `speed_parts.STEPS`, and bytes kept for its backward pass."""
    network = speed_parts.STEPS[name](rig)
    if network is None:  # a baseline whose package is not installed
        return 0, 0
    cuda, images = rig.device == "cuda", rig.images(network, rig.batch)
    run = step(rig, network, images, half=cuda)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else resident(peak=True)
    run()
    growth = (torch.cuda.max_memory_allocated() if cuda else resident(peak=True)) - before
    with rig.half(cuda):
        return growth, kept_bytes(network, images)


def settings(args: argparse.Namespace, rig: Rig) -> dict[str, Any]:
    """What is measured, on what; results of other settings are not kept."""
    where = {name: value for name, value in circumstances("torch", "timm").items() if name not in CHANGING}
    return {
        "backbone": rig.backbone, "small": rig.small, "aus": len(rig.au_names), "expert_width": rig.width,
        "batch": rig.batch, "quick": args.quick, "threads": torch.get_num_threads(), **where,
        "device": torch.cuda.get_device_name() if rig.device == "cuda" else "cpu",
    }  # fmt: skip


def measure(part: str, rig: Rig, argv: list[str], *, compiled: bool) -> dict[str, Any]:
    """One part, or why it could not be measured."""
    if part == "compiled":
        try:
            return speed_parts.compiled(rig)
        except Exception as error:  # no compiler, or one that torch cannot use: torch raises many kinds
            return {"ratios": {}, "failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    return {
        "parity": lambda: speed_parts.parity(rig, compiled=compiled), "floor": lambda: paper(rig),
        "forward": lambda: speed_parts.forwards(rig), "exported": lambda: speed_parts.exported(rig),
        "cold": lambda: speed_parts.cold(rig), "training": lambda: speed_parts.trainings(rig),
        "memory": lambda: speed_parts.memory(rig, memory_of(rig, argv)), "stages": lambda: speed_parts.stages(rig),
        "slopes": lambda: speed_parts.slopes(rig),
    }[part]()  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_arguments(argv)
    rig = make_rig(args)
    if args.step:
        print(*one_step(rig, args.step))
        return
    name = "speed" if rig.device == "cpu" else "speed_gpu"
    result: dict[str, Any] = {"settings": settings(args, rig), "parts": {}}
    earlier = read_json(args.out / f"{name}.json")
    if earlier is not None and earlier["settings"] == result["settings"]:
        result = earlier
    for part in args.parts:
        print(f"{part} ...", flush=True)
        found = measure(part, rig, argv, compiled=args.compile or "compiled" in args.parts)
        now = circumstances()
        result["parts"][part] = {**found, "commit": now["commit"], "date": now["date"], "rounds": rig.rounds}
        write_result(args.out, name, result, markdown(result))
        if found.get("beyond"):
            beyond = ", ".join(found["beyond"])
            sys.exit(f"Expected the numbers that the plain form gives, but got others: {beyond}; see {args.out}")
    print(markdown(result))


if __name__ == "__main__":
    main()

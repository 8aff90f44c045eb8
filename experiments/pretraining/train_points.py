"""Train the landmark regressor of `auformer.faces` on rendered faces.

    python -m experiments.pretraining.train_points --out runs/points

Renders 40,000 images of 2,000 subjects (4 minutes on one core), trains (20 minutes) and writes
`auformer/assets/points.onnx`; then `measure_points` measures it. The same call resumes an interrupted run.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from auformer.faces.regressor import MODEL, SIDE
from auformer.files import atomic_path, write_json
from experiments.harness import new_parser
from experiments.pretraining.point_net import PointNet, write_onnx
from experiments.pretraining.points_data import FIRST_TRAIN, FIRST_VAL, batch, render_shards

SUBJECTS, IMAGES, VAL_SUBJECTS, VAL_IMAGES = 2000, 20, 100, 10
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY, SEED = 9000, 128, 3e-3, 0.01, 0
AVERAGE = 0.998  # weights used are a moving average over the last steps [ours]
ROUND = 0.01  # IPD below which the loss turns from distance to its square [ours]
CHECKS = 1000  # validation inputs
KEEP_EVERY = 250  # steps between two checkpoints


class Training:
    """Network, moving average, optimiser, schedule over so many steps and the step, as one thing to save."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(SEED)
        self.net = PointNet().to(memory_format=torch.channels_last)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, LEARNING_RATE, total_steps=steps + 1, pct_start=0.1
        )
        self.step, self.seconds = 0, 0.0

    def save(self, path: Path) -> None:
        """Write everything that a killed run needs."""
        parts = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimiser", "schedule")}
        with atomic_path(path) as temporary:
            torch.save({**parts, "step": self.step, "seconds": self.seconds}, temporary)

    def load(self, path: Path) -> None:
        """Read it back."""
        kept = torch.load(path, weights_only=True)
        for name in ("net", "average", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(kept[name])
        self.step, self.seconds = kept["step"], kept["seconds"]

    def advance(self, inputs: np.ndarray, points: np.ndarray) -> float:
        """One step; the mean distance in inter-pupil distances of an upright face."""
        self.net.train()
        with torch.autocast("cpu", torch.bfloat16):
            maps = self.net.maps(torch.from_numpy(inputs).to(memory_format=torch.channels_last))
        away = (maps.float() @ self.net.cells - torch.from_numpy(points)) * SIDE
        square = away.square().sum(-1)
        loss = ((square + ROUND**2).sqrt() - ROUND).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return float(square.detach().sqrt().mean())


def train(out: Path, steps: int, log: bool = True) -> tuple[PointNet, float]:
    """The averaged network in eval mode, and the seconds that training took."""
    images, points = render_shards(out / "data", FIRST_TRAIN, SUBJECTS, IMAGES)
    checks = [
        batch(*render_shards(out / "data", FIRST_VAL, VAL_SUBJECTS, VAL_IMAGES), np.arange(CHECKS), 10**6 + i)
        for i in range(2)
    ]
    torch.set_flush_denormal(True)
    training, path = Training(steps), out / "training.pt"
    if path.exists():
        training.load(path)
    recent: list[float] = []
    while training.step < steps:
        start = time.process_time()
        rng = np.random.default_rng([779, SEED, training.step])
        recent.append(training.advance(*batch(images, points, rng.integers(0, len(images), BATCH), training.step)))
        training.seconds += time.process_time() - start
        if training.step % KEEP_EVERY == 0 or training.step == steps:
            training.save(path)
            if log:
                errors = [validate(training.average.module, *check) for check in checks]
                told = f"{training.seconds:.0f} s, training {np.mean(recent):.4f}, validation"
                print(training.step, told, *errors, flush=True)
            recent = []
    return training.average.module.eval(), training.seconds


@torch.inference_mode()
def validate(net: PointNet, inputs: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Mean errors in IPD of an upright face: pupils by input, as boxes and as first landmarks leave them; all."""
    net.eval()
    away = np.linalg.norm(net(torch.from_numpy(inputs)).numpy() - points, axis=-1) * SIDE
    parts = {"wide": away[::2, :2], "near": away[1::2, :2], "all": away}
    return {name: round(float(part.mean()), 4) for name, part in parts.items()}


def main(argv: list[str] | None = None) -> None:
    """Train, write the network."""
    parser = new_parser(__doc__, out=Path("runs/points"))
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    net, seconds = train(args.out, args.steps)
    write_onnx(net, MODEL, "auformer experiments.pretraining.train_points")
    write_json(args.out / "training.json", {"steps": args.steps, "seconds": round(seconds)})


if __name__ == "__main__":
    main()

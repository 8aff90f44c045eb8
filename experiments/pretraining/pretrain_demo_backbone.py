"""Pre-train the demo backbone on dense face geometry, without AU labels.

    python -m experiments.pretraining.pretrain_data --out runs/drawn
    python -m experiments.pretraining.pretrain_data --out runs/scanned --facekit ict.npz
    python -m experiments.pretraining.pretrain_demo_backbone runs/drawn runs/scanned --out runs/backbone

One linear layer per token predicts part masks, template coordinates, skin displacement and relief in 4 x 4 cells of 4
px; the loss of each channel is divided by that of a constant prediction, so that 1 is "knows nothing". `--processes` of
one thread each share the batch and average gradients, which is faster on a CPU than one process with as many threads.
The same call resumes an interrupted run. Writes `demo_backbone.safetensors` (float16) and `pretrain.jsonl` (held-out
losses) to `--out`, by default beside the data; copy the first to `auformer/assets/` and its results to
`experiments/results/`. Set MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 on Linux: page faults
otherwise cost a third of the time. The second backbone of the ablations has seen where the parts of a face are, but
neither how its skin moves nor its relief: `needs` in `experiments/suites/ablations.yaml` holds its command.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auformer.data.images import read_image
from auformer.data.transforms import Strong, build_augmentation
from auformer.files import atomic_path
from auformer.models.demo_vit import DEMO_BACKBONE
from auformer.training.run import fast_and_restored
from experiments.harness import new_parser

# Weights of the channels [ours]: lids, lips and movement decide about AUs; furrows are the hardest to see.
WEIGHTS = {
    "face": 0.3, "hair": 0.3, "brow": 1.5, "eye": 1.5, "iris": 0.7, "upper_lip": 2.0, "lower_lip": 2.0, "opening": 1.0,
    "teeth": 0.5, "template_x": 0.5, "template_y": 0.5, "move_x": 3.0, "move_y": 3.0, "bulge": 2.5, "furrow": 3.0,
}  # fmt: skip
MIRRORED = ("template_x", "move_x")  # channels whose sign changes when the image is flipped
HELD_OUT = 3000  # images of the last identities of each folder
SIZE = 112


class Data:
    """Images and targets of `pretrain_data`, standardisation, and the loss of a constant prediction.

    Args:
        folders: Each with both.
        channels: Targets to learn; None: all that are there.
    """

    def __init__(self, folders: Sequence[Path], channels: list[str] | None = None) -> None:
        known = [json.loads((folder / "meta.json").read_text(encoding="utf-8")) for folder in folders]
        names = known[0]["channels"]
        self.channels: list[str] = [name for name in names if channels is None or name in channels]
        self.columns = [names.index(name) for name in self.channels]
        self.targets = [
            np.memmap(folder / "targets.f16", np.float16, "r").reshape(-1, meta["cells"], meta["cells"], len(names))
            for folder, meta in zip(folders, known, strict=True)
        ]
        tables = [pd.read_csv(folder / "manifest.csv", usecols=["image"])["image"] for folder in folders]
        self.files = [str(folder / image) for folder, table in zip(folders, tables, strict=True) for image in table]
        self.ends = np.cumsum([len(table) for table in tables])
        rows = np.split(np.arange(len(self.files)), self.ends[:-1])
        self.training = np.concatenate([part[:-HELD_OUT] for part in rows])
        self.held_out = np.concatenate([part[-HELD_OUT::6] for part in rows])
        sample = self._chosen(self.training[:: max(1, len(self.training) // 1500)]).reshape(-1, len(self.columns))
        self.mean, self.std = sample.mean(0), sample.std(0)
        self.constant = huber((sample - self.mean) / self.std).mean(0)
        weights = torch.tensor([WEIGHTS[name] for name in self.channels])
        self.weights = weights / weights.sum()
        self.sign = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in self.channels])
        self.looks = build_augmentation(SIZE, "strong", in_place=False)

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images `(B, 3, H, W)` and raw targets `(B, G, G, C)` of rows; with `rng`, augmented."""
        images = [read_image(self.files[row]) for row in rows]
        if rng is not None and self.looks is not None:
            images = [self.looks(image, rng)[0] for image in images]
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255).sub_(0.45).div_(0.25)
        t = self._chosen(rows)
        if rng is not None:
            x, t = self._move(x, t, rng)
        return x.contiguous(memory_format=torch.channels_last), t

    def _chosen(self, rows: np.ndarray) -> Tensor:
        """The chosen channels of some rows, `(B, G, G, C)`."""
        where = np.searchsorted(self.ends, rows, side="right")
        first = np.concatenate([[0], self.ends])[where]
        some = np.stack([self.targets[k][row] for k, row in zip(where, rows - first, strict=True)])
        return torch.from_numpy(some[..., self.columns].astype(np.float32))

    def _move(self, x: Tensor, t: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Flip the batch; rotate, scale and shift each image as the strong augmentation does, its targets with it.

        The movement of the skin is told in the head's own frame, which stays.
        """
        n = len(x)
        if rng.random() < 0.5:
            x, t = x.flip(3), t.flip(2) * self.sign
        angle = torch.from_numpy(rng.uniform(*np.deg2rad(Strong.rotation), n)).float()
        size = 1 / torch.from_numpy(rng.uniform(*Strong.scale, n)).float()
        where = torch.zeros(n, 2, 3)
        where[:, 0, 0] = where[:, 1, 1] = angle.cos() * size
        where[:, 1, 0], where[:, 0, 1] = angle.sin() * size, -angle.sin() * size
        where[:, :, 2] = torch.from_numpy(rng.uniform(-2 * Strong.shift, 2 * Strong.shift, (n, 2))).float()
        x = F.grid_sample(x, F.affine_grid(where, list(x.shape), False), padding_mode="border", align_corners=False)
        t = t.permute(0, 3, 1, 2)
        t = F.grid_sample(t, F.affine_grid(where, list(t.shape), False), align_corners=False)
        return x, t.permute(0, 2, 3, 1)

    def losses(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss per channel `(C,)`; 1 is a constant prediction."""
        return huber(prediction.float() - (target - self.mean) / self.std).mean((0, 1, 2)) / self.constant


def huber(error: Tensor) -> Tensor:
    """Smooth L1 with its knee at 1."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")


GRID, CELL = 7, 4  # tokens per side, target cells per token and side
CHECKPOINT_STEPS, EVALUATE_STEPS = 500, 1000
SEED = 0


class DenseModel(nn.Module):
    """The demo ViT with one linear decoder: images `(B, 3, 112, 112)` -> targets `(B, 28, 28, C)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vit = timm.create_model(DEMO_BACKBONE)
        for block in self.vit.blocks:  # the backward of torch's CPU flash attention takes 41 % of a step at 49 tokens
            block.attn.fused_attn = False
        self.channels = channels
        self.decoder = nn.Linear(self.vit.embed_dim, CELL * CELL * channels)

    def forward(self, images: Tensor) -> Tensor:
        """Predict the standardised targets."""
        z = self.decoder(self.vit.forward_features(images)).view(-1, GRID, GRID, CELL, CELL, self.channels)
        return z.permute(0, 1, 3, 2, 4, 5).reshape(-1, GRID * CELL, GRID * CELL, self.channels)


@torch.no_grad()
def evaluate(net: DenseModel, data: Data) -> Tensor:
    """Held-out loss per channel `(C,)`."""
    net.eval()
    parts = []
    for i in range(0, len(data.held_out), 100):
        x, t = data.batch(data.held_out[i : i + 100])
        parts.append(data.losses(net(x), t))
    net.train()
    return torch.stack(parts).mean(0)


def average(tensors: list[Tensor], world: int) -> None:
    """Replace the tensors by their mean over processes."""
    if world == 1:
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    for t, mean in zip(tensors, (flat / world).split([t.numel() for t in tensors]), strict=True):
        t.copy_(mean.view_as(t))


def save(
    net: DenseModel, optimiser: torch.optim.Optimizer, channels: list[str], step: int, seconds: float, folder: Path
) -> None:
    state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "channels": channels}
    with atomic_path(folder / "pretrain.ckpt") as temporary:
        torch.save({**state, "step": step, "seconds": seconds}, temporary)
    weights = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in net.vit.state_dict().items()}
    with atomic_path(folder / "demo_backbone.safetensors") as temporary:
        save_file(weights, temporary)


def resume(net: DenseModel, optimiser: torch.optim.Optimizer, folder: Path, start: Path | None) -> tuple[int, float]:
    """Continue from the checkpoint of the folder where there is one: steps done, seconds spent."""
    if not (folder / "pretrain.ckpt").exists():
        if start is not None:
            net.vit.load_state_dict({name: value.float() for name, value in load_file(start).items()}, strict=True)
        return 0, 0.0
    state = torch.load(folder / "pretrain.ckpt", weights_only=True)
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["seconds"]


def check(options: argparse.Namespace) -> None:
    """Refuse channels that are not there, and a folder that was begun with others.

    Raises:
        SystemExit: So it is.
    """
    known = json.loads((options.data[0] / "meta.json").read_text(encoding="utf-8"))["channels"]
    chosen = [name for name in known if name in (options.channels or known)]
    odd = sorted(set(options.channels or known) - set(known))
    if odd:
        raise SystemExit(f"Expected --channels among {' '.join(known)}, but got {' '.join(odd)}")
    if (options.out / "pretrain.ckpt").exists():
        begun = torch.load(options.out / "pretrain.ckpt", weights_only=True, mmap=True).get("channels", list(WEIGHTS))
        if begun != chosen:
            told = f"holds a training on the channels {' '.join(begun)}"
            raise SystemExit(f"{options.out} {told}: choose another --out, or the same channels")


@fast_and_restored()
def train(rank: int, options: argparse.Namespace) -> None:
    """One process of the training."""
    if options.processes > 1 and hasattr(os, "sched_setaffinity"):  # a scheduler may leave both on one core for long
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(rank * options.threads + i) % len(cores)] for i in range(options.threads)})
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    world, data = options.processes, Data(options.data, options.channels)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=rank, world_size=world)
    net = DenseModel(len(data.channels)).to(memory_format=torch.channels_last)
    matrices, vectors = ([p for p in net.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=True)
    share, steps, start = options.batch // world, options.images // options.batch, time.time()
    first, before = resume(net, optimiser, options.out, options.start)
    statistics = [b for b in net.buffers() if b.is_floating_point()]
    for step in range(first, steps):
        rng = np.random.default_rng([SEED, step, rank])
        rows = rows_of(step, options.batch, len(data.training))[rank * share : (rank + 1) * share]
        for group in optimiser.param_groups:
            group["lr"] = options.lr * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        images, target = data.batch(data.training[np.sort(rows)], rng)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = net(images)
        loss = (data.losses(prediction, target) * data.weights).sum()
        optimiser.zero_grad()
        loss.backward()
        average([p.grad for p in net.parameters()], world)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        done = step + 1
        if done % CHECKPOINT_STEPS and done != steps:
            continue
        with torch.no_grad():
            average(statistics, world)
        if rank == 0:
            seconds = before + time.time() - start
            save(net, optimiser, data.channels, done, seconds, options.out)
            if done % EVALUATE_STEPS == 0 or done == steps:
                report(evaluate(net, data), data, done * options.batch, seconds, options.out)


def rows_of(step: int, batch: int, count: int) -> np.ndarray:
    """The rows of one step: passes over the set, each in an order of its own."""
    per_pass = count // batch
    order = np.random.default_rng([SEED, 7, step // per_pass]).permutation(count)
    at = step % per_pass * batch
    return order[at : at + batch]


def report(losses: Tensor, data: Data, images: int, seconds: float, folder: Path) -> None:
    """Print and append one line of held-out losses."""
    line = {"images": images, "seconds": round(seconds), "held_out": round((losses * data.weights).sum().item(), 4)}
    line |= {name: round(v, 3) for name, v in zip(data.channels, losses.tolist(), strict=True)}
    with (folder / "pretrain.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__, out=None)
    add = parser.add_argument
    add("data", type=Path, nargs="+", help="folders written by pretrain_data; the first is the default of --out")
    add("--start", type=Path, help="weights to begin with, as this script writes them (default: random)")
    add("--channels", nargs="+", metavar="CHANNEL", help="targets to learn; default: all that the data has")
    add("--images", type=int, default=800_000, help="training images to see, over all passes (default: %(default)s)")
    add("--batch", type=int, default=64, help="over all processes (default: %(default)s)")
    add("--lr", type=float, default=1e-3, help="learning rate (default: %(default)s)")
    add("--processes", type=int, default=2, help="default: %(default)s")
    add("--threads", type=int, default=1, help="per process (default: %(default)s)")
    add("--port", type=int, default=29600, help="where processes meet (default: %(default)s)")
    options = parser.parse_args(argv)
    options.out = options.out or options.data[0]
    check(options)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.processes > 1:
        torch.multiprocessing.spawn(train, args=(options,), nprocs=options.processes)
    else:
        train(0, options)


if __name__ == "__main__":
    main()

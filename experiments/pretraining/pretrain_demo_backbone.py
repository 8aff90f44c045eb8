"""Pre-train the demo backbone on dense face geometry, without AU labels.

    python -m experiments.pretraining.pretrain_data --out runs/pretrain
    python -m experiments.pretraining.pretrain_demo_backbone runs/pretrain --images 800000 --processes 2

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
from pathlib import Path

import numpy as np
import timm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from auformer.files import atomic_path
from auformer.models.demo_vit import DEMO_BACKBONE
from experiments.harness import new_parser

# Weights of the channels [ours]: lids, lips and movement decide about AUs; furrows are the hardest to see.
WEIGHTS = {
    "face": 0.3, "hair": 0.3, "brow": 1.5, "eye": 1.5, "iris": 0.7, "upper_lip": 2.0, "lower_lip": 2.0, "opening": 1.0,
    "teeth": 0.5, "template_x": 0.5, "template_y": 0.5, "move_x": 3.0, "move_y": 3.0, "bulge": 2.5, "furrow": 3.0,
}  # fmt: skip
MIRRORED = ("template_x", "move_x")  # channels whose sign changes when the image is flipped
HELD_OUT = 3000  # images of the last identities


class Data:
    """Memory-mapped images and targets of `pretrain_data`, standardisation, and the loss of a constant prediction.

    Args:
        folder: With both.
        channels: Targets to learn; None: all that are there.
    """

    def __init__(self, folder: Path, channels: list[str] | None = None) -> None:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        n, size, cells, c = meta["images"], meta["size"], meta["cells"], len(meta["channels"])
        self.channels: list[str] = [name for name in meta["channels"] if channels is None or name in channels]
        self.columns = [meta["channels"].index(name) for name in self.channels]
        self.images = np.memmap(folder / "images.u8", np.uint8, "r", shape=(n, size, size, 3))
        self.targets = np.memmap(folder / "targets.f16", np.float16, "r", shape=(n, cells, cells, c))
        self.num_training = n - HELD_OUT
        self.held_out = np.arange(self.num_training, n)[::6]
        sample = self._chosen(slice(0, self.num_training, max(1, n // 1500))).reshape(-1, len(self.columns))
        self.mean, self.std = sample.mean(0), sample.std(0)
        self.constant = huber((sample - self.mean) / self.std).mean(0)
        weights = torch.tensor([WEIGHTS[name] for name in self.channels])
        self.weights = weights / weights.sum()
        self.sign = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in self.channels])

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images `(B, 3, H, W)` and raw targets `(B, G, G, C)` of sorted rows; with `rng`, augmented."""
        x = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2).float().div_(255).sub_(0.45).div_(0.25)
        t = self._chosen(rows)
        if rng is not None:
            x, t = self._augment(x, t, rng)
        return x.contiguous(memory_format=torch.channels_last), t

    def _chosen(self, rows: np.ndarray | slice) -> Tensor:
        """The chosen channels of some rows, `(B, G, G, C)`; the rows first, since choosing channels copies."""
        some = self.targets[rows]
        some = some if len(self.columns) == some.shape[-1] else some[..., self.columns]
        return torch.from_numpy(some.astype(np.float32))

    def _augment(self, x: Tensor, t: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Flip, gain, offset, colour cast; a quarter blurred, a quarter noisy, an eighth grey."""

        def normal(sd: float, *shape: int) -> Tensor:
            return torch.from_numpy(rng.normal(0, sd, shape)).float()

        n = len(x)
        if rng.random() < 0.5:
            x, t = x.flip(3), t.flip(2) * self.sign
        x = x * normal(0.2, n, 1, 1, 1).exp() + normal(0.15, n, 1, 1, 1) + normal(0.08, n, 3, 1, 1)
        order, k = torch.from_numpy(rng.permutation(n)), n // 4
        x[order[:k]] = F.avg_pool2d(x[order[:k]], 3, 1, 1)
        x[order[k : 2 * k]] += torch.from_numpy(rng.standard_normal((k, *x.shape[1:]), np.float32)) * 0.08
        grey = order[2 * k : 2 * k + k // 2]
        x[grey] = x[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
        return x, t

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


def resume(net: DenseModel, optimiser: torch.optim.Optimizer, folder: Path) -> tuple[int, float]:
    """Continue from the checkpoint of the folder where there is one: steps done, seconds spent."""
    if not (folder / "pretrain.ckpt").exists():
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
    known = json.loads((options.data / "meta.json").read_text(encoding="utf-8"))["channels"]
    chosen = [name for name in known if name in (options.channels or known)]
    odd = sorted(set(options.channels or known) - set(known))
    if odd:
        raise SystemExit(f"Expected --channels among {' '.join(known)}, but got {' '.join(odd)}")
    if (options.out / "pretrain.ckpt").exists():
        begun = torch.load(options.out / "pretrain.ckpt", weights_only=True, mmap=True).get("channels", list(WEIGHTS))
        if begun != chosen:
            told = f"holds a training on the channels {' '.join(begun)}"
            raise SystemExit(f"{options.out} {told}: choose another --out, or the same channels")


def train(rank: int, options: argparse.Namespace) -> None:
    """One process of the training."""
    if options.processes > 1 and hasattr(os, "sched_setaffinity"):  # a scheduler may leave both on one core for long
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(rank * options.threads + i) % len(cores)] for i in range(options.threads)})
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(SEED)
    world, data = options.processes, Data(options.data, options.channels)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=rank, world_size=world)
    net = DenseModel(len(data.channels)).to(memory_format=torch.channels_last)
    matrices, vectors = ([p for p in net.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=True)
    share, steps, start = options.batch // world, options.images // options.batch, time.time()
    first, before = resume(net, optimiser, options.out)
    statistics = [b for b in net.buffers() if b.is_floating_point()]
    for step in range(first, steps):
        rng = np.random.default_rng([SEED, step, rank])
        rows = rows_of(step, options.batch, data.num_training)[rank * share : (rank + 1) * share]
        for group in optimiser.param_groups:
            group["lr"] = options.lr * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        images, target = data.batch(np.sort(rows), rng)
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
    add("data", type=Path, help="folder written by pretrain_data, the default of --out")
    add("--channels", nargs="+", metavar="CHANNEL", help="targets to learn; default: all that the data has")
    add("--images", type=int, default=800_000, help="training images to see, over all passes (default: %(default)s)")
    add("--batch", type=int, default=64, help="over all processes (default: %(default)s)")
    add("--lr", type=float, default=1e-3, help="learning rate (default: %(default)s)")
    add("--processes", type=int, default=2, help="default: %(default)s")
    add("--threads", type=int, default=1, help="per process (default: %(default)s)")
    add("--port", type=int, default=29600, help="where processes meet (default: %(default)s)")
    options = parser.parse_args(argv)
    options.out = options.out or options.data
    check(options)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.processes > 1:
        torch.multiprocessing.spawn(train, args=(options,), nprocs=options.processes)
    else:
        train(0, options)


if __name__ == "__main__":
    main()

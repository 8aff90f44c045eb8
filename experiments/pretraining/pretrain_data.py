"""Render the pre-training set of the demo backbone: faces with dense geometric targets, without AU labels.

    python -m experiments.pretraining.pretrain_data --out runs/pretrain --identities 1000 --per-identity 150 --workers 2

Writes `images.u8` `(n, 112, 112, 3)` and `targets.f16` `(n, 28, 28, 15)` with `meta.json`; 150,000 images take 9 GB.
The identities are numbered from 100,000 on: no demo, test or AU detector uses those.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from auformer.files import read_json, write_json
from auformer.pool import run_tasks
from auformer.synthetic import AU_NAMES, CHANNELS, Identity, Renderer, sample_aus, sample_scene
from auformer.synthetic.pairs import choose, silenced
from experiments.harness import new_parser

SIZE, CELLS, FIRST_IDENTITY = 112, 28, 100_000
POSE_SCALE = 1.15  # a little more pose than any evaluation set
LAB_A_SHARE = 0.55


def sample_expression(rng: np.random.Generator) -> np.ndarray:
    """Intensities `(N, 2)`: 40 % as in lab A, 15 % as in lab B, 35 % one to five independent muscles, 10 % neutral."""
    u = rng.random()
    if u < 0.55:
        return sample_aus(rng, "A" if u < 0.40 else "B")[1]
    a = np.zeros((len(AU_NAMES), 2), np.float32)
    if u >= 0.90:
        return a
    chosen = rng.choice(len(AU_NAMES), int(rng.integers(1, 6)), replace=False)
    a[chosen] = rng.uniform(0.1, 1, (len(chosen), 1))
    a *= np.where(rng.random(a.shape) < 0.15, rng.uniform(0.2, 1, a.shape), 1)  # some one-sided
    on = choose(a.max(1) > 0.05, a.max(1))
    a[~on | silenced(on)] = 0
    parted, jaws = AU_NAMES.index("AU25"), [AU_NAMES.index("AU26"), AU_NAMES.index("AU27")]
    if on[jaws].any() and not on[AU_NAMES.index("AU28")] and rng.random() < 0.8:
        a[parted] = np.maximum(a[parted], rng.uniform(0.3, 1))
    return a


def open_set(out: Path, total: int, mode: str) -> tuple[np.memmap, np.memmap]:
    """Images and targets of a set, mapped into memory."""
    images = np.memmap(out / "images.u8", np.uint8, mode, shape=(total, SIZE, SIZE, 3))
    return images, np.memmap(out / "targets.f16", np.float16, mode, shape=(total, CELLS, CELLS, len(CHANNELS)))


def render_identity(job: tuple[int, int, int, int, str]) -> None:
    """Render all images of one subject into its slice of the two files."""
    number, first, count, total, out = job
    images, targets = open_set(Path(out), total, "r+")
    renderer, rng = Renderer(SIZE), np.random.default_rng([555, number])
    face = renderer.bake(Identity.sample(number))
    for i in range(first, first + count):
        scene, wall = sample_scene(rng, "A" if rng.random() < LAB_A_SHARE else "B", pose_scale=POSE_SCALE)
        intensity, seed = sample_expression(rng), number * 1000 + i - first
        background = renderer.background(rng, **wall)
        drawn = renderer.render(face, intensity, scene=scene, background=background, seed=seed, dense=CELLS)
        images[i], targets[i] = drawn.image, drawn.dense


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__, out=Path("runs/pretrain"))
    parser.add_argument("--identities", type=int, default=1000, help="faces (default: %(default)s)")
    parser.add_argument("--per-identity", type=int, default=150, help="images of each (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args(argv)
    n, start = args.per_identity, time.time()
    total = args.identities * n
    meta = {"images": total, "size": SIZE, "cells": CELLS, "channels": list(CHANNELS), "identities": args.identities}
    if (known := read_json(args.out / "meta.json")) is not None:
        if known["images"] != total:
            raise SystemExit(f"{args.out} holds another set: choose another --out")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    open_set(args.out, total, "w+")
    jobs = [(FIRST_IDENTITY + i, i * n, n, total, str(args.out)) for i in range(args.identities)]
    done = run_tasks(render_identity, jobs, workers=args.workers, threads=1)
    for _ in tqdm(done, total=len(jobs), unit="identity", mininterval=10):
        pass
    write_json(args.out / "meta.json", {**meta, "first": FIRST_IDENTITY, "seconds": round(time.time() - start)})


if __name__ == "__main__":
    main()

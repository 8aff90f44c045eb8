"""Render the pre-training set of the demo backbone: faces with dense geometric targets, without AU labels.

    python experiments/pretrain_data.py --out runs/pretrain --identities 1000 --per-identity 150 --workers 2

writes `images.u8` `(n, 112, 112, 3)` and `targets.f16` `(n, 28, 28, 15)` with `meta.json`; 150,000 images take 9 GB. The identities are
numbered from 100,000 on: no demo, test or detector uses those.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from auformer.synthetic import AU_NAMES, CHANNELS, Identity, Renderer, sample_aus, sample_scene

SIZE, CELLS, FIRST_IDENTITY = 112, 28, 100_000
POSE_SCALE = 1.15  # a little more pose than any evaluation set
LAB_A_SHARE = 0.55


def sample_expression(rng: np.random.Generator) -> np.ndarray:
    """Intensities `(17, 2)`: 40 % as in lab A, 15 % as in lab B, 35 % one to five independent muscles, 10 % neutral."""
    u = rng.random()
    if u < 0.55:
        return sample_aus(rng, "A" if u < 0.40 else "B")[1]
    a = np.zeros((len(AU_NAMES), 2), np.float32)
    if u >= 0.90:
        return a
    chosen = rng.choice(len(AU_NAMES), int(rng.integers(1, 6)), replace=False)
    a[chosen] = rng.uniform(0.1, 1, (len(chosen), 1))
    a *= np.where(rng.random(a.shape) < 0.15, rng.uniform(0.2, 1, a.shape), 1)  # some one-sided
    pressed, parted, jaw = (AU_NAMES.index(name) for name in ("AU24", "AU25", "AU26"))
    if a[pressed].max() > 0.05:
        a[parted] = a[jaw] = 0
    if a[jaw].max() > 0.05 and rng.random() < 0.8:
        a[parted] = np.maximum(a[parted], rng.uniform(0.3, 1))
    return a


def render_identity(job: tuple[int, int, int, int, str]) -> int:
    """Render all pictures of one subject into its slice of the two files."""
    number, first, count, total, out = job
    cv2.setNumThreads(1)
    images = np.memmap(f"{out}/images.u8", np.uint8, "r+", shape=(total, SIZE, SIZE, 3))
    targets = np.memmap(f"{out}/targets.f16", np.float16, "r+", shape=(total, CELLS, CELLS, len(CHANNELS)))
    renderer, rng = Renderer(SIZE), np.random.default_rng([555, number])
    face = renderer.bake(Identity.sample(number))
    for i in range(count):
        scene, wall = sample_scene(rng, "A" if rng.random() < LAB_A_SHARE else "B", pose_scale=POSE_SCALE)
        picture = renderer.render(
            face,
            sample_expression(rng),
            scene=scene,
            background=renderer.background(rng, **wall),
            seed=number * 1000 + i,
            dense=CELLS,
        )
        images[first + i], targets[first + i] = picture.image, picture.dense
    return count


def main(args: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"))
    parser.add_argument("--identities", type=int, default=1000)
    parser.add_argument("--per-identity", type=int, default=150)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(args)
    total, start = options.identities * options.per_identity, time.time()
    meta = {"images": total, "size": SIZE, "cells": CELLS, "channels": list(CHANNELS)}
    meta |= {"identities": options.identities, "first": FIRST_IDENTITY}
    if (options.out / "meta.json").exists():
        if json.loads((options.out / "meta.json").read_text(encoding="utf-8"))["images"] != total:
            raise SystemExit(f"{options.out} holds another set: choose another --out")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    np.memmap(options.out / "images.u8", np.uint8, "w+", shape=(total, SIZE, SIZE, 3))
    np.memmap(options.out / "targets.f16", np.float16, "w+", shape=(total, CELLS, CELLS, len(CHANNELS)))
    n = options.per_identity
    jobs = [(FIRST_IDENTITY + i, i * n, n, total, str(options.out)) for i in range(options.identities)]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for _ in tqdm(pool.imap_unordered(render_identity, jobs), total=len(jobs), unit="identity", mininterval=10):
            pass
    meta["seconds"] = round(time.time() - start)
    (options.out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

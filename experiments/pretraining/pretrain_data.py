"""Render the pre-training set of the demo backbone: faces with dense geometric targets, and a manifest of their labels.

    python -m experiments.pretraining.pretrain_data --out runs/drawn --identities 1500 --per-identity 60 --workers 2
    python -m experiments.pretraining.pretrain_data --out runs/scanned --facekit ict.npz --identities 1500

Writes `images/` (JPEG), `targets.f16` `(n, 28, 28, 15)` in the manifest's order, `manifest.csv` with the labels of the
same faces, which the pre-training never reads, and `meta.json`. With `--facekit` the faces are those of the second
renderer. The identities are numbered from 100,000 (drawn) and 700,000 (scanned) on: no demo or test uses those. The
same call resumes an interrupted run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from auformer.files import atomic_path, read_json, write_json
from auformer.pool import run_tasks
from auformer.synthetic import AU_NAMES, CHANNELS, Identity, Renderer, sample_scene
from auformer.synthetic.labels import label_columns
from auformer.synthetic.scanned import Person, ScannedRenderer, read_facekit, sample_expression
from auformer.synthetic.scanned import sample_scene as sample_photograph
from auformer.synthetic.subject import encode, groups
from experiments.harness import new_parser

SIZE, CELLS = 112, 28
FIRST = {"drawn": 100_000, "scanned": 700_000}
POSE_SCALE = 1.15  # a little more pose than any evaluation set
LAB_A_SHARE = 0.55


def open_targets(out: Path, total: int, mode: str) -> np.memmap:
    """Targets of a set, mapped into memory."""
    return np.memmap(out / "targets.f16", np.float16, mode, shape=(total, CELLS, CELLS, len(CHANNELS)))


class Drawn:
    """Faces of the first renderer, in the scenes of both labs."""

    def __init__(self, number: int) -> None:
        self.renderer, self.identity = Renderer(SIZE), Identity.sample(number)
        self.face = self.renderer.bake(self.identity)

    def scene(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
        """Scene and background settings of one image."""
        return sample_scene(rng, "A" if rng.random() < LAB_A_SHARE else "B", pose_scale=POSE_SCALE)


class Scanned:
    """Faces of the second renderer, in the scenes of photographs."""

    def __init__(self, number: int, renderer: ScannedRenderer) -> None:
        person = Person.sample(number)
        self.renderer, self.identity, self.face = renderer, person.identity, renderer.bake(person)

    def scene(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
        """Scene and background settings of one image."""
        return sample_photograph(rng, pose_scale=POSE_SCALE)


_SCANNED: dict[str, ScannedRenderer] = {}  # one a process: it compiles and owns scratch memory


def _source(number: int, facekit: str) -> Any:
    if not facekit:
        return Drawn(number)
    if facekit not in _SCANNED:
        _SCANNED[facekit] = ScannedRenderer(read_facekit(facekit), SIZE)
    return Scanned(number, _SCANNED[facekit])


def render_identity(job: tuple[int, int, int, int, str, str]) -> None:
    """Render all images of one subject: its files, its slice of the targets, its part of the manifest."""
    number, first, count, total, out, facekit = job
    folder, part = Path(out) / "images" / str(number), Path(out) / "parts" / f"{number}.csv"
    if part.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    targets, rng = open_targets(Path(out), total, "r+"), np.random.default_rng([555, number])
    source, lab = _source(number, facekit), "A" if rng.random() < LAB_A_SHARE else "B"
    intensities = np.empty((count, len(AU_NAMES), 2), np.float32)
    for i in range(count):
        scene, wall = source.scene(rng)
        intensities[i], _ = sample_expression(rng, lab)
        background = source.renderer.background(rng, **wall)
        seed = number * 1000 + i
        drawn = source.renderer.render(
            source.face, intensities[i], scene=scene, background=background, seed=seed, dense=CELLS
        )
        (folder / f"{i:04d}.jpg").write_bytes(encode(drawn.image))
        targets[first + i] = drawn.dense
    targets.flush()
    table = {
        "dataset": f"pretrain_lab_{lab.lower()}", "subject": str(number), "sequence": "stills",
        "frame": np.arange(count), "face": 0, "image": [f"images/{number}/{i:04d}.jpg" for i in range(count)],
        **label_columns(intensities, AU_NAMES, lab), **groups(source.identity),
    }  # fmt: skip
    part.parent.mkdir(exist_ok=True)
    with atomic_path(part) as temporary:
        pd.DataFrame(table).to_csv(temporary, index=False)


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__, out=Path("runs/drawn"))
    parser.add_argument("--facekit", type=Path, help="ICT-FaceKit, for scanned faces (default: drawn faces)")
    parser.add_argument("--identities", type=int, default=1500, help="faces (default: %(default)s)")
    parser.add_argument("--per-identity", type=int, default=40, help="images of each (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args(argv)
    n, start, out = args.per_identity, time.time(), args.out
    total, facekit = args.identities * n, str(args.facekit or "")
    first = FIRST["scanned" if facekit else "drawn"]
    meta = {"images": total, "size": SIZE, "cells": CELLS, "channels": list(CHANNELS), "first": first}
    known = read_json(out / "meta.json")
    if known is not None and {**known, **meta} != known:
        raise SystemExit(f"{out} holds another set: choose another --out")
    if known is not None and "seconds" in known:
        return
    out.mkdir(parents=True, exist_ok=True)
    if known is None:
        open_targets(out, total, "w+")
        write_json(out / "meta.json", meta)
    jobs = [(first + i, i * n, n, total, str(out), facekit) for i in range(args.identities)]
    done = run_tasks(render_identity, jobs, workers=args.workers, threads=1)
    for _ in tqdm(done, total=len(jobs), unit="identity", mininterval=10):
        pass
    parts = [pd.read_csv(out / "parts" / f"{first + i}.csv") for i in range(args.identities)]
    with atomic_path(out / "manifest.csv") as temporary:
        pd.concat(parts).to_csv(temporary, index=False)
    write_json(out / "meta.json", {**meta, "seconds": round(time.time() - start)})


if __name__ == "__main__":
    main()

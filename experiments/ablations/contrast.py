"""AUNCE's contrast beside training by labels, at three levels of label noise, on rendered faces of unseen subjects.

    python -m experiments.ablations.contrast --folder runs/contrast

The encoder of AUNCE on the frozen demo backbone (`ViTAUNCE`): trained by contrast in both forms of the loss and then
probed, and, at once with its linear map, by the WA and by the MDWA loss; at flipped training labels with probability 0,
.1 and .2. Every training goes through `auformer.training.fit` and resumes; a line of `contrast_runs.jsonl` per row,
noise and seed.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auformer.aus import AU_SETS
from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import read_manifest
from auformer.models import load_adapter
from auformer.models.contrastive import AUFormerContrast, ViTAUNCE
from auformer.predict.manifest import predict_manifest
from auformer.synthetic.writing import render_dataset
from auformer.training import fit
from auformer.training.contrast import AUNCEModule
from auformer.training.module import AUModule
from experiments.ablations.clip_rows import by_subject, scores
from experiments.ablations.clips import read_lines
from experiments.harness import circumstances, new_parser

BACKBONE, SIZE = "vit_auformer_demo_112", 112
AUS = list(AU_SETS["bp4d"])
FIRST, SUBJECTS, FRAMES = {"train": 45_000, "test": 45_100}, {"train": 40, "test": 20}, {"train": 50, "test": 50}
NOISES, SEEDS = (0.0, 0.1, 0.2), (0, 1, 2)
EPOCHS, PROBE_EPOCHS, BATCH = 20, 20, 32  # 2,000 images, 20 epochs, two views: the design's section 6
LR, PROBE_LR = 2e-3, 1e-2  # [ours] of the encoder; of the map on features of length 1
#: Row: how the encoder is trained.
ROWS: dict[str, dict[str, Any]] = {
    "contrast_released": {"form": "released"},
    "contrast_corrected": {"form": "corrected"},
    "contrast_memory": {"form": "corrected", "memory": 256},
    "experts_corrected": {"form": "corrected", "network": AUFormerContrast},
    "wa": {"loss": "wa"},
    "mdwa": {"loss": "mdwa"},
}


def render(folder: Path) -> dict[str, Path]:
    """The manifests that are trained and tested on; one that is there stays, also of an earlier renderer."""
    found = {part: folder / f"stills-{part}" / "manifest.csv" for part in FIRST}
    for part, path in found.items():
        if not path.is_file():
            render_dataset(
                path.parent, lab="A", subjects=SUBJECTS[part], frames=FRAMES[part], au_names="bp4d",
                first_subject=FIRST[part], size=SIZE, progress=True,
            )  # fmt: skip
    return found


def train(row: str, noise: float, seed: int, folder: Path, manifest: Path) -> tuple[Path, Any]:
    """One row: the adapter file and its network."""
    options = dict(ROWS[row])
    kind = options.pop("network", ViTAUNCE)
    network = partial(kind, backbone=BACKBONE, pretrained=True, **({} if kind is ViTAUNCE else {"expert_width": 8}))
    shared: dict[str, Any] = {
        "au_names": AUS, "val_fraction": 0.0, "label_noise": noise, "image_size": SIZE, "batch_size": BATCH,
        "seed": seed,
    }  # fmt: skip
    out, running = folder / f"{row}-{noise:g}-{seed}", {"seed": seed, "select": "last", "progress": False}
    data = AUDataModule(str(manifest), augment="aunce", views=1 if "loss" in options else 2, **shared)
    torch.manual_seed(seed)
    if "loss" in options:
        module = AUModule(network, data.au_names, data.au_weights, lr=LR, dice_weight=0.0, **options)
        return fit(module, data, out, epochs=EPOCHS, **running), module.network
    first = AUNCEModule(network, data.au_names, data.au_weights, lr=LR, seed=seed, **options)
    adapter = fit(first, data, out, epochs=EPOCHS, **running)
    plain = AUDataModule(str(manifest), augment="none", **shared)
    probe = AUNCEModule(network, data.au_names, data.au_weights, stage="probe", start=str(adapter), lr=PROBE_LR)
    return fit(probe, plain, out.with_name(f"{out.name}-probe"), epochs=PROBE_EPOCHS, **running), probe.network


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where data and trainings lie")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N")
    parser.add_argument("--noises", nargs="+", type=float, default=list(NOISES), metavar="P")
    parser.add_argument("--lines", type=Path, default=Path("experiments/results/contrast_runs.jsonl"), metavar="FILE")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    manifests = render(args.folder)
    table = read_manifest(manifests["test"])
    done = {(line["row"], line["noise"], line["seed"]) for line in read_lines(args.lines)}
    cells = [(row, noise, seed) for seed in args.seeds for noise in args.noises for row in args.only]
    for row, noise, seed in cells:
        if (row, noise, seed) in done:
            continue
        adapter, network = train(row, noise, seed, args.folder, manifests["train"])
        load_adapter(adapter, network)
        found = predict_manifest(network.eval(), table)
        target, prob = table[AUS].to_numpy(np.int64), found[[f"{au}_prob" for au in AUS]].to_numpy()
        line = {"row": row, "noise": noise, "seed": seed, **scores(target, prob)}
        line |= {"counts": by_subject(table, target, prob), "circumstances": circumstances()}
        with args.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{row}, noise {noise:g}, seed {seed}: F1 {line['f1']:.4f}, AUROC {line['auroc']:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

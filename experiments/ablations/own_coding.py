"""What a few hundred coded pictures of one's own are worth: training that begins with the packaged AU detector.

    python -m experiments.ablations.own_coding --facekit ict.npz

Scanned faces coded as lab B codes (present from FACS level B) stand in for a user's own study: 50, 200 or 800 of them
from 10, 20 and 40 subjects, scored on 800 pictures of 40 others. Compared are the packaged AU detector as it is, at
thresholds tuned on the coded pictures; its training continued (`start: demo`); and the same network from random
experts. Each run is a line of `own_coding.jsonl`; the same call continues.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import read_manifest
from auformer.demo.run import BATCH
from auformer.models import AUFormer, load_detector
from auformer.predict.manifest import predict_manifest
from auformer.scoring.scores import score_predictions
from auformer.scoring.tables import Table
from auformer.synthetic.writing import render_dataset
from auformer.training import fit
from auformer.training.module import AUModule
from experiments.harness import circumstances, new_parser, write_result
from experiments.pretraining.train_demo_detector import SCANNED

SIZES = {50: 10, 200: 20, 800: 40}  # coded pictures: subjects
STEPS = 400  # of each training
FIRST, TESTED = 40_000, (40, 20)  # subjects that nothing else uses; subjects and pictures of each to test on
AUS = "1,4,6,7,10,12,25,26"  # those that 50 pictures show
RATE, RATE_ANEW = 1e-3, 5e-3  # a training that continues needs smaller steps [ours]


def render(folder: Path, facekit: Path) -> tuple[dict[int, Path], Path]:
    """Manifests of the coded pictures by their number, and of those to test on."""

    def lab(name: str, first: int, subjects: int, frames: int) -> Path:
        return render_dataset(
            folder / name, lab="B", subjects=subjects, frames=frames, au_names="all", first_subject=first,
            geometry="scanned", facekit=facekit, workers=1, progress=True,
        )  # fmt: skip

    coded = {
        count: lab(f"coded_{count}", FIRST + count, subjects, count // subjects) for count, subjects in SIZES.items()
    }
    return coded, lab("tested", FIRST + 2_000, *TESTED)


def adapt(folder: Path, manifest: Path, start: str | None, count: int, seed: int) -> Path:
    """The adapter file of a training on coded pictures, a fifth of the subjects held out for the epoch."""
    data = AUDataModule(str(manifest), au_names=AUS, batch_size=BATCH, seed=seed, augment="strong")
    torch.manual_seed(seed)
    network = partial(
        AUFormer, backbone=SCANNED, pretrained=True, intensity="ordinal", expert_width=4, average_heads=True
    )
    rate = RATE_ANEW if start is None else RATE
    module = AUModule(network, data.au_names, data.au_weights, lr=rate, intensity_weight=2.0, start=start)
    epochs = max(1, round(STEPS * BATCH / (0.8 * count)))
    every = max(1, epochs // 8)
    return fit(module, data, folder, epochs=epochs, seed=seed, validate_every=every, tune=True, progress=False)


def scored(adapter: str | Path, tested: Path, aus: list[str], tune_on: Path | None = None) -> dict[str, float]:
    """Mean F1 at the thresholds of the file, or at those best on some pictures, and mean AUROC."""
    network = load_detector(adapter)
    thresholds = dict(network.thresholds)
    if tune_on is not None:
        known = predict_manifest(network, read_manifest(tune_on))
        thresholds |= {au: best(known[f"{au}_true"].to_numpy(), known[f"{au}_prob"].to_numpy()) for au in aus}
    table = predict_manifest(network, read_manifest(tested))
    keep = [column for column in table if not column.startswith("AU") or column.split("_")[0] in aus]
    table = table[keep].copy()
    auroc = score_predictions(table)["mean"]["auroc"]
    for au in aus:
        table[f"{au}_prob"] = (table[f"{au}_prob"] >= thresholds[au]).astype(float)
    return {"f1": score_predictions(table)["mean"]["f1"], "auroc": auroc}


def best(truth: np.ndarray, probs: np.ndarray) -> float:
    """The threshold with the highest F1 among 0.05 to 0.95."""
    grid = np.linspace(0.05, 0.95, 19)
    hits = [2 * ((probs >= t) & (truth == 1)).sum() / max(1, (probs >= t).sum() + (truth == 1).sum()) for t in grid]
    return float(grid[int(np.argmax(hits))])


def page(lines: list[dict[str, Any]]) -> str:
    """A row per way and number of pictures: mean over seeds."""
    table = pd.DataFrame(lines)
    rows = []
    for (count, way), some in table.groupby(["pictures", "way"], sort=True):
        spread = [f"{100 * some[key].mean():.1f} ± {100 * some[key].std(ddof=0):.1f}" for key in ("f1", "auroc")]
        rows.append([str(count), str(way), *spread, str(len(some))])
    return Table(["coded pictures", "way", "F1", "AUROC", "seeds"], rows).markdown()


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--facekit", type=Path, required=True, help="ICT-FaceKit")
    parser.add_argument("--folder", type=Path, default=Path("runs/own_coding"), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    coded, tested = render(args.folder, args.facekit)
    log = args.folder / "own_coding.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    aus = [f"AU{number}" for number in AUS.split(",")]
    for seed in args.seeds:
        for count, manifest in coded.items():
            for way in ("as it is", "continued", "anew"):
                if any((line["seed"], line["pictures"], line["way"]) == (seed, count, way) for line in lines):
                    continue
                if way == "as it is":
                    result = scored("demo", tested, aus, tune_on=manifest)
                else:
                    start = "demo" if way == "continued" else None
                    run = adapt(args.folder / f"{way}_{count}_{seed}", manifest, start, count, seed)
                    result = scored(run, tested, aus)
                lines.append({"seed": seed, "pictures": count, "way": way, **result})
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                print(lines[-1], flush=True)
    print(page(lines))
    write_result(args.out, "own_coding", {**circumstances(), "runs": lines}, None)


if __name__ == "__main__":
    main()

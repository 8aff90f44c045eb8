"""Train the packaged AU detector: adapters for all rendered AUs on the backbone that has seen both renderers.

    python -m experiments.pretraining.train_demo_detector --folder runs/first --epochs 1 --threads 1 \
        --more runs/drawn/first.csv runs/scanned/first.csv
    python -m experiments.pretraining.train_demo_detector --folder runs/second --epochs 1 --threads 1 --start demo \
        --more-subjects 250 --more runs/drawn/last.csv runs/scanned/last.csv
    python -m experiments.ablations.photographs PHOTOS --set-thresholds auformer/assets/demo_detector.safetensors
    python -m experiments.pretraining.export_demo_detector

It learns from labs A and B and from the sets of `pretrain_data` (`first.csv`: the first 30,000 rows of each manifest;
`last.csv`: the last 25,000 of 40,000), under strong augmentation, occurrence and intensity together; the second call
goes on from what the first has made, with more faces of the labs. The subjects are numbered from 10,000 on: no demo,
test or pre-training shows them. A temperature per AU is multiplied into the heads (`calibrate`), thresholds per AU are
chosen on validation subjects; both lie in the header. Writes the packaged file,
`auformer/assets/demo_detector.safetensors`, and the scores on unseen subjects of both labs, `demo_detector.md` and
`.json`. The same call resumes an interrupted run.
`experiments.ablations.intensity` trains by `train` too, on the labs alone and the demo's backbone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import read_manifest
from auformer.demo.run import BACKBONE, BATCH
from auformer.files import read_json
from auformer.models import AUFormer, FullFineTuning, LinearProbe, load_detector
from auformer.models.demo_vit import DEMO_BACKBONE
from auformer.predict.manifest import predict_manifest
from auformer.scoring.intensity import score_intensity
from auformer.scoring.scores import score_predictions
from auformer.scoring.tables import Table, agreement_cell, percent
from auformer.synthetic.writing import render_dataset
from auformer.training import fit
from auformer.training.module import AUModule
from experiments.harness import ROOT, circumstances, new_parser, write_result
from experiments.pretraining.calibrate import calibrate

PACKAGED = ROOT / "auformer" / "assets" / "demo_detector.safetensors"
FIRST_SUBJECT, FIRST_MORE = 10_000, 20_000
Splits = Mapping[str, Mapping[str, tuple[int, int]]]
# Subjects and images per subject of each split and lab [ours]: what a quarter of an hour can see a few times.
SPLITS: Splits = {
    "train": {"A": (120, 40), "B": (80, 40)},
    "val": {"A": (12, 50), "B": (12, 50)},
    "test": {"A": (20, 100), "B": (20, 100)},
}
EPOCHS, SEED = 3, 0
AUGMENT, SCANNED = "strong", f"{DEMO_BACKBONE}.scanned_faces"
FORM = "ordinal"  # of the intensities, see `auformer.models.intensity`
INTENSITY_WEIGHT = 2.0  # of their loss beside that of occurrence [ours]
RATES = {"joint": 5e-3, "alone": 5e-3, "probe": 1e-2}  # the best of results/demo.md for each network
"""What is trained, with its learning rate: AUFormer for occurrence and intensity, for occurrence alone, a linear probe
for both."""
WHOLE_RATE = 3e-4  # of the whole network, fine-tuned for both: `what="whole"`
CONTINUED_RATE = 2.5e-3  # of experts that go on from a checkpoint [ours]


def render(
    out: Path, workers: int, splits: Splits | None = None, *, start_at: int = FIRST_SUBJECT
) -> dict[str, list[str]]:
    """All splits of both labs, of the sizes `SPLITS` or others; manifests by split, lab A first."""
    manifests: dict[str, list[str]] = {}
    first = {"A": start_at, "B": start_at}
    for split, labs in (splits or SPLITS).items():
        for lab, (subjects, frames) in labs.items():
            path = render_dataset(
                out / "data" / f"{split}_{lab.lower()}", lab=lab, subjects=subjects, frames=frames, au_names="all",
                first_subject=first[lab], workers=workers, progress=True,
            )  # fmt: skip
            manifests.setdefault(split, []).append(str(path))
            first[lab] += subjects
    return manifests


def train(
    out: Path, manifests: dict[str, list[str]], *, what: str = "joint", form: str = FORM, seed: int = SEED,
    epochs: int = EPOCHS, threads: int = 1, augment: str = "default", backbone: str = BACKBONE,
    start: str | None = None, progress: bool = True,
) -> Path:  # fmt: skip
    """The adapter file of the best epoch on validation subjects; `what` is one of `RATES`, or `whole`.

    With `start`, a checkpoint, its experts and heads are trained on, at `CONTINUED_RATE`.
    """
    torch.set_num_threads(threads)
    data = AUDataModule(
        manifests["train"], manifests["val"], au_names="all", batch_size=BATCH, seed=seed, augment=augment
    )
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"backbone": backbone, "pretrained": True}
    settings |= {} if what == "alone" else {"intensity": form}
    settings |= {"expert_width": 4, "average_heads": True} if what in ("joint", "alone") else {}
    network = partial({"probe": LinearProbe, "whole": FullFineTuning}.get(what, AUFormer), **settings)
    module = AUModule(
        network, data.au_names, data.au_weights, lr=RATES.get(what, WHOLE_RATE) if start is None else CONTINUED_RATE,
        intensity_weight=INTENSITY_WEIGHT, start=start,
    )  # fmt: skip
    folder = out / (f"alone-seed{seed}" if what == "alone" else f"{what}-{form}-seed{seed}")
    return fit(module, data, folder, epochs=epochs, seed=seed, precision="bf16-mixed", tune=True, progress=progress)


def evaluate(adapter: Path, manifests: list[str]) -> dict[str, Any]:
    """Scores by lab: mean and per AU, at 0.5 and at the header's thresholds."""
    network = load_detector(adapter)
    scores: dict[str, Any] = {}
    for lab, path in zip("ab", manifests, strict=True):
        table = predict_manifest(network, read_manifest(path), progress=True)
        plain = score_predictions(table)
        for name in network.au_names:  # the same score at another threshold
            table[f"{name}_prob"] = (table[f"{name}_prob"] >= network.thresholds[name]).astype(float)
        tuned = score_predictions(table)
        for name, entry in plain["per_au"].items():
            entry["f1_tuned"], entry["threshold"] = tuned["per_au"][name]["f1"], network.thresholds[name]
        plain["mean"]["f1_tuned"] = tuned["mean"]["f1"]
        plain["intensity"] = score_intensity(table)
        scores[f"lab_{lab}"] = plain
    return scores


def page(result: dict[str, Any]) -> str:
    labs = [result["lab_a"], result["lab_b"]]

    def cells(values: dict[str, Any], intensity: dict[str, Any]) -> list[str]:
        shown = [percent(values[key]) for key in ("f1", "f1_tuned", "auroc")]
        return [*shown, *(agreement_cell(intensity[key]) for key in ("icc", "mae")), str(values["positives"])]

    rows = [
        [name, f"{entry['threshold']:.2f}"]
        + [cell for lab in labs for cell in cells(lab["per_au"][name], lab["intensity"]["per_au"][name])]
        for name, entry in labs[0]["per_au"].items()
    ]
    means = [cell for lab in labs for cell in cells({**lab["mean"], "positives": ""}, lab["intensity"]["mean"])]
    columns = [f"{lab}: {what}" for lab in "AB" for what in ("F1", "F1 tuned", "AUROC", "ICC", "MAE", "positives")]
    return f"""# The packaged AU detector on unseen rendered subjects

Trained on rendered faces only: these numbers say nothing about photographs (those: `real.md`). F1 at 0.5 and at
thresholds chosen on rendered validation subjects, AUROC and positives of 2,000 images, per cent; ICC(3,1) and mean
absolute error of the intensities, in levels of 0 to 5. In the packaged file some thresholds are higher, so that few
neutral photographs are called active, and those here are what `predict --sensitive` takes.

{Table(["AU", "threshold", *columns], [*rows, ["mean", "", *means]]).markdown()}

Command: `{result["command"]}`; {result["epochs"]} epochs of {result["training_images"]:,} images, seed {SEED},
{result["seconds"] / 60:.0f} minutes on {result["threads"]} thread(s); {result["machine"]}; commit {result["commit"]}.
"""


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("runs/detector"), help="of the run (default: %(default)s)")
    add("--more", nargs="*", default=[], metavar="MANIFEST", help="manifests of pretrain_data to train on besides")
    add("--more-subjects", type=int, default=0, metavar="N",
        help="N more training subjects of each lab, 40 images each")  # fmt: skip
    add("--start", metavar="CHECKPOINT", help="go on from its experts and heads, such as demo")
    add("--what", default="joint", choices=("joint", "whole"), help="whole: fine-tune all, as a check; not packaged")
    add("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    add("--threads", type=int, default=2, help="default: %(default)s")
    args = parser.parse_args(argv)
    manifests = render(args.folder, args.threads)
    more: Splits = {"more": dict.fromkeys("AB", (args.more_subjects, 40))}
    again = render(args.folder, args.threads, more, start_at=FIRST_MORE)["more"] if args.more_subjects else []
    every = {**manifests, "train": [*manifests["train"], *again, *args.more]}
    adapter = train(
        args.folder, every, what=args.what, epochs=args.epochs, threads=args.threads, augment=AUGMENT, backbone=SCANNED,
        start=args.start,
    )  # fmt: skip
    temperatures = calibrate(adapter, manifests["val"]) if args.what == "joint" else {}
    words = f"--what {args.what} --epochs {args.epochs} --threads {args.threads}"
    words += f" --start {args.start}" if args.start else ""
    words += f" --more-subjects {args.more_subjects}" if args.more_subjects else ""
    result: dict[str, Any] = {
        "command": f"python -m experiments.pretraining.train_demo_detector {words}"
        + "".join(f" --more {Path(more).parent.name}/{Path(more).name}" for more in args.more),
        "epochs": args.epochs,
        "threads": args.threads,
        "training_images": sum(len(read_manifest(path)) for path in every["train"]),
        "temperatures": temperatures,
        "seconds": round((read_json(adapter.with_name("summary.json")) or {})["seconds"]),
        **circumstances(),
        **evaluate(adapter, manifests["test"]),
    }
    if args.what == "joint":
        shutil.copyfile(adapter, PACKAGED)
        write_result(args.out, "demo_detector", result, page(result))
    print(page(result))


if __name__ == "__main__":
    main()

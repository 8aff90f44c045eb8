"""Render faces with known action units, train AUFormer and a linear probe on them, evaluate both on unseen faces, write a report.

  auformer demo               about five minutes on two cores
  auformer demo --fast        under a minute, to see it work: far fewer faces and epochs, so lower scores

Nothing is downloaded and no person is shown. The same command again goes on where it stopped, or finds that all is there. Full
fine-tuning and further seeds would take longer: their rows come from the results in the package, and are marked.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from auformer.demo.folder import DemoFolder
    from auformer.demo.page import Gallery, Outcome
    from auformer.models import AUNetwork

OUT = Path("runs/demo")
BACKBONE = "vit_auformer_demo_112"
AUS = "bp4d"  # its 12 AUs are trained and tested, on both labs
LABS = {"train": "A", "val": "A", "test_a": "A", "test_b": "B"}
FIRST_TRAIN, FIRST_VAL, FIRST_TEST = 0, 40, 100  # number of the first face in its lab: no face is in two parts
FIRST = {"train": FIRST_TRAIN, "val": FIRST_VAL, "test_a": FIRST_TEST, "test_b": FIRST_TEST}
DATA_SEED = 0  # every demo, and the results in the package, are about the same faces; `--seed` is of the training
GALLERY_SEED = 0  # which test faces the report shows


class Plan(NamedTuple):
    """Sizes of a demo: faces and pictures per face of each part, epochs of each method."""

    train: tuple[int, int]
    val: tuple[int, int]
    test: tuple[int, int]
    epochs: int
    probe_epochs: int
    size: int = 112  # pixels, the demo backbone's


# 2,000 training pictures, as in the committed comparison. Mean F1 on 2,000 test pictures is steady to about a point. AUFormer learns some
# 70 pictures a second on two cores, so that five epochs take two and a half of the six minutes.
FULL = Plan(train=(40, 50), val=(10, 60), test=(20, 100), epochs=5, probe_epochs=8)
# A third of the minute is imports, workers and figures; what is left is enough for this much.
FAST = Plan(train=(12, 25), val=(4, 25), test=(6, 25), epochs=4, probe_epochs=6)
BATCH = 16
# Learning rates from one grid on validation subjects (experiments/results/demo.md).
AUFORMER = {
    "expert_width": 4,
    "average_heads": True,
    "lr": 5e-3,
}  # both heads: never worse than the main one, up to 1.7 points better
LINEAR_PROBE = {"lr": 1e-2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer demo`."""
    add = parser.add_argument
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"folder of everything (default: {OUT.as_posix()})")
    add(
        "--fast",
        action="store_true",
        help="under a minute: far fewer faces and epochs, so lower scores; every output says so",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of initial weights, order and augmentation; the faces stay the same (default: 0)",
    )
    add("--workers", type=int, metavar="N", help="processes that render (default: one per core, at most 8)")
    add("--overwrite", action="store_true", help="remove what an earlier demo left in DIR and begin anew")


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its table.

    Raises:
        ValueError: The folder holds something else, or a demo with other settings.
        OSError: The folder cannot be written.
    """
    workers = args.workers if args.workers is not None else min(os.cpu_count() or 1, 8)
    run_demo(
        args.out, FAST if args.fast else FULL, fast=args.fast, seed=args.seed, workers=workers, overwrite=args.overwrite
    )
    return 0


def run_demo(
    out: Path,
    plan: Plan,
    *,
    fast: bool = False,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    backbone: str = BACKBONE,
    backbone_file: Path | None = None,
    committed_file: Path | None = None,
) -> None:
    """All steps of the demo, in order.

    Args:
        out: Folder of everything.
        plan: Sizes.
        fast: Whether the outputs say that this was the short form.
        seed: Of the training.
        workers: Processes that render.
        overwrite: Begin anew.
        backbone: timm name of the ViT.
        backbone_file: Its weights; None: those that timm finds (the demo's are in the package).
        committed_file: Results of what is not trained here; None: those in the package.
    """
    from auformer.demo.folder import DemoFolder
    from auformer.demo.page import write_demo
    from auformer.demo.results import read_committed

    if seed < 0:
        raise ValueError(f"Expected `--seed` to be at least 0, but got {seed}")
    committed = read_committed(committed_file)  # what is missing shows before the work begins
    folder, config = DemoFolder(out), demo_config(plan, fast=fast, seed=seed, backbone=backbone)
    folder.claim(config, overwrite=overwrite)
    print("1/4 rendering faces", flush=True)
    manifests = render_parts(folder, plan, workers=workers)
    outcomes, networks = {}, {}
    for number, method in enumerate(("auformer", "linear_probe"), 2):
        print(
            f"{number}/4 training and testing the {'linear probe' if method == 'linear_probe' else 'AUFormer'}",
            flush=True,
        )
        outcomes[method], networks[method] = train_and_test(folder, method, config, manifests, backbone_file)
    print("4/4 writing the report", flush=True)
    gallery = choose_gallery(
        networks["auformer"], outcomes["auformer"].predictions, [manifests["test_a"], manifests["test_b"]]
    )
    text = write_demo(folder, outcomes, committed, gallery, config)
    print(f"\n{text}\n\nwrote {folder.file('report.html')} and, beside it, everything in it")


def demo_config(plan: Plan, *, fast: bool, seed: int, backbone: str) -> dict[str, Any]:
    """Settings of a demo in plain values: the content of `config.yaml`, and what tells one demo from another."""
    from auformer import __version__
    from auformer.aus import parse_au_names

    faces = {
        part: {"lab": LABS[part], "first": FIRST[part], "faces": subjects, "pictures_each": frames}
        for part, (subjects, frames) in _sizes(plan).items()
    }
    shared = {"batch_size": BATCH, "backbone": backbone, "img_size": plan.size}
    return {
        "command": "auformer demo",
        "package_version": __version__,
        "fast": fast,
        "seed": seed,
        "au_names": list(parse_au_names(AUS)),
        "faces": {"seed": DATA_SEED, "pixels": plan.size, **faces},
        "methods": {
            "auformer": {"network": "auformer.models.auformer.AUFormer", "epochs": plan.epochs, **shared, **AUFORMER},
            "linear_probe": {
                "network": "auformer.models.baselines.LinearProbe",
                "epochs": plan.probe_epochs,
                **shared,
                **LINEAR_PROBE,
            },
        },
        "not_trained_here": "full_finetuning and every row with a mark: results that come with the package",
    }


def _sizes(plan: Plan) -> dict[str, tuple[int, int]]:
    """Faces and pictures per face of each part."""
    return {"train": plan.train, "val": plan.val, "test_a": plan.test, "test_b": plan.test}


def render_parts(folder: DemoFolder, plan: Plan, *, workers: int = 1) -> dict[str, Path]:
    """Render the parts of a demo, or find them there: part -> manifest. Lab B has labels for all AUs, of which the trained ones count."""
    from auformer.synthetic.writing import render_dataset

    return {
        part: render_dataset(
            folder.part(part), lab=LABS[part], subjects=subjects, frames=frames, au_names="all" if LABS[part] == "B" else AUS,
            size=plan.size, seed=DATA_SEED, first_subject=FIRST[part], workers=workers, progress=True,
        )
        for part, (subjects, frames) in _sizes(plan).items()
    }  # fmt: skip


def train_and_test(
    folder: DemoFolder,
    method: str,
    config: Mapping[str, Any],
    manifests: Mapping[str, Path],
    backbone_file: Path | None = None,
) -> tuple[Outcome, AUNetwork]:
    """Train one method, or find its finished run, and predict the test faces of both labs."""
    import torch

    from auformer.data.datamodule import AUDataModule
    from auformer.demo.page import Outcome
    from auformer.models import load_detector
    from auformer.training.module import AUModule, network_factory
    from auformer.training.run import fit
    from auformer.training.run_folder import RunFolder

    settings, seed = config["methods"][method], config["seed"]
    parts = [str(manifests["train"]), str(manifests["val"])]
    data = AUDataModule(
        *parts, au_names=config["au_names"], image_size=settings["img_size"], batch_size=BATCH, seed=seed
    )
    source = (
        {"pretrained": True} if backbone_file is None else {"pretrained": False, "checkpoint_path": str(backbone_file)}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        arguments = {
            name: value for name, value in settings.items() if name not in ("network", "epochs", "batch_size", "lr")
        }
        network = network_factory({"class_path": settings["network"], "init_args": {**arguments, **source}})
        module = AUModule(network, data.au_names, data.au_weights, lr=settings["lr"])
    adapter = fit(module, data, folder.run(method), epochs=config["methods"][method]["epochs"], seed=seed)
    detector = load_detector(adapter, backbone_checkpoint=backbone_file)
    path = folder.file("predictions.csv") if method == "auformer" else folder.run(method) / "predictions.csv"
    predictions = _predict(detector, adapter, [manifests["test_a"], manifests["test_b"]], path)
    run = RunFolder(folder.run(method))
    seconds = json.loads(run.summary.read_text(encoding="utf-8"))["seconds"]
    return Outcome(predictions, detector.num_parameters()[0], adapter, run.metrics, seconds), detector


def _predict(network: AUNetwork, adapter: Path, manifests: Sequence[Path], path: Path) -> pd.DataFrame:
    """Predict manifests into one file, unless it is there already."""
    import pandas as pd
    import torch

    from auformer.data.manifest import au_columns, read_manifest, read_predictions, write_predictions
    from auformer.predict.manifest import predict_manifest
    from auformer.report.html import RENDERED_ONLY
    from auformer.scoring.provenance import choose_aus, predictions_side

    tables = [read_manifest(manifest) for manifest in manifests]
    choice = choose_aus(
        network.au_names, [au for au in au_columns(tables[0]) if au in au_columns(tables[1])], network.au_names
    )
    sides = [predictions_side(network, adapter.name, adapter, table, choice, notice=RENDERED_ONLY) for table in tables]
    facts = [side["manifest"] for side in sides]
    joined = {"file": " and ".join(f"{manifest.parent.name}/{manifest.name}" for manifest in manifests), "parts": facts}
    side = {
        **sides[0],
        "manifest": {**joined, "crop_recipe": facts[0]["crop_recipe"], "image_size": facts[0]["image_size"]},
    }
    if path.is_file():
        found = read_predictions(path)
        if all(found.attrs["side"].get(name) == value for name, value in side.items()):
            return found
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = [
        predict_manifest(network, table, au_names=choice.predicted, device=device, progress=True) for table in tables
    ]
    write_predictions(pd.concat(parts, ignore_index=True), path, side)
    return read_predictions(path)


def choose_gallery(network: AUNetwork, predictions: pd.DataFrame, manifests: Sequence[Path]) -> Gallery:
    """The faces of the report: pictures, verdicts, and for each the evidence map of the AU it was chosen for."""
    import torch

    from auformer.aus import ACTION_UNITS
    from auformer.data.images import read_image
    from auformer.data.manifest import read_manifest
    from auformer.data.transforms import to_float
    from auformer.demo.page import Gallery
    from auformer.demo.results import choose_faces

    files = [
        path.parent / image for path in manifests for image in read_manifest(path)["image"]
    ]  # in the order of the predictions
    chosen = choose_faces(predictions, np.random.default_rng(GALLERY_SEED))
    rows, names = [row for row, _ in chosen], list(network.au_names)
    images = np.stack([read_image(files[row]) for row in rows])
    batch = torch.from_numpy(np.stack([to_float(image) for image in images])).to(next(network.parameters()).device)
    maps = network.expert_maps(batch).cpu().numpy()  # type: ignore[operator]
    own = np.stack([maps[number, names.index(au)] for number, (_, au) in enumerate(chosen)])
    labs = ["lab A" if predictions["dataset"][row] == "synthetic_a" else "lab B" for row in rows]
    columns = [[f"{au}_{kind}" for au in names] for kind in ("true", "prob")]
    truth, probs = (predictions.loc[rows, column].to_numpy(float) for column in columns)
    captions = [f"{au} {ACTION_UNITS[au].name}, {lab}" for (_, au), lab in zip(chosen, labs, strict=True)]
    return Gallery(images, names, truth, probs, own, captions)

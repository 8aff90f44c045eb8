"""The demo from end to end: render, train, test, write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from auformer import __version__
from auformer.aus import ACTION_UNITS, parse_au_names
from auformer.data.images import read_image
from auformer.data.manifest import predicted_aus, read_manifest
from auformer.demo.page import FILES, Gallery, Outcome, write_demo
from auformer.demo.results import read_committed
from auformer.files import read_json
from auformer.report.html import RENDERED_ONLY
from auformer.workspace import Workspace

if TYPE_CHECKING:
    from auformer.models import AUNetwork

logger = logging.getLogger("auformer.demo")
COMMAND = "auformer demo"
BACKBONE = "vit_auformer_demo_112"
AUS = "bp4d"  # its 12 AUs are trained and tested, on both labs
# split -> lab and number of its first face there: no face is in two splits
SPLITS = {"train": ("A", 0), "val": ("A", 40), "test_a": ("A", 100), "test_b": ("B", 100)}
RUNS = {"auformer": "AUFormer", "linear_probe": "the linear probe"}
DATA_SEED = 0  # every demo, and the results in the package, are about the same faces; `seed` is of the training
GALLERY_SEED = 0  # which test faces the report shows
BATCH = 16
# Learning rates from one grid on validation subjects (experiments/results/demo.md); both heads: never worse than the
# main one, up to 1.7 points better.
AUFORMER = {"expert_width": 4, "average_heads": True, "lr": 5e-3}
LINEAR_PROBE = {"lr": 1e-2}


class Plan(NamedTuple):
    """Sizes of a demo: faces and images per face of each split, epochs of each method."""

    train: tuple[int, int]
    val: tuple[int, int]
    test: tuple[int, int]
    epochs: int
    probe_epochs: int
    size: int = 112  # pixels, the demo backbone's

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Faces and images per face by split."""
        return {"train": self.train, "val": self.val, "test_a": self.test, "test_b": self.test}


# 2,000 training images, as in the committed comparison. Mean F1 on 2,000 test images is steady to about a point.
# AUFormer learns some 70 images a second on two cores, so that five epochs take two and a half of the six minutes.
FULL = Plan(train=(40, 50), val=(10, 60), test=(20, 100), epochs=5, probe_epochs=8)
# A third of the minute is imports, workers and figures; what is left is enough for this much.
FAST = Plan(train=(12, 25), val=(4, 25), test=(6, 25), epochs=4, probe_epochs=6)


def run_demo(
    out: str | Path,
    *,
    fast: bool = False,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    plan: Plan | None = None,
    backbone: str = BACKBONE,
    backbone_file: Path | None = None,
    committed_file: Path | None = None,
    say: Callable[[str], None] = logger.info,
) -> Path:
    """Render faces, train AUFormer and a linear probe on them, test both, write a report; what `auformer demo` does.

    The same call again resumes an interrupted demo, or finds that all is there.

    Args:
        out: Folder of everything.
        fast: The short form, which all outputs mention.
        seed: Of the training.
        workers: Processes that render.
        overwrite: Remove what an earlier demo left in the folder and begin anew.
        plan: Sizes; those of the full or the short form by default.
        backbone: timm name of the ViT.
        backbone_file: Its weights; None: those that timm finds (the demo's are in the package).
        committed_file: Results of what is not trained here; None: those in the package.
        say: Takes each line of progress, as `print` does.

    Returns:
        The page `report.html`.

    Raises:
        ValueError: The folder holds something else, or a demo with other settings.
        OSError: The folder cannot be written.
    """
    if seed < 0:
        raise ValueError(f"Expected `--seed` to be at least 0, but got {seed}")
    out, plan = Path(out), plan or (FAST if fast else FULL)
    committed = read_committed(committed_file)  # what is missing shows before the work begins
    config = demo_config(plan, fast=fast, seed=seed, backbone=backbone)
    owned = (*FILES, *RUNS, "faces")
    workspace = Workspace(out, kind="a demo", owned=owned, record="config.yaml", mark={"command": COMMAND})
    workspace.claim(config, overwrite=overwrite)
    say("1/4 rendering faces")
    manifests = render_splits(out, plan, workers=workers)
    outcomes, networks = {}, {}
    for number, (method, label) in enumerate(RUNS.items(), 2):
        say(f"{number}/4 training and testing {label}")
        outcomes[method], networks[method] = train_and_test(out, method, config, manifests, backbone_file)
    say("4/4 writing the report")
    tested = [manifests["test_a"], manifests["test_b"]]
    gallery = choose_gallery(networks["auformer"], outcomes["auformer"].predictions, tested)
    text = write_demo(out, outcomes, committed, gallery, config)
    say(f"\n{text}\n\nwrote {out / 'report.html'} and, beside it, everything in it")
    return out / "report.html"


def demo_config(plan: Plan, *, fast: bool, seed: int, backbone: str) -> dict[str, Any]:
    """Settings of a demo in plain values: the content of `config.yaml`, and what tells one demo from another."""
    faces = {
        split: {"lab": SPLITS[split][0], "first": SPLITS[split][1], "faces": faces, "pictures_each": images}
        for split, (faces, images) in plan.sizes().items()
    }
    shared = {"batch_size": BATCH, "backbone": backbone, "img_size": plan.size}
    methods = {
        "auformer": {"network": "auformer.models.auformer.AUFormer", "epochs": plan.epochs, **shared, **AUFORMER},
        "linear_probe": {
            "network": "auformer.models.baselines.LinearProbe", "epochs": plan.probe_epochs, **shared, **LINEAR_PROBE,
        },
    }  # fmt: skip
    return {
        "command": COMMAND,
        "package_version": __version__,
        "fast": fast,
        "seed": seed,
        "au_names": list(parse_au_names(AUS)),
        "faces": {"seed": DATA_SEED, "pixels": plan.size, **faces},
        "methods": methods,
        "not_trained_here": "full_finetuning and every row with a mark: results that come with the package",
    }


def render_splits(out: Path, plan: Plan, *, workers: int = 1) -> dict[str, Path]:
    """Render the splits of a demo, or find them there: split -> manifest.

    Lab B has labels for all AUs, of which the trained ones count.
    """
    from auformer.synthetic.writing import render_dataset

    manifests = {}
    for split, (subjects, frames) in plan.sizes().items():
        lab, first = SPLITS[split]
        manifests[split] = render_dataset(
            out / "faces" / split, lab=lab, subjects=subjects, frames=frames, au_names="all" if lab == "B" else AUS,
            size=plan.size, seed=DATA_SEED, first_subject=first, workers=workers, progress=True,
        )  # fmt: skip
    return manifests


def train_and_test(
    out: Path, method: str, config: Mapping[str, Any], manifests: Mapping[str, Path], backbone_file: Path | None = None
) -> tuple[Outcome, AUNetwork]:
    """Train one method, or find its finished run, and predict the test faces of both labs."""
    import torch

    from auformer.data.datamodule import AUDataModule
    from auformer.models import load_detector
    from auformer.models.batches import find_device
    from auformer.predict.manifest import write_manifest_predictions
    from auformer.training import fit
    from auformer.training.module import AUModule, network_factory
    from auformer.training.run_folder import RunFolder

    settings, run, seed = config["methods"][method], RunFolder(out / method), config["seed"]
    data = AUDataModule(
        str(manifests["train"]), str(manifests["val"]), au_names=config["au_names"], image_size=settings["img_size"],
        batch_size=settings["batch_size"], seed=seed,
    )  # fmt: skip
    arguments = {key: value for key, value in settings.items() if key not in ("network", "epochs", "batch_size", "lr")}
    arguments["pretrained"] = backbone_file is None
    if backbone_file is not None:
        arguments["checkpoint_path"] = str(backbone_file)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_factory({"class_path": settings["network"], "init_args": arguments})
        module = AUModule(network, data.au_names, data.au_weights, lr=settings["lr"])
    adapter = fit(module, data, run.path, epochs=settings["epochs"], seed=seed)
    detector = load_detector(adapter, backbone_checkpoint=backbone_file)
    tables = [read_manifest(manifests[split]) for split in ("test_a", "test_b")]
    predictions = write_manifest_predictions(
        detector, adapter, tables, (out if method == "auformer" else run.path) / "predictions.csv",
        checkpoint=adapter.name, asked=detector.au_names, notice=RENDERED_ONLY, reuse=True,
        device=find_device("auto"), progress=True,
    )  # fmt: skip
    seconds = (read_json(run.summary) or {})["seconds"]
    return Outcome(predictions, detector.num_parameters()[0], adapter, run.metrics, seconds), detector


def choose_gallery(network: AUNetwork, predictions: pd.DataFrame, manifests: Sequence[Path]) -> Gallery:
    """The faces of the report: for each AU one that shows it, drawn by chance, from the labs in turn.

    `manifests` are what was predicted, in the order of the predictions. An AU that no face shows is left out; each face
    has the evidence map of the AU that it was chosen for.
    """
    import torch

    from auformer.data.transforms import to_float

    rng, chosen = np.random.default_rng(GALLERY_SEED), {}
    for number, au in enumerate(predicted_aus(predictions)):
        shows = predictions[f"{au}_true"] == 1
        turn = shows & (predictions["dataset"] == ("synthetic_a", "synthetic_b")[number % 2])
        candidates = predictions.index[turn if turn.any() else shows]
        if len(candidates):
            chosen[au] = int(rng.choice(candidates))
    rows, names = list(chosen.values()), list(network.au_names)
    files = [path.parent / image for path in manifests for image in read_manifest(path)["image"]]
    images = np.stack([read_image(files[row]) for row in rows])
    batch = torch.from_numpy(np.stack([to_float(image) for image in images])).to(next(network.parameters()).device)
    maps = network.expert_maps(batch).cpu().numpy()  # type: ignore[operator]
    own = np.stack([maps[number, names.index(au)] for number, au in enumerate(chosen)])
    shown = predictions.loc[rows]
    truth, probs = (shown[[f"{au}_{kind}" for au in names]].to_numpy(float) for kind in ("true", "prob"))
    labs = {"synthetic_a": "lab A", "synthetic_b": "lab B"}
    captions = [f"{au} {ACTION_UNITS[au].name}, {labs[predictions['dataset'][row]]}" for au, row in chosen.items()]
    return Gallery(images, names, truth, probs, own, captions)

"""AUNCE's contrast beside training by labels, at three levels of label noise, on rendered faces of unseen subjects.

    python -m experiments.ablations.contrast --folder runs/contrast

The encoder of AUNCE on the frozen demo backbone (`ViTAUNCE`): trained by contrast in both forms of the loss and then
probed, and, at once with its linear map, by the WA and by the MDWA loss; at flipped training labels with probability 0,
.1 and .2. What the frozen ViT gives for every augmented view is kept, since it is the same for all rows of a seed.
Every training goes through `auformer.training.fit` and resumes; a line of `contrast_runs.jsonl` per row, noise and
seed. `experts_corrected`, where contrast trains the experts of an AUFormer, takes five times as long as the others.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from auformer.aus import AU_SETS
from auformer.data.clip_dataset import TwoViews
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
PIECE = 250  # rows whose tokens are computed together
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


def take_tokens(network: ViTAUNCE) -> ViTAUNCE:
    """Let a network also take kept tokens of its frozen ViT, as if they were images of one channel `(B, 1, T, D)`."""
    of_images = network.features

    def features(images: Tensor) -> Tensor:
        return network.encoder(network.first(images[:, 0])) if images.shape[1] == 1 else of_images(images)

    network.features = features  # type: ignore[method-assign]
    return network


class Kept(Dataset):
    """A data set of images, or of two views, that gives kept tokens instead.

    Args:
        rows: The data set, whose labels are taken.
        tokens: In half precision `(epochs, n, views, T, D)`.
    """

    def __init__(self, rows: Any, tokens: Tensor) -> None:
        self.rows, self.labels, self.tokens = rows, (rows.rows if isinstance(rows, TwoViews) else rows).labels, tokens

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        row, epoch = index if isinstance(index, tuple) else (index, 0)
        views = self.tokens[epoch % len(self.tokens), row].float().unsqueeze(1)  # (views, 1, T, D)
        two = isinstance(self.rows, TwoViews)
        return {"image": views if two else views[0], "label": torch.as_tensor(self.labels[row])}


@torch.no_grad()
def tokens_of(path: Path, images: Any, epochs: int) -> Tensor:
    """Tokens of two views of every row and epoch `(epochs, n, 2, T, D)`, or of the images as they are, kept in a file.

    Args:
        path: The file, `.pt`.
        images: `TwoViews`, or an `AUDataset` without augmentation, of which one epoch is taken and one view.
        epochs: Epochs.
    """
    if path.is_file():
        return torch.load(path, weights_only=True, mmap=True)
    vit, found = ViTAUNCE(BACKBONE, AUS, pretrained=True), []
    for epoch in range(epochs):
        for piece in np.split(np.arange(len(images)), np.arange(PIECE, len(images), PIECE)):
            views = torch.stack([images[(int(row), epoch)]["image"] for row in piece])
            views = views if views.ndim == 5 else views.unsqueeze(1)
            with torch.autocast("cpu", torch.bfloat16):
                tokens = vit.plain_tokens(views.flatten(0, 1))[:, vit.backbone.num_prefix_tokens :]
            found.append(tokens.half().unflatten(0, views.shape[:2]))
    kept = torch.cat(found).unflatten(0, (epochs, len(images)))
    torch.save(kept, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)
    return kept


def train(row: str, noise: float, seed: int, folder: Path, manifest: Path) -> tuple[Path, Any]:
    """One row: the adapter file and its network."""
    options = dict(ROWS[row])
    kind = options.pop("network", ViTAUNCE)
    above = kind is ViTAUNCE
    network = partial(kind, backbone=BACKBONE, pretrained=True, **({} if above else {"expert_width": 8}))
    shared: dict[str, Any] = {
        "au_names": AUS, "val_fraction": 0.0, "label_noise": noise, "image_size": SIZE, "batch_size": BATCH,
        "seed": seed,
    }  # fmt: skip
    out, running = folder / f"{row}-{noise:g}-{seed}", {"seed": seed, "select": "last", "progress": False}
    two = AUDataModule(str(manifest), augment="aunce", views=2, **shared)
    plain = AUDataModule(str(manifest), augment="none", **shared)
    data = two if not above or "loss" not in options else AUDataModule(str(manifest), augment="aunce", **shared)
    of = data.au_names, data.au_weights
    if above:
        data.train_dataset = Kept(data.train_dataset, tokens_of(folder / f"views-{seed}.pt", two.train_dataset, EPOCHS))
        plain.train_dataset = Kept(plain.train_dataset, tokens_of(folder / "plain.pt", plain.train_dataset, 1))
    torch.manual_seed(seed)

    def trained(module: Any, rows: AUDataModule, to: Path, epochs: int) -> tuple[Path, Any]:
        if above:
            take_tokens(module.network)
        return fit(module, rows, to, epochs=epochs, **running), module.network

    if "loss" in options:
        return trained(AUModule(network, *of, lr=LR, dice_weight=0.0, **options), data, out, EPOCHS)
    adapter, _ = trained(AUNCEModule(network, *of, lr=LR, seed=seed, **options), data, out, EPOCHS)
    probe = AUNCEModule(network, *of, stage="probe", start=str(adapter), lr=PROBE_LR)
    return trained(probe, plain, out.with_name(f"{out.name}-probe"), PROBE_EPOCHS)


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where data and trainings lie")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N")
    parser.add_argument("--noises", nargs="+", type=float, default=list(NOISES), metavar="P")
    parser.add_argument("--lines", type=Path, default=Path("experiments/results/contrast_runs.jsonl"), metavar="FILE")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
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

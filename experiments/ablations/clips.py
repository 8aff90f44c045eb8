"""Action units over time on rendered clips of unseen subjects: networks that see clips beside the same frame by frame.

    python -m experiments.ablations.clips --folder runs/time

Renders micro-expression clips in lab A, takes the tokens of the frozen demo backbone once (`features-*.pt`), and trains
what stands above them, without augmentation, one line of `time_runs.jsonl` per row and seed: a killed run begins again
with the row that it was in. Labels are per frame: an action unit is present from level 1 on, as lab A's coders see it.
Rows of AUFormer train through `auformer.training.fit` on the images, since its experts are inside the ViT, and resume
within a row. `--only` chooses rows, `--seeds` seeds. `--data videos` does the same on rendered videos, the harder
test: expressions that come and go with rest between, talk, gaze, blinks and a turning head; there a training clip is
drawn from every 48 frames. `--fast` takes a few subjects and epochs, for a look in a minute; its lines go elsewhere.
`python -m experiments.ablations.clips_page` writes the page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auformer.aus import AU_SETS
from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import AUDataset
from auformer.data.images import write_image
from auformer.data.manifest import read_manifest, write_manifest
from auformer.data.splits import count_labels
from auformer.data.video import read_video
from auformer.data.windows import cut_chunks, evaluation_windows, find_runs, label_frames, training_window
from auformer.losses import au_weights, region_loss, wa_loss
from auformer.metrics import auroc, average_precision, confusion_counts, f1_from_counts, mean_over_aus
from auformer.models import load_adapter, save_adapter
from auformer.models.temporal.auformer_in_time import AUFormerInTime
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.predict.manifest import predict_manifest
from auformer.synthetic.writing import render_dataset
from auformer.training import fit
from auformer.training.module import AUModule
from auformer.training.optimiser import WarmupCosine, parameter_groups
from experiments.harness import circumstances, new_parser

BACKBONE, SIZE = "vit_auformer_demo_112", 112
AUS = list(AU_SETS["bp4d"])
FIRST = {"train": 43_000, "test": 43_100}  # subjects that no packaged weights have seen
SUBJECTS, CLIPS = {"train": 40, "test": 20}, {"train": 9, "test": 6}
VIDEO_SUBJECTS, VIDEOS, VIDEO_FRAMES, CHUNK = {"train": 20, "test": 10}, 1, 600, 48
LENGTH, DIM = 16, 96
FAST = {"train": 12, "test": 8, "epochs": 10}  # subjects and epochs of a look
PIECE = 1024  # rows of one file of tokens, after which a killed run goes on
EPOCHS, BATCH, LR, DECAY, REGIONS = 20, 16, 2e-3, 0.05, 0.01  # the design's section 6
AUFORMER_LR = 5e-3  # best of the grid in results/demo.md
SEEDS = (0, 1, 2)

OFF: dict[str, Any] = {"dynamics": "none", "over_time": False}
#: Rows above cached tokens, by name: what differs from the whole ViTMDHR.
HEADS: dict[str, dict[str, Any]] = {
    "vit_mdhr": {},
    "frame_by_frame": OFF,
    "dynamics_only": {"over_time": False},
    "time_only": {"dynamics": "none"},
    "sum_of_taps": {"dynamics": "sum"},
    "last_tap": {"taps": [6]},
    "edges_none": {"edges": "none"},
    "edges_all": {"edges": "all"},
    "edges_others": {"edges": "others"},
    "no_region_loss": {"region_weight": 0.0},
    "ends_zeros": {"ends": "zeros"},
    **{f"reach_{k}": {"reach": k} for k in (1, 2, 10)},
    **{f"length_{t}": {"clip_length": t} for t in (4, 8, 24)},
}
#: Rows on images.
AUFORMERS = {f"auformer_{kind}": kind for kind in ("none", "dynamics", "convolution", "both")}
ROWS = [*HEADS, *AUFORMERS]


def render(folder: Path, data: str) -> dict[str, Path]:
    """The manifests that are trained and tested on, with an image per row."""
    found = {}
    for part, first in FIRST.items():
        found[part] = folder / f"{data}-{part}" / ("frames/manifest.csv" if data == "videos" else "manifest.csv")
        if found[part].is_file():  # also one of an earlier renderer: rows of one file are of one data set
            continue
        shape: dict[str, Any] = {"subjects": SUBJECTS[part], "clips": CLIPS[part]}
        if data == "videos":
            shape = {"subjects": VIDEO_SUBJECTS[part], "videos": VIDEOS, "frames": VIDEO_FRAMES}
            first += 1000
        found[part] = render_dataset(
            folder / f"{data}-{part}", lab="A", au_names="bp4d", first_subject=first, size=SIZE, progress=True, **shape
        )
        if data == "videos":
            found[part] = extract_frames(found[part], folder / f"{data}-{part}" / "frames")
    return found


def extract_frames(manifest: Path, folder: Path) -> Path:
    """Images of the frames of rendered videos, and a manifest that names them: `folder/manifest.csv`, written last."""
    path = folder / "manifest.csv"
    if path.is_file():
        return path
    table = read_manifest(manifest)
    table["image"] = ""
    for file, rows in table.groupby("file", sort=False):
        frames = iter(read_video(manifest.parent / str(file)))
        for row in rows.sort_values("frame").index:
            frame = next(frames)
            name = f"{Path(str(file)).with_suffix('')}/{table.at[row, 'frame']:05d}.jpg".replace("videos/", "", 1)
            write_image(folder / name, frame.image())
            table.at[row, "image"] = name
    write_manifest(table, path, {"crop_recipe": table.attrs["side"].get("crop_recipe")})
    return path


@torch.no_grad()
def features(folder: Path, part: str, manifest: Path, data: str) -> dict[str, Any]:
    """Tokens of the taps of every row in half precision `(n, h w, taps D)`, its labels `(n, N)`, the runs."""
    table = label_frames(read_manifest(manifest), AUS, 1)
    if data.endswith("fast"):
        few = table["subject"].isin(sorted(table["subject"].unique())[: FAST[part]])
        attrs, table = table.attrs, table[few].reset_index(drop=True)
        table.attrs = attrs
    runs, labels = find_runs(table), torch.from_numpy(table[AUS].to_numpy(np.int64))
    network, rows, pieces = None, AUDataset(table, manifest.parent, AUS, SIZE), []
    for number, piece in enumerate(_groups(len(rows), PIECE)):
        path = folder / f"features-{data}-{part}-{number:02d}.pt"
        if not path.is_file():
            network = network or ViTMDHR(BACKBONE, AUS, pretrained=True, dim=DIM)
            groups = [piece[first : first + 64] for first in range(0, len(piece), 64)]
            batches = [torch.stack([rows[row]["image"] for row in group.tolist()]) for group in groups]
            torch.save(torch.cat([network.tap(images).half() for images in batches]), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)
        pieces.append(torch.load(path, weights_only=True))
    tokens, chunk = torch.cat(pieces), CHUNK if data == "videos" else None
    return {"tokens": tokens, "labels": labels, "runs": runs, "table": table, "chunk": chunk}


def _groups(rows: int, size: int) -> list[np.ndarray]:
    return np.split(np.arange(rows), np.arange(size, rows, size))


def scores(target: np.ndarray, prob: np.ndarray) -> dict[str, Any]:
    """F1 at 0.5, average precision and AUROC over all rows, means over action units, and F1 of each."""
    f1 = f1_from_counts(confusion_counts(target, prob))
    found = {"f1": mean_over_aus(f1), "ap": mean_over_aus(average_precision(target, prob))}
    found["auroc"] = mean_over_aus(auroc(target, prob))
    return {name: round(float(one.value), 5) for name, one in found.items()} | {
        "f1_by_au": {au: round(float(one), 5) if one == one else None for au, one in zip(AUS, f1, strict=True)}
    }


def by_subject(table: Any, target: np.ndarray, prob: np.ndarray) -> dict[str, list[list[int]]]:
    """TP, FP and FN of each AU by subject, from which intervals over subjects are drawn."""
    called, known = prob >= 0.5, target >= 0
    counts: dict[str, list[list[int]]] = {}
    for subject in sorted(table["subject"].unique()):
        own = (table["subject"] == subject).to_numpy()[:, None] & known
        hits, false, missed = (called & (target == 1)), (called & (target == 0)), (~called & (target == 1))
        counts[subject] = [[int(one) for one in (kind & own).sum(0)] for kind in (hits, false, missed)]
    return counts


def train_head(
    row: str, seed: int, folder: Path, data: str, train: Mapping[str, Any], test: Mapping[str, Any]
) -> dict[str, Any]:
    """One row above cached tokens: trained on one window per clip and epoch, tested on all windows.

    After each epoch its state is kept in `head-DATA-ROW-SEED.pt`, from which a killed row goes on.
    """
    options = {"clip_length": LENGTH, "dim": DIM, **HEADS[row]}
    epochs = FAST["epochs"] if data.endswith("fast") else EPOCHS
    weight_of_regions, length = options.pop("region_weight", REGIONS), options["clip_length"]
    torch.manual_seed(seed)
    network = ViTMDHR(BACKBONE, AUS, pretrained=True, **options)
    part = slice(None) if len(network.taps) == 3 else slice(2 * network.embed_dim, None)
    tokens, labels, runs = train["tokens"][..., part], train["labels"], cut_chunks(train["runs"], train["chunk"])
    sample = tokens[np.random.default_rng(0).permutation(len(tokens))[:2048]].float().flatten(0, 1)
    network.set_feature_statistics(sample.mean(0), sample.std(0))
    weight = au_weights(*count_labels(train["table"], AUS), au_names=AUS)
    optimizer = torch.optim.AdamW(parameter_groups(network, DECAY), lr=LR, betas=(0.9, 0.999))
    batches = -(-len(runs) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, WarmupCosine(epochs * batches, 0.0))
    network.train()
    parts, path = (
        {"network": network, "optimizer": optimizer, "schedule": schedule},
        folder / f"head-{data}-{row}-{seed}.pt",
    )
    first, seconds = _resume(path, parts)
    for epoch in range(first, epochs):
        begin = time.process_time()
        order = np.random.default_rng([seed, epoch]).permutation(len(runs))
        for group in np.array_split(order, batches):
            places = [training_window(runs[run], length, np.random.default_rng([seed, epoch, run])) for run in group]
            rows = torch.from_numpy(np.concatenate([place for place, _ in places]))
            real = torch.from_numpy(np.concatenate([kept for _, kept in places]))
            target = torch.where(real.unsqueeze(1), labels[rows], -1)
            found = network.outputs_of_taps(tokens[rows].float(), length)
            loss = wa_loss(found["logits"], target, weight)
            loss = loss + weight_of_regions * region_loss(found["region_logits"], target, network.region_heads)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        seconds += time.process_time() - begin
        _keep(path, parts, epoch + 1, seconds)
        print(f"{row} seed {seed}: epoch {epoch + 1}, loss {float(loss.detach()):.4f}", flush=True)
    save_adapter(folder / f"{data}-{row}-{seed}.safetensors", network)
    prob = predict_head(network.eval(), test["tokens"][..., part], test["runs"], length)
    target = test["labels"].numpy()
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    return {
        "data": data, "row": row, "seed": seed, "trained": trained, "cpu_seconds": round(seconds, 1),
        **scores(target, prob),
        "counts": by_subject(test["table"], target, prob),
    }  # fmt: skip


def _keep(path: Path, parts: Mapping[str, Any], epoch: int, seconds: float) -> None:
    """Write the state after an epoch, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save({**state, "epoch": epoch, "seconds": seconds}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def _resume(path: Path, parts: Mapping[str, Any]) -> tuple[int, float]:
    """Load a state that was kept: epochs that are done, and seconds that they took."""
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["epoch"], state["seconds"]


@torch.no_grad()
def predict_head(network: ViTMDHR, tokens: Tensor, runs: list[np.ndarray], length: int) -> np.ndarray:
    """Probabilities of every row `(n, N)`, each in its window."""
    windows, counts = evaluation_windows(runs, length)
    prob = np.full((len(tokens), len(AUS)), np.nan)
    for place, kept in zip(windows, counts, strict=True):
        found = network.outputs_of_taps(tokens[torch.from_numpy(place)].float(), length)["probs"].numpy()
        prob[place[kept]] = found[kept]
    return prob


def train_auformer(
    row: str, seed: int, folder: Path, name: str, manifests: Mapping[str, Path], epochs: int
) -> dict[str, Any]:
    """One row on images, through `fit`: an interrupted training goes on where it was."""
    data = AUDataModule(
        str(manifests["train"]), au_names=AUS, val_fraction=0.0, clip_length=LENGTH, frame_labels=1.0, image_size=SIZE,
        batch_size=BATCH, augment="none", seed=seed, chunk_rows=CHUNK if name == "videos" else None,
    )  # fmt: skip
    network = partial(
        AUFormerInTime, backbone=BACKBONE, pretrained=True, expert_width=4, clip_length=LENGTH, time=AUFORMERS[row],
        dim=DIM,
    )  # fmt: skip
    torch.manual_seed(seed)
    module = AUModule(network, data.au_names, data.au_weights, lr=AUFORMER_LR)
    out = folder / f"{name}-{row}-{epochs}-{seed}"
    adapter = fit(module, data, out, epochs=epochs, seed=seed, select="last", progress=False)
    load_adapter(adapter, module.network)
    table = label_frames(read_manifest(manifests["test"]), AUS, 1)
    found = predict_manifest(module.network.eval(), table, batch_size=64)
    target, prob = table[AUS].to_numpy(np.int64), found[[f"{au}_prob" for au in AUS]].to_numpy()
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return {
        "data": name, "row": row, "seed": seed, "epochs": epochs, "trained": summary["trainable_parameters"],
        "seconds": summary["seconds"], **scores(target, prob), "counts": by_subject(table, target, prob),
    }  # fmt: skip


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of finished rows."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where data, features and trainings lie")
    parser.add_argument("--data", choices=("clips", "videos"), default="clips", help="what is rendered")
    parser.add_argument("--fast", action="store_true", help="a few subjects and epochs; only rows without AUFormer")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N")
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help="of the rows of AUFormer")
    parser.add_argument("--lines", type=Path, default=Path("experiments/results/time_runs.jsonl"), metavar="FILE")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    manifests, name = render(args.folder, args.data), f"{args.data}{'-fast' if args.fast else ''}"
    if args.fast and set(args.only) & set(AUFORMERS):
        raise SystemExit("--fast: choose rows without AUFormer by --only")
    lines: Path = args.lines.with_stem(f"{args.lines.stem}_fast") if args.fast else args.lines
    known = read_lines(lines)
    done = {(line["data"], line["row"], line["seed"], line.get("epochs")) for line in known}
    cached: dict[str, Any] = {}
    for seed in args.seeds:
        for row in args.only:
            epochs = args.epochs if row in AUFORMERS else None
            if (name, row, seed, epochs) in done:
                continue
            if row in AUFORMERS:
                line = train_auformer(row, seed, args.folder, args.data, manifests, args.epochs)
            else:
                cached = cached or {part: features(args.folder, part, manifests[part], name) for part in FIRST}
                line = train_head(row, seed, args.folder, name, cached["train"], cached["test"])
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "circumstances": circumstances()}) + "\n")
            (args.folder / f"head-{name}-{row}-{seed}.pt").unlink(missing_ok=True)
            print(f"{row} seed {seed}: F1 {line['f1']:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Fit the packaged AU detector's map head: where an action unit (AU) shows.

    python -m experiments.pretraining.fit_maps --facekit ict.npz
    python -m experiments.pretraining.fit_maps --facekit ict.npz --checkpoint runs/lab/adapter.safetensors

To be run whenever the AU detector is trained anew; changed thresholds need no new maps. The detector stays as it is,
to the bit: what its patches carry is read off once per view, then one linear map per AU is fitted to the rendered
change (`auformer.synthetic.change`) of the AUs that a face shows. The rendered faces (`maps_data`, a quarter of an hour
on one core) are kept in `--folder`; with them it takes some minutes. Writes `demo_detector.maps.safetensors` beside the
adapter file; pointing game, energy and deletion on unseen subjects with the controls, `maps.json` and `maps.md`; and a
picture, `maps.png`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from auformer.data.transforms import Strong, build_augmentation, to_float
from auformer.models import AUFormer, load_detector
from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
from auformer.models.map_head import MapHead, save_map_head
from experiments.harness import circumstances, new_parser, write_result
from experiments.pretraining.maps_data import FINE, Faces, load, render
from experiments.pretraining.maps_scores import page, picture, score

VIEWS = 2  # of each image in training: one as it is, the other changed as in the detector's training [ours]
OFTEN = {"scanned": 3}  # times that a set counts in training: these faces are fewer and vary more [ours]
DELETED = 60  # pairs of an image and an AU of which cells are wiped out
BATCH, READ = 128, 64  # images of a step, and at once through the detector
STEPS, LEARNING_RATE, DECAY, SEED = 400, 3e-3, 1e-4, 0  # [ours]


def move(faces: Faces, rng: np.random.Generator) -> Faces:
    """Every image mirrored or not, turned, scaled and shifted as strong augmentation does, and its changes with it."""
    images, changes = np.empty_like(faces.images), np.empty_like(faces.changes)
    size = faces.images.shape[1]
    for i, image in enumerate(faces.images):
        middle, shift = size / 2, rng.uniform(-Strong.shift, Strong.shift, 2) * size
        how = cv2.getRotationMatrix2D((middle, middle), rng.uniform(*Strong.rotation), rng.uniform(*Strong.scale))
        how[:, 2] += shift
        if rng.random() < 0.5:
            how = how @ np.array([[-1, 0, size], [0, 1, 0], [0, 0, 1.0]])
        images[i] = cv2.warpAffine(image, _centred(how), (size, size), borderMode=cv2.BORDER_REPLICATE)
        small = how.copy()
        small[:, 2] *= FINE / size
        layers = np.ascontiguousarray(faces.changes[i].transpose(1, 2, 0))
        warped = cv2.warpAffine(layers, _centred(small), (FINE, FINE)).reshape(FINE, FINE, -1)
        changes[i] = warped.transpose(2, 0, 1)
    return Faces(images, changes, faces.active)


def _centred(matrix: np.ndarray) -> np.ndarray:
    """A matrix between pixel corners as OpenCV wants it, between pixel centres."""
    moved = matrix.copy()
    moved[:, 2] += moved[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return moved


def change_look(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, colour, sharpness, holes as in strong augmentation; nothing moves."""
    augment = build_augmentation(images.shape[1], "strong", in_place=False)
    assert augment is not None
    return np.stack([augment(image, rng)[0] for image in images])


def on_grid(changes: np.ndarray, side: int) -> Tensor:
    """Changes (n, N, 28, 28) as the patches of a side see them: (n, N, T), each of sum 1, or of zeros."""
    cells = FINE // side
    means = changes.reshape(*changes.shape[:2], side, cells, side, cells).mean((3, 5)).reshape(*changes.shape[:2], -1)
    mass = means.sum(-1, keepdims=True)
    return torch.from_numpy(np.divide(means, mass, out=np.zeros_like(means), where=mass > 0))


def tensor(images: np.ndarray) -> Tensor:
    """Images (n, H, W, 3) uint8 as the detector takes them."""
    return torch.from_numpy(np.stack([to_float(image) for image in images]))


@torch.inference_mode()
def read(network: AUFormer, images: np.ndarray) -> Tensor:
    """What the patches of images carry: (n, T, F) float16."""
    parts = [images[start : start + READ] for start in range(0, len(images), READ)]
    return torch.cat([network.patch_features(tensor(part)).half() for part in parts])


def fit(features: Tensor, target: Tensor, usual: Tensor) -> MapHead:
    """The head that gives the targets best, by cross-entropy over the patches.

    Args:
        features: (n, T, F).
        target: (n, N, T), each of sum 1, zeros where an AU does not show and nothing is learned.
        usual: (N, T) the mean target per AU, from which the head begins.
    """
    torch.manual_seed(SEED)
    std = features[:: max(1, len(features) // 500)].float().flatten(0, 1).std(0).clamp_min(1e-4)
    weight = torch.zeros(target.shape[1], features.shape[2], requires_grad=True)
    place = (usual + 1e-3).log().requires_grad_()
    optimiser = torch.optim.AdamW([weight, place], lr=LEARNING_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(features), (BATCH,))
        logits = nn.functional.linear(features[rows].float(), weight / std).transpose(1, 2) + place
        wanted = target[rows]
        loss = -(wanted * logits.log_softmax(-1)).sum() / wanted.sum().clamp_min(1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return MapHead((weight / std).detach(), place.detach())


def train(network: AUFormer, sets: list[Faces]) -> tuple[MapHead, Tensor]:
    """The head, and the usual map per AU `(N, T)`, from the training faces."""
    rng, side = np.random.default_rng(SEED), network.grid_size[0]
    faces = Faces(*(np.concatenate(parts) for parts in zip(*sets, strict=True)))
    features, targets = [read(network, faces.images)], [on_grid(faces.changes, side)]
    usual = targets[0].sum(0) / targets[0].sum((0, 2)).clamp_min(1)[:, None]
    for _ in range(VIEWS - 1):
        moved = move(faces, rng)
        features.append(read(network, change_look(moved.images, rng)))
        targets.append(on_grid(moved.changes, side))
    return fit(torch.cat(features), torch.cat(targets), usual), usual


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--facekit", type=Path, required=True, help="ICT-FaceKit, for scanned faces")
    add("--folder", type=Path, default=Path("runs/maps"), help="of the rendered faces (default: %(default)s)")
    add("--checkpoint", default="demo", help="an AUFormer's adapter file (default: the packaged one)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    adapter = resolve_checkpoint(args.checkpoint)
    network = load_detector(adapter)
    assert isinstance(network, AUFormer)
    manifests, start = render(args.folder, args.facekit), time.perf_counter()
    sets = {name: load(path, network.au_names) for name, path in manifests["train"].items()}
    network.map_head, usual = train(network, [one for name, one in sets.items() for _ in range(OFTEN.get(name, 1))])
    save_map_head(adapter, network, network.map_head)
    seconds = time.perf_counter() - start
    tests = {name: load(path, network.au_names) for name, path in manifests["test"].items()}
    rng = np.random.default_rng(SEED + 1)
    moved = {f"{name}, moved": move(faces, rng) for name, faces in tests.items()}
    result: dict[str, Any] = {
        "command": "python -m experiments.pretraining.fit_maps --facekit ict.npz",
        "training_images": sum(len(one.images) for one in sets.values()), "views": VIEWS, "steps": STEPS,
        "seconds": round(seconds), "parameters": network.map_head.weight.numel() + network.map_head.place.numel(),
        **circumstances("torch"),
        "sets": {
            **{name: score(network, faces, usual, deleted=DELETED) for name, faces in tests.items()},
            **{name: score(network, faces, usual) for name, faces in moved.items()},
        },
    }  # fmt: skip
    if adapter == DEMO_DETECTOR:
        write_result(args.out, "maps", result, page(result))
        cv2.imwrite(str(args.out / "maps.png"), picture(network, tests, usual))
    print(page(result))
    return result


if __name__ == "__main__":
    main()

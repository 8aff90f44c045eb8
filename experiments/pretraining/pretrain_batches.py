"""What the demo backbone is pre-trained on: rendered images and dense targets in batches, augmented, and the loss of each channel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Weights of the channels [ours]: lids, lips and movement decide about AUs; furrows are the hardest to see.
WEIGHTS = {
    "face": 0.3, "hair": 0.3, "brow": 1.5, "eye": 1.5, "iris": 0.7, "upper_lip": 2.0, "lower_lip": 2.0, "opening": 1.0, "teeth": 0.5,
    "template_x": 0.5, "template_y": 0.5, "move_x": 3.0, "move_y": 3.0, "bulge": 2.5, "furrow": 3.0,
}  # fmt: skip
MIRRORED = ("template_x", "move_x")  # channels whose sign changes when the picture is flipped
HELD_OUT = 3000  # images of the last identities


class Data:
    """Memory-mapped images and targets, standardisation, and the loss of a constant prediction.

    Args:
        folder: Written by `pretrain_data.py`.
        channels: Targets to learn; None: all that are there.
    """

    def __init__(self, folder: Path, channels: list[str] | None = None) -> None:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        n, size, cells, c = meta["images"], meta["size"], meta["cells"], len(meta["channels"])
        self.channels: list[str] = [name for name in meta["channels"] if channels is None or name in channels]
        self.columns = [meta["channels"].index(name) for name in self.channels]
        self.images = np.memmap(folder / "images.u8", np.uint8, "r", shape=(n, size, size, 3))
        self.targets = np.memmap(folder / "targets.f16", np.float16, "r", shape=(n, cells, cells, c))
        self.num_training = n - HELD_OUT
        self.held_out = np.arange(self.num_training, n)[::6]
        sample = self._chosen(slice(0, self.num_training, max(1, n // 1500))).reshape(-1, len(self.columns))
        self.mean, self.std = sample.mean(0), sample.std(0)
        self.constant = huber((sample - self.mean) / self.std).mean(0)
        weights = torch.tensor([WEIGHTS[name] for name in self.channels])
        self.weights = weights / weights.sum()
        self.sign = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in self.channels])

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images `(B, 3, H, W)` and raw targets `(B, G, G, C)` of sorted rows; augmented when `rng` is given."""
        x = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2).float().div_(255).sub_(0.45).div_(0.25)
        t = self._chosen(rows)
        if rng is not None:
            x, t = self._augment(x, t, rng)
        return x.contiguous(memory_format=torch.channels_last), t

    def _chosen(self, rows: np.ndarray | slice) -> Tensor:
        """The chosen channels of some rows, `(B, G, G, C)`; the rows first, since choosing channels copies."""
        some = self.targets[rows]
        return torch.from_numpy((some if len(self.columns) == some.shape[-1] else some[..., self.columns]).astype(np.float32))

    def _augment(self, x: Tensor, t: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Flip, gain, offset, colour cast; a quarter blurred, a quarter noisy, an eighth grey."""

        def normal(sd: float, *shape: int) -> Tensor:
            return torch.from_numpy(rng.normal(0, sd, shape)).float()

        n = len(x)
        if rng.random() < 0.5:
            x, t = x.flip(3), t.flip(2) * self.sign
        x = x * normal(0.2, n, 1, 1, 1).exp() + normal(0.15, n, 1, 1, 1) + normal(0.08, n, 3, 1, 1)
        order, k = torch.from_numpy(rng.permutation(n)), n // 4
        x[order[:k]] = F.avg_pool2d(x[order[:k]], 3, 1, 1)
        x[order[k : 2 * k]] += torch.from_numpy(rng.standard_normal((k, *x.shape[1:]), np.float32)) * 0.08
        grey = order[2 * k : 2 * k + k // 2]
        x[grey] = x[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
        return x, t

    def losses(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss per channel `(C,)`; 1 is a constant prediction."""
        return huber(prediction.float() - (target - self.mean) / self.std).mean((0, 1, 2)) / self.constant


def huber(error: Tensor) -> Tensor:
    """Smooth L1 with its knee at 1."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")

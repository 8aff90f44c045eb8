"""Windows of consecutive rows, and pairs of views of one row, as items for the networks that learn from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from auformer.data.dataset import AUDataset
from auformer.data.windows import evaluation_windows, training_window


class ClipDataset(Dataset):
    """Clips of a manifest with their labels.

    Items are dictionaries as of `AUDataset`, each value with a first dimension of `T` frames: `image (T, 3, H, W)`,
    `label (T, N)`, `index (T,)`. Rows that pad a short window have the label -1, no intensity (NaN) and the index -1.

    In training an item is a window that begins anywhere in its chunk, a function of (seed, epoch, chunk); it is asked
    for by its chunk, or by `(chunk, epoch)`. Augmentation is drawn once per window: its frames meet the same crop,
    flip, colours and noise. In evaluation an item is a window of `evaluation_windows`.

    Args:
        rows: The rows, with the augmentation where there is one.
        runs: Places of the rows of each run, of each chunk of a run in training.
        length: Frames `T` of a window.
        training: Draw windows anew in each epoch.
        step: In evaluation, rows from one window to the next; `length` by default.
    """

    def __init__(
        self, rows: AUDataset, runs: list[np.ndarray], length: int, *, training: bool = False, step: int | None = None
    ) -> None:
        self.rows, self.runs, self.length, self.training = rows, runs, length, training
        self.windows, self.counts = evaluation_windows([] if training else runs, length, step)

    def __len__(self) -> int:
        return len(self.runs) if self.training else len(self.windows)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        number, epoch = index if isinstance(index, tuple) else (index, 0)
        if self.training:
            places, counts = self.window(number, epoch)
        else:
            places, counts = self.windows[number], self.counts[number]
        return self._stack(places, counts, [self.rows.seed, epoch, number])

    def window(self, chunk: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the rows of a training window `(T,)`, and which of them are no padding `(T,)`."""
        return training_window(self.runs[chunk], self.length, np.random.default_rng([self.rows.seed, epoch, chunk, 1]))

    def by_row(self, values: np.ndarray) -> np.ndarray:
        """Values of the windows' places, window after window `(W T, K)`, by the row that they are of `(rows, K)`."""
        found = np.full((len(self.rows), values.shape[1]), np.nan)
        found[self.windows[self.counts]] = values.reshape(*self.windows.shape, -1)[self.counts]
        return found

    def _stack(self, places: np.ndarray, counts: np.ndarray, seed: list[int]) -> dict[str, Any]:
        """The items of the rows under each other; a row that is there several times is read once."""
        self.rows.read_ahead(places.tolist())
        known = {place: self.rows.item(place, np.random.default_rng(seed)) for place in set(places.tolist())}
        items = [known[place] for place in places.tolist()]
        stacked = {
            name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in items[0] if name != "index"
        }
        real = torch.from_numpy(counts)
        for name, nothing in (("label", -1), ("sides", -1), ("intensity", torch.nan)):
            if name in stacked:
                stacked[name][~real] = nothing
        stacked["index"] = torch.where(real, torch.from_numpy(places), -1)
        return stacked


class TwoViews(Dataset):
    """Two views of each row, whose augmentations are drawn by themselves: functions of (seed, epoch, row, view).

    Items are those of `AUDataset`, but `image (2, 3, H, W)`.
    """

    def __init__(self, rows: AUDataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        row, epoch = index if isinstance(index, tuple) else (index, 0)
        self.rows.read_ahead([row])
        views = [self.rows.item(row, np.random.default_rng([self.rows.seed, epoch, row, view])) for view in (0, 1)]
        return {**views[0], "image": torch.stack([view["image"] for view in views])}

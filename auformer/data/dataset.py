"""Rows of one or several manifests -> image, labels, index."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from auformer.data.clips import COMPOSE, FRAMES, compose
from auformer.data.films import check_films, film_frames
from auformer.data.images import read_image
from auformer.data.manifest import MANIFEST, ROW
from auformer.data.schema import SIDES, require_columns, row_name
from auformer.data.transforms import image_shape, resize, to_float
from auformer.data.views import ReleasedAugmentation, read_shape, see
from auformer.errors import ManifestError

Transform = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, bool]]


class AUDataset(Dataset):
    """Faces of a manifest with their labels.

    Items are dictionaries: `image` float32 `(3, H, W)` in [0, 1], `label` int64 `(N,)` of 1, 0, -1, `index` the row's
    place in `frame`, and, where the frame has labels per side, `sides` int64 `(N, 2)`, the person's left and right as
    they appear in the image: a flip swaps them. Where the frame has intensities, also `intensity` float32 `(N,)` of 0
    to 5, NaN where not coded; they are of the whole face, so a flip leaves them. An item is asked for by its row, or by
    `(row, epoch)`.

    Rows without a column `image` may name a video in `file`, of which each is the frame with its number: its frames are
    face crops. Items that are asked for together, as a loader does and as the windows of `ClipDataset` are, are read in
    one pass over each file, and are all that is kept.

    Args:
        frame: Rows whose `status` is `ok`, as `read_manifest`, `join_manifests` or `clip_rows` gives them.
        root: Folder of the manifest; None for joined manifests, whose rows know theirs.
        au_names: Action units, in the order of the labels; those without a column are not annotated.
        image_size: Side, or height and width `(H, W)`, in pixels.
        transform: Training augmentation `(image, rng) -> (image, flipped)` on uint8 `(H, W, 3)`; None: only the resize.
        seed: Of the augmentation, whose draws are a function of (seed, epoch, row).
        view: What is seen of an image: `whole`, or its `centre`, see `auformer.data.views`.

    Raises:
        ManifestError: There is no column `image` or `file`, or a row is not `ok`.
    """

    def __init__(
        self, frame: pd.DataFrame, root: str | os.PathLike[str] | None, au_names: Sequence[str],
        image_size: int | Sequence[int], transform: Transform | None = None, *, seed: int = 0, view: str = "whole",
    ) -> None:  # fmt: skip
        where = str(frame.attrs.get("path", "manifest" if root is None else root))
        films = "image" not in frame.columns and "file" in frame.columns
        require_columns(frame, ["file"] if films else ["image"], where, "a data set of images")
        if "status" in frame.columns and bool((frame["status"] != "ok").any()):
            raise ManifestError(
                f"{where}: expected rows whose `status` is `ok`, but got others; leave them out, they have no image"
            )
        self.au_names = tuple(au_names)
        self.image_size = image_shape(image_size)
        self.transform = transform
        self.seed, self.view = seed, view
        self.labels = _labels(frame, self.au_names)
        named = [f"{au}_{side}" for au in self.au_names for side in SIDES]
        self.sides = _labels(frame, named).reshape(len(frame), -1, 2) if set(named) & set(frame.columns) else None
        self.intensities = _intensities(frame, self.au_names)
        self.sources, self.codes, self.rows = _origins(frame, where)
        self.images = check_films(frame["file"], where) if films else frame["image"].tolist()
        self.numbers = frame["frame"].tolist() if films else None  # of frames, where `images` are videos
        self._ahead: dict[int, np.ndarray] = {}  # frames of videos that were read together, by row
        self.further = frame[FRAMES].tolist() if FRAMES in frame.columns else None  # of clips: images beside the apex
        self.compose = frame[COMPOSE].tolist() if FRAMES in frame.columns else None
        self.root = None if root is None else os.fspath(root)

    def __len__(self) -> int:
        return len(self.images)

    def source(self, row: int) -> str:
        """The manifest that a row is from."""
        return self.sources[self.codes[row]]

    def path(self, row: int) -> str:
        """Where the image of a row lies."""
        return os.path.join(self._root(row), self.images[row])

    def _root(self, row: int) -> str:
        return self.root if self.root is not None else os.path.dirname(self.source(row))

    def read_ahead(self, rows: Sequence[int]) -> None:
        """Read rows that will be asked for next; of videos in one pass over each file, of images nothing is done."""
        if self.numbers is None:
            return
        by_file: dict[str, list[int]] = {}
        for row in dict.fromkeys(rows):
            by_file.setdefault(self.path(row), []).append(row)
        self._ahead = {}
        for path, own in by_file.items():
            try:
                found = film_frames(path, (self.numbers[row] for row in own))
            except ValueError:
                continue  # reported by the row that it belongs to
            self._ahead |= {row: self._view(found[self.numbers[row]]) for row in own}

    def __getitems__(self, indices: Sequence[int | tuple[int, int]]) -> list[dict[str, Any]]:
        """Items of a batch, for loaders."""
        self.read_ahead([index[0] if isinstance(index, tuple) else index for index in indices])
        return [self[index] for index in indices]

    def _read(self, row: int) -> np.ndarray:
        """The image of a row, of a clip combined, in the size of the data set."""
        if self.numbers is not None:
            if row not in self._ahead:
                self._ahead = {row: self._view(film_frames(self.path(row), [self.numbers[row]])[self.numbers[row]])}
            return self._ahead[row]
        image = self._view(read_image(self.path(row)))
        if self.further is None or self.compose is None:
            return image
        others = [self._view(read_image(os.path.join(self._root(row), name))) for name in self.further[row]]
        return compose(self.compose[row], [image, *others])

    def _view(self, image: np.ndarray) -> np.ndarray:
        """An image in the size of the data set; with a released augmentation, larger by the margin that it crops."""
        if isinstance(self.transform, ReleasedAugmentation):
            return resize(image, read_shape(self.image_size))
        return see(image, self.image_size, self.view)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        row, epoch = index if isinstance(index, tuple) else (index, 0)
        return self.item(row, np.random.default_rng([self.seed, epoch, row]))

    def item(self, row: int, rng: np.random.Generator) -> dict[str, Any]:
        """The item of a row, every draw of its augmentation from `rng`."""
        try:
            image, flipped = self._read(row), False
        except ValueError as error:
            raise ManifestError(f"{self.source(row)}, {row_name(int(self.rows[row]))}: {error}") from error
        if self.transform is not None:
            image, flipped = self.transform(image, rng)
        item = {
            "image": torch.from_numpy(to_float(image)),
            "label": torch.from_numpy(self.labels[row].astype(np.int64)),
            "index": row,
        }
        if self.sides is not None:
            sides = self.sides[row].astype(np.int64)
            item["sides"] = torch.from_numpy(sides[:, ::-1].copy() if flipped else sides)
        if self.intensities is not None:
            item["intensity"] = torch.from_numpy(self.intensities[row])
        if self.transform is not None:
            item["flipped"] = flipped
        return item


def _origins(frame: pd.DataFrame, where: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Manifests that rows are from, which one each row is from.

    Its number there (the index of an unjoined manifest).
    """
    if MANIFEST in frame.columns:
        manifests = pd.Categorical(frame[MANIFEST])
        return manifests.categories.tolist(), np.asarray(manifests.codes), frame[ROW].to_numpy()
    numbered = pd.api.types.is_integer_dtype(frame.index.dtype)
    return [where], np.zeros(len(frame), np.int8), frame.index.to_numpy() if numbered else np.arange(len(frame))


def _labels(frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Label columns as int8 `(rows, columns)`, -1 where there is none."""
    none = np.full(len(frame), -1, np.int8)
    return np.stack([frame[name].to_numpy(np.int8) if name in frame.columns else none for name in names], axis=1)


def _intensities(frame: pd.DataFrame, au_names: Sequence[str]) -> np.ndarray | None:
    """Intensity columns as float32 `(rows, N)`, NaN where there is none; None where no AU has one."""
    names = [f"{au}_intensity" for au in au_names]
    if not set(names) & set(frame.columns):
        return None
    none = np.full(len(frame), np.nan, np.float32)
    columns = [frame[name].to_numpy(np.float32) if name in frame.columns else none for name in names]
    return np.stack(columns, axis=1)

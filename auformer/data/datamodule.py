"""Manifests and a fold -> loaders, action units and their weights."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from auformer.aus import parse_au_names
from auformer.data.clip_dataset import ClipDataset, TwoViews
from auformer.data.clips import clip_rows, parse_clip_input
from auformer.data.dataset import AUDataset
from auformer.data.manifest import au_columns, join_manifests
from auformer.data.samplers import OrderedSampler, ShuffledSampler, even_batch_size
from auformer.data.splits import (
    check_disjoint,
    count_labels,
    cut_fold,
    cut_subjects,
    cut_validation,
    nested_subset,
    trainable_aus,
    usable_rows,
    with_label_noise,
)
from auformer.data.transforms import build_augmentation, image_shape
from auformer.data.views import AUGMENTATIONS, VIEWS, ReleasedAugmentation
from auformer.data.windows import check_runs, cut_chunks, find_runs, label_frames, window_subset
from auformer.losses import au_weights

STATISTICS_IMAGES = 2048  # enough for means and standard deviations of features to within a few per cent [ours]


class AUDataModule(pl.LightningDataModule):
    """Training, validation and test rows of manifests.

    The manifests are read and checked on construction, so that a fault shows before anything is built on them. No
    person is in two splits. Order and augmentation of training rows are functions of (seed, epoch, row): workers, ranks
    and resuming change nothing. Batches are dictionaries as of `AUDataset`.

    Args:
        train: Manifest or manifests to train on.
        val: Manifest or manifests to validate on; without it, some of the training subjects are held out.
        test: Manifest or manifests to test on.
        au_names: Action units: a set's name (`bp4d`), names with commas, or a list; without it, all that the manifests
            have (those of `train` where there is one), by number.
        val_fraction: Fraction of the training subjects that becomes the validation split where `val` is not given; 0:
            none.
        fold: Fold to test on: the rows whose column `fold` has this name; the other rows of `train` are trained on.
        test_subjects: Subjects to test on, like `casme2/sub01`: cut out of `train`, as `fold` is.
        subset: Train on a random subset of the training rows: a number of rows (1: one), or a fraction (1.0: all).
            Smaller ones of one seed lie in larger ones. Validation and test splits stay whole.
        clip_input: Of manifests of clips: `frames` takes every row by itself; `apex`, `difference` (apex minus onset)
            and `mean:K` (the K frames nearest the apex) make one sample of each clip. For a network that sees clips,
            `mean:K` trains on all frames, and benchmarks score the mean of their K probabilities.
        clip_length: Frames of a clip, as of the network; 1: single images. Clips are cut from consecutive rows of one
            face, see `auformer.data.windows`.
        chunk_rows: Rows per training clip and epoch: runs of consecutive rows are cut into chunks of at most so many.
            None: one clip per run and epoch.
        frame_labels: Label each frame by its own intensity, present from this level on; None: the labels that are
            there.
        views: 2: two views of each image, for contrastive training.
        image_size: Side, or height and width, in pixels.
        batch_size: Rows, or clips, per batch and process.
        num_workers: Processes that load images; 0: none but this one.
        augment: `default`, `strong` or `none`; `mdhr` and `aunce` are those of the released codes.
        view: What of an image is validated, tested and measured: the `whole`, or its `centre`, as large as the released
            augmentations show faces.
        label_noise: Probability of flipping a training label, for studies of wrong annotations. Validation and test
            labels stay.
        leave_out_missing: Leave out action units that are active in no training row, instead of refusing them.
        seed: Of the held-out subjects, the subset, the order, the augmentation and the label noise.

    Attributes:
        au_names (list[str]): Action units, in the order of the labels.
        labelled (list[str]): Action units asked for, those left out among them.
        au_weights (list[float]): Their weights from the training rows of the run (1 each without training rows).
        intensity_aus (list[str]): Those of `au_names` with an intensity above 0 in a training row, see `AUDataset`.
        splits (dict[str, pandas.DataFrame]): Rows of `train`, `val` and `test`, as far as there are any.

    Raises:
        ManifestError: A manifest is not as it should be, a split is empty, a person is in two splits, or an AU is never
            active.
        ValueError: An argument is out of range, or arguments contradict each other.
    """

    def __init__(
        self, train: str | list[str] | None = None, val: str | list[str] | None = None,
        test: str | list[str] | None = None, *, au_names: str | list[str] | None = None, val_fraction: float = 0.2,
        fold: str | None = None, test_subjects: list[str] | None = None, subset: int | float | None = None,
        clip_input: str = "frames", clip_length: int = 1, chunk_rows: int | None = None,
        frame_labels: float | None = None, views: int = 1, image_size: int | list[int] = 112, batch_size: int = 16,
        num_workers: int = 0, augment: str = "default", view: str = "whole", label_noise: float = 0.0,
        leave_out_missing: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if batch_size < 1 or num_workers < 0 or seed < 0:
            got = f"{batch_size}, {num_workers}, {seed}"
            raise ValueError(f"Expected `batch_size` >= 1, `num_workers` >= 0 and `seed` >= 0, but got {got}")
        _check_clip_options(clip_input, clip_length, chunk_rows, views, view)
        self.clip_length, self.chunk_rows, self.views, self.view = clip_length, chunk_rows, views, view
        self.image_size = image_shape(image_size)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.next_epoch = 0  # where training begins; a run that is resumed begins later
        self.augmentation = _augmentation(self.image_size, augment)
        self.splits = _read_splits(
            {"train": train, "val": val, "test": test}, fold=fold, test_subjects=test_subjects,
            clip_input=clip_input if clip_length == 1 else "frames", val_fraction=val_fraction, seed=seed,
        )  # fmt: skip
        rows = self.splits.get("train")
        self.labelled = wanted = _wanted_aus(self.splits, au_names)
        if frame_labels is not None:
            self.splits = {name: label_frames(split, wanted, frame_labels) for name, split in self.splits.items()}
            rows = self.splits.get("train")
        if rows is None:
            self.au_names, self.au_weights, self.intensity_aus = wanted, [1.0] * len(wanted), []
            return
        if subset is not None:
            chosen = nested_subset if clip_length == 1 else partial(window_subset, length=clip_length)
            rows = chosen(rows, subset, seed=seed)
        self.au_names = trainable_aus(rows, wanted, leave_out_missing=leave_out_missing)
        rows = with_label_noise(rows, self.au_names, label_noise, seed)
        weights = au_weights(*count_labels(rows, self.au_names), au_names=self.au_names)
        self.au_weights = [float(weight) for weight in weights]
        coded = {au: rows.get(f"{au}_intensity") for au in self.au_names}
        self.intensity_aus = [au for au, column in coded.items() if column is not None and bool((column > 0).any())]
        self.splits["train"] = rows

    def _dataset(self, split: str) -> AUDataset:
        """The rows of a split as they are, without augmentation."""
        if split not in self.splits:
            has = ", ".join(self.splits)
            raise ValueError(f"Expected a `{split}` split, but the data module has {has}; name a manifest for it")
        return AUDataset(self.splits[split], None, self.au_names, self.image_size, seed=self.seed, view=self.view)

    def _runs(self, split: str) -> list[np.ndarray]:
        """The runs of consecutive rows of a split."""
        runs = find_runs(self.splits[split])
        check_runs(runs, self.clip_length, f"the split `{split}`")
        return runs

    def _evaluated(self, split: str) -> AUDataset | ClipDataset:
        """The rows of a split, or windows that cover them."""
        dataset = self._dataset(split)
        return dataset if self.clip_length == 1 else ClipDataset(dataset, self._runs(split), self.clip_length)

    @cached_property
    def train_dataset(self) -> AUDataset | ClipDataset | TwoViews:
        """Training rows, clips or pairs of views, with augmentation."""
        dataset = self._dataset("train")
        dataset.transform = self.augmentation
        if self.views == 2:
            return TwoViews(dataset)
        if self.clip_length == 1:
            return dataset
        return ClipDataset(dataset, cut_chunks(self._runs("train"), self.chunk_rows), self.clip_length, training=True)

    @cached_property
    def val_dataset(self) -> AUDataset | ClipDataset:
        """Validation rows, or windows that cover them."""
        return self._evaluated("val")

    @cached_property
    def test_dataset(self) -> AUDataset | ClipDataset:
        """Test rows, or windows that cover them."""
        return self._evaluated("test")

    def train_dataloader(self) -> DataLoader:
        """Training rows in an order of their own in each epoch."""
        rank, num_ranks = self._ranks()
        sampler = ShuffledSampler(self.train_dataset, seed=self.seed, rank=rank, num_ranks=num_ranks)
        # Lightning sets the sampler's epoch only after worker processes have fetched the first rows.
        sampler.set_epoch(self.next_epoch)
        return self._loader(self.train_dataset, sampler, self.batch_size)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Validation rows in their order, every row once over all processes; none where there is no such split."""
        return self._ordered_loader(self.val_dataset) if "val" in self.splits else []

    def test_dataloader(self) -> DataLoader:
        """Test rows in their order, every row once over all processes."""
        return self._ordered_loader(self.test_dataset)

    def setup(self, stage: str) -> None:
        """A run begins with epoch 0 unless its checkpoint says otherwise."""
        self.next_epoch = 0

    def state_dict(self) -> dict[str, int]:
        """What a run checkpoint, written at the end of an epoch, keeps of the data: the epoch to resume with."""
        return {"next_epoch": 0 if self.trainer is None else self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Resume with the epoch that a run checkpoint names."""
        self.next_epoch = int(state_dict["next_epoch"])

    def statistics_dataloader(self) -> DataLoader:
        """Up to 2,048 training images, the same in the same order on every process, without augmentation."""
        rows = self.splits["train"] if "train" in self.splits else self._dataset("train")
        chosen = nested_subset(rows, min(STATISTICS_IMAGES, len(rows)), self.seed)
        dataset = AUDataset(chosen, None, self.au_names, self.image_size, view=self.view)
        return self._loader(dataset, OrderedSampler(dataset), self.batch_size)

    def _ordered_loader(self, dataset: AUDataset | ClipDataset) -> DataLoader:
        """A loader over this process's share of the rows."""
        rank, num_ranks = self._ranks()
        sampler = OrderedSampler(dataset, rank=rank, num_ranks=num_ranks)
        return self._loader(dataset, sampler, even_batch_size(len(dataset), num_ranks, self.batch_size))

    def _ranks(self) -> tuple[int, int]:
        """Number of this process and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _loader(self, dataset: Any, sampler: OrderedSampler | ShuffledSampler, batch_size: int) -> DataLoader:
        """A loader that takes nothing from the global random state."""
        return DataLoader(
            dataset, batch_size=batch_size, sampler=sampler, num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0, pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),
        )  # fmt: skip


def _read_splits(
    named: dict[str, str | list[str] | None], *, fold: str | None, test_subjects: list[str] | None, clip_input: str,
    val_fraction: float, seed: int,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """The usable rows of each split; no person is in two."""
    if not any(named.values()):
        raise ValueError("Expected `train`, `val` or `test` to name a manifest, but got none")
    for name, cut in (("fold", fold), ("test_subjects", test_subjects)):
        if cut is not None and (named["train"] is None or named["test"] is not None):
            told = "it cuts the test split out of the training rows"
            raise ValueError(f"Expected `{name}` together with `train` and without `test`: {told}")
    if fold is not None and test_subjects is not None:
        raise ValueError("Expected either `fold` or `test_subjects`, but got both")
    splits = {split: join_manifests(paths) for split, paths in named.items() if paths is not None}
    if fold is not None:
        splits["train"], splits["test"] = cut_fold(splits["train"], fold)
    elif test_subjects is not None:
        splits["train"], splits["test"] = cut_subjects(splits["train"], test_subjects)
    splits = {split: clip_rows(usable_rows(rows, split), clip_input) for split, rows in splits.items()}
    if "train" in splits and named["val"] is None:
        splits["train"], held_out = cut_validation(splits["train"], val_fraction, seed)
        splits.update({} if held_out is None else {"val": held_out})
    check_disjoint(splits)
    return splits


def _augmentation(image_size: tuple[int, int], kind: str) -> Any:
    """The training augmentation of a name, None for `none`."""
    return ReleasedAugmentation(image_size, kind) if kind in AUGMENTATIONS else build_augmentation(image_size, kind)


def _check_clip_options(clip_input: str, clip_length: int, chunk_rows: int | None, views: int, view: str) -> None:
    """Refuse options that contradict each other."""
    if clip_length < 1 or views not in (1, 2) or view not in VIEWS or (chunk_rows is not None and chunk_rows < 2):
        got = f"{clip_length}, {views}, {view!r} and {chunk_rows}"
        wanted = f"`clip_length` >= 1, `views` 1 or 2, `view` {' or '.join(VIEWS)} and `chunk_rows` >= 2 or none"
        raise ValueError(f"Expected {wanted}, but got {got}")
    if clip_length == 1 and chunk_rows is not None:
        raise ValueError(f"Expected `chunk_rows` together with a `clip_length` above 1, but got {chunk_rows} alone")
    if clip_length > 1 and (views == 2 or parse_clip_input(clip_input)[0] not in ("frames", "mean")):
        raise ValueError(
            f"Expected `clip_input` frames or mean:K, and one view, for clips of {clip_length} frames, but got "
            f"{clip_input!r} and {views}"
        )


def _wanted_aus(splits: dict[str, pd.DataFrame], au_names: str | list[str] | None) -> list[str]:
    """Action units asked for, or all that the training rows (else the others) have columns for."""
    if au_names is not None:
        return list(parse_au_names(au_names))
    sources = [splits["train"]] if "train" in splits else list(splits.values())
    found = sorted({au for rows in sources for au in au_columns(rows)}, key=lambda au: int(au[2:]))
    if not found:
        todo = "name `au_names` or add labels"
        raise ValueError(f"Expected the manifests to have label columns such as `AU12`, but they have none; {todo}")
    return found

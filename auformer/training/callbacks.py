"""What happens around the epochs of a run: checkpoints, early stopping, metrics.csv, one progress bar."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ProgressBar
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from auformer.files import atomic_path
from auformer.models.checkpoints import read_run_checkpoint
from auformer.training.module import AUModule
from auformer.training.run_folder import RunFolder
from auformer.training.scores import tune_thresholds


class RunCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a full disk leaves the old checkpoint whole; reads safely."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one checkpoint; after an `OSError` the old file is still there."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read one checkpoint; `weights_only` is always on, see `auformer.models.checkpoints.read_run_checkpoint`."""
        return read_run_checkpoint(Path(path), map_location)


FIRST = ("epoch", "step")


class MetricsTable(Logger):
    """A logger that keeps one row per epoch in a CSV file.

    Lightning's own CSVLogger deletes the rows of before when a run is resumed, and spreads one epoch over several rows.
    Here an epoch that is run again after an interruption replaces its row, and rows of a file that is there are kept.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    @cached_property
    def rows(self) -> dict[int, dict[str, Any]]:
        """Rows by epoch; read from the file with the first figure, when a folder has been cleared for a new run."""
        if not self.path.is_file():
            return {}
        with self.path.open(encoding="utf-8", newline="") as file:
            return {
                int(row["epoch"]): {key: value for key, value in row.items() if value != ""}
                for row in csv.DictReader(file)
            }

    @property
    def name(self) -> str:
        """Name for Lightning: the file's."""
        return self.path.stem

    @property
    def version(self) -> str:
        """There is one version."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the file."""
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take figures by name, `epoch` (from 0) among them, into the row of their epoch."""
        epoch = int(metrics.get("epoch", 0))
        row = self.rows.setdefault(epoch, {"epoch": epoch})
        row.update({key: float(value) for key, value in metrics.items() if key != "epoch"})
        if step is not None:
            row["step"] = int(step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration lies beside the table in full."""

    @rank_zero_only
    def save(self) -> None:
        """Write the table."""
        if not self.rows:
            return
        keys = sorted({key for row in self.rows.values() for key in row} - set(FIRST))
        with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*FIRST, *keys], restval="")
            writer.writeheader()
            writer.writerows(self.rows[epoch] for epoch in sorted(self.rows))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table at the end of a run, whatever its end was."""
        self.save()


MONITOR = "val/f1"  # mean F1 at 0.5 of the prediction on the validation split
Writer = Callable[[AUModule, dict[str, Any]], None]


class RunCheckpoints(Checkpoint):
    """Writes `last.ckpt` after every epoch, and `best.ckpt` and the adapter file when the validation score rises.

    Lightning's ModelCheckpoint keeps absolute paths in its state and forgets the best score when a run folder has
    moved; here the state is the score and its epoch.

    Args:
        folder: The run folder.
        write_adapter: Writes the adapter file of a module, given how its epoch was chosen.
        select: `best`: the epoch with the highest score; `last`: the last one, without `best.ckpt`.
        tune: Choose a decision threshold per AU on the validation split, in the chosen epoch.
    """

    def __init__(self, folder: RunFolder, write_adapter: Writer, *, select: str = "best", tune: bool = False) -> None:
        if select not in ("best", "last"):
            raise ValueError(f"Expected `select` to be 'best' or 'last', but got {select!r}")
        self.folder, self.write_adapter, self.select, self.tune = folder, write_adapter, select, tune
        self.score, self.epoch = -math.inf, 0
        self._before, self._started = 0.0, time.monotonic()

    def seconds(self) -> float:
        """Time spent on finished epochs, over all stretches of an interrupted run."""
        return self._before + time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Score and number of the chosen epoch, and the time so far."""
        return {"score": self.score, "epoch": self.epoch, "seconds": self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a checkpoint."""
        self.score, self.epoch = float(state_dict["score"]), int(state_dict["epoch"])
        self._before = float(state_dict["seconds"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a run that begins from another folder's checkpoint chooses among its own epochs."""
        self._started = time.monotonic()
        if not self.folder.adapter.is_file():
            self.score, self.epoch = -math.inf, 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what this epoch calls for; the score is the same on all ranks."""
        assert isinstance(pl_module, AUModule)
        epoch = trainer.current_epoch + 1
        batches = trainer.num_val_batches
        any_rows = sum(batches if isinstance(batches, list) else [batches]) > 0
        validated = any_rows and epoch % (trainer.check_val_every_n_epoch or 1) == 0
        score = float(trainer.callback_metrics[MONITOR]) if validated else -math.inf
        if self.select == "last" or (validated and score > self.score):
            self.score, self.epoch = score, epoch
            if self.tune and validated:
                rows = pl_module.validation_rows
                pl_module.network.thresholds = tune_thresholds(**rows, au_names=pl_module.network.au_names)
            if self.select == "best":
                trainer.save_checkpoint(self.folder.best)
            if trainer.is_global_zero:
                self.write_adapter(pl_module, self.selection(trainer))
        trainer.save_checkpoint(self.folder.last)

    def selection(self, trainer: pl.Trainer) -> dict[str, Any]:
        """How the epoch of the adapter file was chosen, in plain values."""
        return {
            "epoch": self.epoch,
            "epochs": trainer.max_epochs,
            "rule": self.select,
            "score": self.score if math.isfinite(self.score) else None,
            "monitor": f"{MONITOR} on the validation split" if self.select == "best" else None,
            "thresholds": "highest F1 on the validation split" if self.tune else "0.5",
        }


class PatientStopping(EarlyStopping):
    """Lightning's early stopping on the validation score; out of patience, a resumed run stops at once."""

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"Expected `patience` to be at least 1, but got {patience}")
        super().__init__(MONITOR, patience=patience, mode="max", check_on_train_epoch_end=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop before the first epoch where the checkpoint says so."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class RunBar(ProgressBar):
    """One bar over all optimiser steps of the run, with the validation score beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm | None = None
        self.enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls it on all ranks but the first."""
        self.enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar, as far as a resumed run has come already."""
        if self.enabled:
            steps = int(trainer.num_training_batches)
            interval = 0.2 if sys.stderr.isatty() else 30.0  # a log file gets a line now and then, not one per step
            total, done = steps * (trainer.max_epochs or 1), steps * trainer.current_epoch
            self.bar = tqdm(
                total=total, initial=done, desc="training", unit="step", mininterval=interval, dynamic_ncols=True
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step further."""
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show epoch and score."""
        if self.bar is not None:
            shown = {"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}"}
            if MONITOR in trainer.callback_metrics:
                shown["val F1"] = f"{float(trainer.callback_metrics[MONITOR]):.3f}"
            self.bar.set_postfix(shown, refresh=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message starts on a line of its own."""
        self.on_train_end(trainer, pl_module)

"""`metrics.csv`: every logged figure, one row per epoch, kept over interruptions."""

from __future__ import annotations

import csv
from argparse import Namespace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from auformer.files import atomic_path

FIRST = ("epoch", "step")


class MetricsTable(Logger):
    """A logger that keeps one row per epoch in a CSV file.

    Lightning's own CSVLogger deletes the rows of before when a run is resumed, and spreads one epoch over several rows. Here an epoch that
    is run again after an interruption replaces its row.

    Args:
        path: The file; if it is there, its rows are kept.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    @cached_property
    def rows(self) -> dict[int, dict[str, Any]]:
        """Rows by epoch; those of the file are read when the first figure comes, after a folder has been cleared for a new run."""
        if not self.path.is_file():
            return {}
        with self.path.open(encoding="utf-8", newline="") as file:
            return {int(row["epoch"]): {key: value for key, value in row.items() if value != ""} for row in csv.DictReader(file)}

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
        """Take figures into the row of their epoch (the first one is 0).

        Args:
            metrics: Figures by name, `epoch` among them.
            step: Optimiser steps so far.
        """
        figures = {key: float(value) for key, value in metrics.items() if key != "epoch"}
        epoch = int(metrics.get("epoch", 0))
        row = self.rows.setdefault(epoch, {"epoch": epoch})
        row.update(figures)
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

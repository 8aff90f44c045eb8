"""A run folder: which files it holds, whether it is new, unfinished or finished, and whose configuration it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auformer.files import write_json
from auformer.workspace import Workspace, differences

NO_NUMBER = ("model.init_args.network.init_args.recompute",)  # it changes no number: another one may resume a run


class RunFolder:
    """The files of one training run.

    Args:
        path: The folder, usually `runs/NAME`.

    Attributes:
        adapter: What people share: the adapter file of the chosen epoch.
        best: Run checkpoint of the chosen epoch.
        last: Run checkpoint of the last finished epoch, to resume from.
        metrics: Every logged figure, one row per epoch.
        config: Configuration of the run.
        summary: Written when the run is finished.
        split_scores: Figures of `validate` and `test` by the finished run.
        events: Event files for TensorBoard.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.adapter = self.path / "adapter.safetensors"
        self.best = self.path / "best.ckpt"
        self.last = self.path / "last.ckpt"
        self.metrics = self.path / "metrics.csv"
        self.config = self.path / "config.yaml"
        self.summary = self.path / "summary.json"
        self.split_scores = {stage: self.path / f"{stage}.csv" for stage in ("validate", "test")}
        self.events = self.path / "tensorboard"
        files = (self.summary, self.adapter, self.best, self.last, self.metrics, self.config, self.events)
        names = [file.name for file in (*files, *self.split_scores.values())]
        self._workspace = Workspace(self.path, kind="a run", owned=names, record=self.config.name)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.summary.is_file() and self.adapter.is_file()

    @property
    def resumable(self) -> bool:
        """Whether the run was interrupted and can be resumed."""
        return self.last.is_file() and not self.finished

    def holds(self, config: Mapping[str, Any], free: Sequence[str] = ()) -> bool:
        """Whether this is the finished run of a configuration; settings of the dotted names `free` may differ."""
        return self.finished and not differences(self._workspace.recorded(), config, free)

    def open(self, config: Mapping[str, Any], *, overwrite: bool = False, free: Sequence[str] = ()) -> None:
        """Make the folder ready for a run.

        A finished run, and an interrupted one of another configuration, are kept unless `overwrite` says otherwise.

        Args:
            config: Configuration of the run, plain values.
            overwrite: Remove what an earlier run left.
            free: Dotted names of settings that may differ between an interrupted run and this one.

        Raises:
            ValueError: The folder holds results that would be lost.
            OSError: The folder cannot be written.
        """
        if self.finished and not overwrite:
            raise ValueError(
                f"Expected `out` to be a folder without a finished run, but got {self.path}: "
                "choose another one, or add --overwrite true (`overwrite=True`)"
            )
        begun = any(path.is_file() for path in (self.adapter, self.best, self.last))
        self._workspace.claim(config, overwrite=overwrite or not begun, free=free)
        if begun and not self.resumable and not overwrite:  # interrupted before its first epoch was whole
            self._workspace.claim(config, overwrite=True)

    def clear(self) -> None:
        """Remove what an earlier run left; other files in the folder stay."""
        self._workspace.clear()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the run as finished."""
        write_json(self.summary, dict(summary))

    def outcome(self) -> str:
        """The summary of a finished run in one line."""
        summary = json.loads(self.summary.read_text(encoding="utf-8"))
        score = "" if summary["score"] is None else f", mean F1 {summary['score']:.3f} on the validation split"
        return f"epoch {summary['epoch']} of {summary['epochs']}{score}"

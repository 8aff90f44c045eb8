"""A run folder: which files it holds, whether it is new, unfinished or finished, and whose configuration it is."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from auformer.files import write_text

MISSING = "(absent)"
NO_NUMBER = (
    "model.init_args.network.init_args.recompute",
)  # settings that change no number: a run may go on with another one


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
        part_scores: Figures of `validate` and `test` by the finished run.
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
        self.part_scores = {stage: self.path / f"{stage}.csv" for stage in ("validate", "test")}
        self.events = self.path / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.summary.is_file() and self.adapter.is_file()

    @property
    def resumable(self) -> bool:
        """Whether an interrupted run can go on."""
        return self.last.is_file() and not self.finished

    def open(self, config: Mapping[str, Any], *, overwrite: bool = False, free: Sequence[str] = ()) -> None:
        """Make the folder ready for a run.

        A finished run, and an unfinished one of another configuration, are kept unless `overwrite` says otherwise.

        Args:
            config: Configuration of the run, plain values.
            overwrite: Remove what an earlier run left.
            free: Dotted names of settings that may differ between an interrupted run and this one.

        Raises:
            ValueError: The folder holds results that would be lost.
            OSError: The folder cannot be written.
        """
        self.check_writable()
        if overwrite:
            self.clear()
        elif any(path.is_file() for path in (self.adapter, self.best, self.last)):
            self._check_same(config, free)
        if not self.resumable:
            self.clear()
        write_text(self.config, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def check_writable(self) -> None:
        """Raise `OSError` with the folder's name unless a file can be written in it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"auformer")
        except OSError as error:
            reason = (
                f"the output folder cannot be written ({error.strerror or error}); choose another one, or free space"
            )
            raise OSError(error.errno, reason, str(self.path)) from error

    def clear(self) -> None:
        """Remove the files of an earlier run; other files in the folder stay."""
        for path in (
            self.summary,
            self.adapter,
            self.best,
            self.last,
            self.metrics,
            self.config,
            *self.part_scores.values(),
        ):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.events, ignore_errors=True)

    def stored_config(self) -> dict[str, Any]:
        """Configuration of the run that lies here, `{}` where there is none or it cannot be read."""
        try:
            content = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            return {}
        return content if isinstance(content, dict) else {}

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the run as finished."""
        write_text(self.summary, json.dumps(dict(summary), indent=2, ensure_ascii=False) + "\n")

    def told(self) -> str:
        """The summary of a finished run in one line."""
        summary = json.loads(self.summary.read_text(encoding="utf-8"))
        score = "" if summary["score"] is None else f", mean F1 {summary['score']:.3f} on the validation part"
        return f"epoch {summary['epoch']} of {summary['epochs']}{score}"

    def _check_same(self, config: Mapping[str, Any], free: Sequence[str]) -> None:
        """Refuse to lose a finished run, or one of another configuration."""
        if self.finished:
            raise ValueError(
                f"Expected `out` to be a folder without a finished run, but got {self.path}: choose another one, or say overwrite"
            )
        differing = differences(self.stored_config(), config, free)
        if differing:
            raise ValueError(
                f"Expected {self.path} to hold an unfinished run of this configuration, but got another one ({'; '.join(differing[:3])}"
                f"{'; ...' if len(differing) > 3 else ''}): choose another folder, or say overwrite"
            )


def differences(old: Any, new: Any, free: Sequence[str] = (), name: str = "") -> list[str]:
    """Where two configurations differ, one text each; 1 and 1.0 differ, since the one is a number of rows and the other all of them.

    Settings of the dotted names `free` may differ.

    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c was 2 and is now 3']
    >>> differences({"data": {"subset": 1.0}}, {"data": {"subset": 1}})
    ['data.subset was 1.0 and is now 1']
    """
    if name in free:
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *[key for key in new if key not in old]]
        parts = [
            differences(old.get(key, MISSING), new.get(key, MISSING), free, f"{name}.{key}" if name else str(key))
            for key in keys
        ]
        return [text for part in parts for text in part]
    plain_old, plain_new = _plain(old), _plain(new)
    same = plain_old == plain_new and type(plain_old) is type(plain_new)
    return [] if same else [f"{name} was {plain_old} and is now {plain_new}"]


def _plain(value: Any) -> Any:
    """A value as YAML gives it back: tuples are lists."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

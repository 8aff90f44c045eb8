"""One process of a cluster: predicts sources, and writes each one's outputs when it is finished.

Processes know of one another through the output folder alone: a finished source has a table and a sidecar with its
mark, one that was begun has a journal with its attempts. Files appear whole or not at all, so a process that is killed
leaves either a finished source or one that is resumed.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auformer.predict.outputs import Plan
from auformer.predict.recorder import Recorder
from auformer.predict.sidecar import MADE_WITH, SOURCE_MARK, Loaded, finished_sidecar, run_settings, source_mark
from auformer.predict.sources import Source
from auformer.predict.types import Selection, SourceEnd

MAX_ATTEMPTS = (
    3  # at one source: a file that breaks the decoder, or needs too much memory, must not stop the others [ours]
)
_SPENT = (
    f"given up: its process ended {MAX_ATTEMPTS} times while at work on it; does the machine run out of memory (give "
    "fewer --workers), or is the file broken?"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What every process must know; plain values that can be sent to another machine.

    Args:
        folder: Where the command was given; relative paths start there, on every machine.
        checkpoint: As of `Loaded`.
        backbone_checkpoint: Local file with the frozen weights; None where they can be fetched.
        options: Of `AUPredictor`.
        plan: What to write where.
        selection: Which frames of videos.
        settings: As `run_settings` gives them.
        mark: As `run_mark` gives it.
        run: Tells the attempts of this run from those of others.
        num_sources: How many the whole collection has.
        device: `cpu` or `cuda`.
        threads: Of the processor, for one process.
    """

    folder: str
    checkpoint: dict[str, Any]
    backbone_checkpoint: str | None
    options: dict[str, Any]
    plan: Plan
    selection: Selection
    settings: dict[str, Any]
    mark: str
    run: str
    num_sources: int
    device: str = "cpu"
    threads: int = 1


class SourceWorker:
    """Predicts sources of a job.

    Raises:
        ValueError: This machine lacks the folder, or would predict otherwise than the one where the command was given.
        CheckpointError: The checkpoint cannot be used here.
    """

    def __init__(self, job: Job) -> None:
        try:
            os.chdir(job.folder)
        except OSError as error:
            raise ValueError(
                f"Expected every machine of the cluster to see the folder {job.folder}, but {socket.gethostname()} "
                f"does not ({error.strerror}): give the command in a folder that all machines share."
            ) from error
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(job.threads)
        given = job.checkpoint["given"]
        self.job = job
        self.loaded = Loaded(
            given, job.backbone_checkpoint, job.device, job.options, cores=job.threads, maps=job.plan.maps
        )
        self._problems: dict[str, str] = {}  # of this batch's written sources, by name; empty where there is none
        self._attempts: dict[str, int] = {}  # by name
        self._check_alike()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict a batch.

        Args:
            batch: Columns `file`, `name`, `kind` (n,): the sources.

        Returns:
            Columns (n,): `name`; `problem`, empty where there is none; `attempts`, how often this run began with it.
        """
        columns = (batch[name].tolist() for name in ("file", "name", "kind"))
        sources = [Source(*row) for row in zip(*columns, strict=True)]
        problems = self.predict(sources)
        names = [source.name for source in sources]
        return {
            "name": np.array(names, dtype=object),
            "problem": np.array([problems[name] for name in names], dtype=object),
            "attempts": np.array([self._attempts.get(name, 0) for name in names], dtype=np.int64),
        }

    def predict(self, sources: Sequence[Source]) -> dict[str, str]:
        """Predict sources that are not finished yet: together, but those that were begun before each on its own.

        Returns:
            By name of a source, the problem with it; empty where there is none.
        """
        finished = {source.name: finished_sidecar(self.job.plan, source, self.job.mark) for source in sources}
        self._problems = {name: str(side["problem"] or "") for name, side in finished.items() if side is not None}
        todo = [source for source in sources if finished[source.name] is None]
        parts = self._recorder(todo).parts
        fresh = [source for source in todo if not parts[source.name].attempts[self.job.run]]
        failures = self._try(fresh)
        for source in todo:
            if source not in fresh or failures.pop(source.name, None) is not None:
                failures.update(self._try([source]))
        return {**self._problems, **failures}

    def _try(self, sources: Sequence[Source]) -> dict[str, str]:
        """Predict sources together, and return why nothing could be written, by name of a source where that is so."""
        recorder, run = self._recorder(sources), self.job.run
        if spent := [name for name, part in recorder.parts.items() if part.attempts[run] >= MAX_ATTEMPTS]:
            return dict.fromkeys(spent, _SPENT)
        for name, part in recorder.parts.items():
            part.begin(run)
            self._attempts[name] = part.attempts[run]
        plan = self.job.plan
        try:
            for source in sources:
                if recorder.parts[source.name].done:  # killed between its last row and its table
                    self._write(recorder, source)
            pending, resume = recorder.pending, recorder.resume
            options: dict[str, Any] = {"selection": self.job.selection, "keep_images": plan.annotate, "resume": resume}
            for item in self.loaded.predictor.stream(pending, **options):
                recorder.add(item)
                if isinstance(item, SourceEnd):
                    self._write(recorder, item.source)
        except Exception as error:  # one bad source must not end the work on all others
            _log.exception("while predicting %s", ", ".join(source.file for source in sources))
            names = [source.name for source in sources if source.name not in self._problems]
            return dict.fromkeys(names, f"{type(error).__name__}: {error}")
        finally:
            recorder.abandon()
        return {}

    def _write(self, recorder: Recorder, source: Source) -> None:
        """Write the table of a source that is done."""
        job, part = self.job, recorder.parts[source.name]
        marks = {MADE_WITH: job.mark, SOURCE_MARK: source_mark(job.mark, source), "num_sources": job.num_sources}
        job.plan.table(source).unlink(missing_ok=True)  # so that a new sidecar never lies beside an old table
        recorder.write_source(source, {**self.loaded.sidecar(job.settings, {}), **marks})
        part.remove()
        self._problems[source.name] = part.message

    def _recorder(self, sources: Sequence[Source]) -> Recorder:
        """What there is of some sources."""
        notice = self.loaded.notice
        return Recorder(self.loaded.predictor, self.job.plan, sources, mark=self.job.mark, notice=notice)

    def _check_alike(self) -> None:
        """Refuse to write other numbers than the machine where the command was given would."""
        sha256, settings = (
            self.loaded.checkpoint["sha256"],
            run_settings(self.loaded.predictor, self.job.selection, resting=self.job.plan.resting),
        )
        mine, first = (
            {"checkpoint": sha256, **settings},
            {"checkpoint": self.job.checkpoint["sha256"], **self.job.settings},
        )
        if odd := [name for name in first if mine.get(name) != first[name]]:
            raise ValueError(
                f"Expected the same {', '.join(odd)} on every machine of the cluster, but {socket.gethostname()} has "
                f"{mine[odd[0]]} and the machine of the command {first[odd[0]]}: install the same packages and give "
                "the same files everywhere."
            )

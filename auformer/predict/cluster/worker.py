"""What processes of a cluster know of one another's work through the output folder: which sources are finished, which were begun how often.

What processes of a cluster know of one another's work through the output folder: which sources are finished, which were begun how often.

A source is finished when its table is there and the side file beside it names the same settings, checkpoint and file. Files appear whole
or not at all, so a process that is killed leaves either a finished source or one that is begun again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from auformer.data.table_file import read_sidecar, write_sidecar
from auformer.errors import ManifestError
from auformer.files import write_text
from auformer.models import open_detector
from auformer.models.checkpoints import resolve_checkpoint
from auformer.predict.outputs import Plan
from auformer.predict.pipeline import share_cores
from auformer.predict.predictor import AUPredictor
from auformer.predict.recorder import Recorder
from auformer.predict.sources import Source
from auformer.predict.table import fingerprint, predictions_side, run_settings
from auformer.predict.types import Selection, SourceEnd

FOLDER = ".cluster"  # inside the output folder, while a run lasts
MAX_ATTEMPTS = 3  # at one source: a file that breaks the decoder, or needs more memory than there is, must not stop the others [ours]
MADE_WITH, SOURCE_MARK = "made_with", "source_mark"  # entries of side files


def source_mark(mark: str, source: Source) -> str:
    """Fingerprint of a source and everything that changes its outputs.

    Args:
        mark: fingerprint of the settings, the checkpoint and the kinds of outputs.
        source: its name, path, size and time of change count.
    """
    path = Path(source.file)
    facts = path.stat() if path.is_file() else None
    return fingerprint(
        [mark, source.kind, source.file, source.name, *([facts.st_size, facts.st_mtime_ns] if facts else [])]
    )


def own_side(plan: Plan, source: Source, mark: str) -> dict[str, Any] | None:
    """The side file that a run with the same settings wrote for the same file; None where there is none.

    Args:
        plan: what is written where.
        source: whose.
        mark: as of `source_mark`.
    """
    try:
        side = read_sidecar(plan.table(source))
    except ManifestError:
        return None
    return side if side.get(SOURCE_MARK) == source_mark(mark, source) else None


def finished_side(plan: Plan, source: Source, mark: str) -> dict[str, Any] | None:
    """The side file of a source that need not be predicted again; None where it must be.

    A source of which no picture could be read is tried again: its disk may have been away.

    Args:
        plan: what is written where.
        source: whose.
        mark: as of `source_mark`.
    """
    side = own_side(plan, source, mark)
    if side is None or not plan.table(source).is_file():
        return None
    return None if set(side["counts"]["pictures"]) <= {"unreadable"} else side


def forget(plan: Plan, source: Source) -> None:
    """Remove a source's table before another one is made, so that a new side file never stands beside an old table."""
    plan.table(source).unlink(missing_ok=True)


def say_how_many(plan: Plan, source: Source, side: dict[str, Any], num_sources: int) -> None:
    """Keep right in a finished source's side file of how many sources it is one: the collection may have grown."""
    if side.get("num_sources") != num_sources:
        write_sidecar({**side, "num_sources": num_sources}, plan.table(source))


class Attempts:
    """How often each source was begun in one run, on disk, because a process that dies cannot tell.

    Args:
        out: the output folder, which all machines see.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER

    def reset(self) -> None:
        """Begin a run, or end it: nothing was tried yet."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def count(self, source: Source) -> int:
        """How often a source was begun in this run."""
        try:
            return int(json.loads(self._path(source).read_text(encoding="utf-8"))["count"])
        except (OSError, ValueError, KeyError):
            return 0

    def begin(self, source: Source) -> int:
        """Note that this process begins with a source.

        Returns:
            The how manieth attempt it is, from 1 on.
        """
        count = self.count(source) + 1
        who = {"source": source.name, "count": count, "host": socket.gethostname(), "pid": os.getpid()}
        write_text(self._path(source), json.dumps(who))
        return count

    def _path(self, source: Source) -> Path:
        """Where a source's attempts are counted."""
        return self.folder / f"{hashlib.sha256(source.name.encode()).hexdigest()[:20]}.json"


_log = logging.getLogger(__name__)
_SPENT = (
    f"given up: its process ended {MAX_ATTEMPTS} times while at work on it; does the machine run out of memory (give fewer --workers), "
    "or is the file broken?"
)


@dataclass(frozen=True)
class Job:
    """What every process must know; plain values that can be sent to another machine.

    Args:
        folder: where the command was given; relative paths start there, on every machine.
        checkpoint: `given` (CHECKPOINT as the user wrote it), `file`, `sha256` and `revision`, as `predictions_side` takes it.
        backbone_checkpoint: local file with the frozen weights; None where the checkpoint says where they are.
        options: of `AUPredictor`, but the network and the device.
        plan: what to write where.
        selection: which frames of recordings.
        settings: as `run_settings` gives them.
        mark: fingerprint of settings, checkpoint and kinds of outputs.
        notice: what every output of this checkpoint has to say.
        num_sources: how many the whole collection has.
        device: `cpu` or `cuda`.
        threads: of the processor, for one process.
    """

    folder: str
    checkpoint: dict[str, Any]
    backbone_checkpoint: str | None
    options: dict[str, Any]
    plan: Plan
    selection: Selection
    settings: dict[str, Any]
    mark: str
    notice: str | None
    num_sources: int
    device: str = "cpu"
    threads: int = 1


class SourceWorker:
    """Predicts sources and writes each one's outputs when it is finished.

    Args:
        job: what to do, and how.

    Raises:
        ValueError: this machine lacks the folder, or would predict otherwise than the one where the command was given.
        CheckpointError: the checkpoint cannot be used here.
    """

    def __init__(self, job: Job) -> None:
        try:
            os.chdir(job.folder)
        except OSError as error:
            raise ValueError(
                f"Expected every machine of the cluster to see the folder {job.folder}, but {socket.gethostname()} does not "
                f"({error.strerror}): give the command in a folder that all machines share."
            ) from error
        self.job, self.attempts = job, Attempts(job.plan.out)
        torch.set_num_threads(job.threads)
        cv2.setNumThreads(job.threads)
        network = open_detector(job.checkpoint["given"], device=job.device, backbone_checkpoint=job.backbone_checkpoint)
        share_cores(network, cores=job.threads)
        self.predictor = AUPredictor(network, device=job.device, **job.options)
        self._messages: dict[
            str, str
        ] = {}  # of this batch, by name of a source that is written: what is wrong with it, or empty
        self._check_alike()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict a batch.

        Args:
            batch: columns `file`, `name`, `kind` (n,): the sources.

        Returns:
            Columns (n,): `name`; `problem`, what is wrong with it, or empty; `attempts`, how often it was begun.
        """
        columns = (batch[name].tolist() for name in ("file", "name", "kind"))
        sources = [Source(*row) for row in zip(*columns, strict=True)]
        problems = self.predict(sources)
        return {
            "name": np.array([source.name for source in sources], dtype=object),
            "problem": np.array([problems[source.name] for source in sources], dtype=object),
            "attempts": np.array([self.attempts.count(source) for source in sources], dtype=np.int64),
        }

    def predict(self, sources: Sequence[Source]) -> dict[str, str]:
        """Predict sources that are not finished yet: together, but those that were begun before each on its own.

        Returns:
            By name of a source, what is wrong with it; empty where nothing is.
        """
        before = {source.name: finished_side(self.job.plan, source, self.job.mark) for source in sources}
        self._messages = {name: str(side["problem"] or "") for name, side in before.items() if side is not None}
        todo = [source for source in sources if before[source.name] is None]
        fresh = [source for source in todo if not self.attempts.count(source)]
        failures = self._try(fresh)
        for source in todo:
            if source not in fresh or failures.pop(source.name, None) is not None:
                failures.update(self._try([source]))
        return {**self._messages, **failures}

    def _try(self, sources: Sequence[Source]) -> dict[str, str]:
        """Predict some sources together.

        Returns:
            By name of a source for which nothing could be written, why.
        """
        spent = [source for source in sources if self.attempts.count(source) >= MAX_ATTEMPTS]
        if spent:
            return {source.name: _SPENT for source in spent}
        for source in sources:
            self.attempts.begin(source)
        try:
            self._run(sources)
        except Exception as error:  # one bad source must not end the work on all others
            _log.exception("while predicting %s", ", ".join(source.file for source in sources))
            return {
                source.name: f"{type(error).__name__}: {error}"
                for source in sources
                if source.name not in self._messages
            }
        return {}

    def _run(self, sources: Sequence[Source]) -> None:
        """Predict some sources and write each one's outputs as soon as it ends."""
        job, recorder = self.job, self._recorder(sources)
        try:
            for source in sources:
                if recorder.parts[source.name].done:  # killed between its last row and its table
                    self._write(source)
            options: dict[str, Any] = {
                "selection": job.selection,
                "keep_images": job.plan.annotate,
                "resume": recorder.resume,
            }
            for item in self.predictor.stream(recorder.pending, **options):
                recorder.add(item)
                if isinstance(item, SourceEnd):
                    self._write(item.source)
        finally:
            recorder.abandon()

    def _write(self, source: Source) -> None:
        """Write the table of a finished source."""
        recorder = self._recorder([source])
        side = predictions_side(
            self.predictor,
            checkpoint=self.job.checkpoint,
            settings=self.job.settings,
            counts=recorder.counts(),
            notice=self.job.notice,
        )
        marks = {
            MADE_WITH: self.job.mark,
            SOURCE_MARK: source_mark(self.job.mark, source),
            "num_sources": self.job.num_sources,
        }
        forget(self.job.plan, source)
        message = recorder.parts[source.name].message
        recorder.write_tables({**side, **marks})
        self._messages[source.name] = message

    def _recorder(self, sources: Sequence[Source]) -> Recorder:
        """What keeps the rows of some sources."""
        return Recorder(self.predictor, self.job.plan, sources, settings=self.job.mark, notice=self.job.notice)

    def _check_alike(self) -> None:
        """Refuse to write other numbers than the machine where the command was given would.

        Raises:
            ValueError: the checkpoint is another file here, or the settings come out otherwise.
        """
        sha256 = hashlib.sha256(Path(resolve_checkpoint(self.job.checkpoint["given"])).read_bytes()).hexdigest()
        mine = {"checkpoint": sha256, **run_settings(self.predictor, self.job.selection, shard=None)}
        first = {"checkpoint": self.job.checkpoint["sha256"], **self.job.settings}
        odd = [name for name in first if mine.get(name) != first[name]]
        if odd:
            raise ValueError(
                f"Expected the same {', '.join(odd)} on every machine of the cluster, but {socket.gethostname()} has {mine[odd[0]]} and "
                f"the machine of the command {first[odd[0]]}: install the same packages and give the same files everywhere."
            )

"""Runs whose training is the same, as that of two test sets with the same AUs, train once: the others take over the adapter file.

What is taken over is a file that a finished run of the same benchmark has made its predictions with; where its folder is gone, or the
file is not the one that the predictions were made with, the run trains by itself.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auformer.benchmark.jobs import Job
from auformer.benchmark.lock import RunLock
from auformer.benchmark.store import RUNS, Line, folder_of, read_json, read_lines, run_key
from auformer.files import atomic_path
from auformer.scoring.provenance import file_sha256
from auformer.training.run_folder import RunFolder

logger = logging.getLogger("auformer.benchmark")
TRAINED_BY, WEIGHTS = "trained_by", "weights_sha256"
_ABOUT = ("data", "test", "fold", "subset", "seed", "select", "config", "init_sha256", "test_subjects", "data_sha256")


def training_key(claim: Mapping[str, Any]) -> str | None:
    """What makes the training of a run itself, whatever it is tested on and whatever it is called.

    Args:
        claim: What a run is, or its line.

    Returns:
        SHA-256 over data, AUs, configuration, subset, seed and checkpoint; None where the training is nobody else's, because its epoch is
        chosen on the test part, or where the claim does not say enough.
    """
    if any(name not in claim for name in _ABOUT) or claim["select"] == "test":
        return None
    sources: Mapping[str, str] = claim["data_sha256"]
    names = str(claim["data"]).split("+")
    if any(name not in sources for name in names):
        return None
    cut = [claim["fold"], claim["test_subjects"]] if claim["test"] == claim["data"] else None
    about = {name: claim[name] for name in ("subset", "seed", "select", "config", "init_sha256")}
    return run_key({**about, "data": [[name, sources[name]] for name in names], "cut": cut})


def weights_sha256(job: Job) -> str | None:
    """SHA-256 of the file with the weights of the ViT, which a run's key knows by name only; None where there is no such file."""
    path = job.config.model.get("checkpoint_path")
    return None if path is None else file_sha256(path)


def next_job(waiting: list[Job], busy: Sequence[Job]) -> Job | None:
    """Take the first run off the list whose training no busy process is at; None where every one has to wait."""
    taken = {training_key(job.claim) for job in busy} - {None}
    for position, job in enumerate(waiting):
        if training_key(job.claim) not in taken:
            return waiting.pop(position)
    return None


@contextmanager
def training_lock(job: Job) -> Iterator[bool]:
    """Whether this process may train; inside, no other one trains the same."""
    key = training_key(job.claim)
    lock = None if key is None else RunLock(job.out / RUNS / f".{key[:16]}.lock")
    if lock is not None and not lock.acquire():
        yield False
        return
    try:
        yield True
    finally:
        if lock is not None:
            lock.release()


def trained_by(folder: RunFolder) -> str | None:
    """Folder of the run that has trained what lies in a folder; None: the run itself, or it is not finished."""
    summary = read_json(folder.summary) if folder.finished else None
    return None if summary is None else summary.get(TRAINED_BY)


def take_over(job: Job) -> bool:
    """Take over the training of a finished run that is the same; False where there is none.

    The summary is written last: before that, the folder holds nothing that counts as trained.
    """
    for line, sha256 in _twins(job):
        source, mine = RunFolder(folder_of(job.out, line)), RunFolder(job.folder)
        mine.clear()
        try:
            summary = read_json(source.summary)
            for one, other in ((source.metrics, mine.metrics), (source.config, mine.config), (source.adapter, mine.adapter)):
                with atomic_path(other) as temporary:
                    shutil.copyfile(one, temporary)
            whole = summary is not None and file_sha256(mine.adapter) == sha256
        except OSError as error:  # somebody is clearing that folder
            logger.warning("%s cannot be taken over (%s)", source.path, error)
            whole = False
        if whole and summary is not None:
            place = source.path.relative_to(job.out).as_posix()
            mine.finish({**summary, TRAINED_BY: summary.get(TRAINED_BY) or place})
            logger.info("training taken over from %s, commit %s: the same data, AUs, configuration and seed", place, line.get("commit"))
            return True
        mine.clear()
    return False


def _twins(job: Job) -> Iterator[tuple[Line, str]]:
    """Finished runs whose training is the same, each with the SHA-256 of the adapter file that lies in its folder."""
    key, weights = training_key(job.claim), weights_sha256(job)
    if key is None:
        return
    for line in read_lines(job.out).values():
        if training_key(line) == key and (weights is None or line.get(WEIGHTS) == weights):
            sha256 = _adapter_sha256(folder_of(job.out, line), key)
            if sha256 is not None:
                yield line, sha256


def _adapter_sha256(folder: Path, key: str) -> str | None:
    """SHA-256 of the adapter file of a folder, if the predictions beside it are of this training and were made with that very file."""
    found, side = RunFolder(folder), read_json(folder / "predictions.json") or {}
    if not found.finished or training_key(side.get("run") or {}) != key:
        return None
    sha256 = file_sha256(found.adapter)
    return sha256 if (side.get("adapter") or {}).get("sha256") == sha256 else None

"""One run, from its job to its line: train or resume, predict, score, write. It may be killed at any moment."""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from auformer.benchmark.jobs import TRAINED_BY, WEIGHTS, Job, take_over, trained_by, training_lock, weights_sha256
from auformer.benchmark.record import record
from auformer.benchmark.store import CLAIM, LINE, LOCK, Line, RunLock, append_line, identity, read_lines
from auformer.data.clips import clip_rows
from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import au_columns, read_manifest
from auformer.data.splits import cut_fold, cut_subjects
from auformer.data.windows import label_frames
from auformer.files import read_json, write_json
from auformer.models import load_adapter, load_detector
from auformer.models.temporal.transfer import transfer
from auformer.predict.manifest import image_warnings, write_manifest_predictions
from auformer.training import fit
from auformer.training.module import AUModule
from auformer.training.run_folder import RunFolder

logger = logging.getLogger("auformer.benchmark")
ON_TEST = (
    "The epoch was chosen on the test split, as published code does: every number of this run is too good (marked †)."
)


def execute(job: Job, *, progress: bool = False) -> Line | None:
    """Do one run whose folder is claimed (`claim`): its line, which is in `runs.jsonl` then.

    None where another process is at work on it, or on a run whose training is the same.

    Raises:
        ValueError: The run cannot be done; the log in its folder says why.
    """
    lock = RunLock(job.folder / LOCK)
    if not lock.acquire():
        return None
    try:
        found = finished_line(job)
        if found is not None:  # another process has done it since this one looked
            return found
        with training_lock(job) as mine:
            if not mine:
                return None
            with _log(job.folder / "log.txt"):
                line = _run(job, progress)
            write_json(job.folder / LINE, line)
            append_line(job.out, line)
            return line
    finally:
        lock.release()


def claim(job: Job, *, resume: bool = True) -> None:
    """Make the folder of a run, with its claim; without `resume`, nothing of an earlier run stays."""
    if not resume and job.folder.is_dir():
        shutil.rmtree(job.folder)
    if read_json(job.folder / CLAIM) != job.claim:
        write_json(job.folder / CLAIM, job.claim)


def finished_line(job: Job) -> Line | None:
    """The line of a run that is finished."""
    return read_json(job.folder / LINE) or read_lines(job.out).get(identity(job.claim))


def _run(job: Job, progress: bool) -> Line:
    """Train, predict, score."""
    where = f"process {os.getpid()} on {socket.gethostname()}, commit {job.provenance['commit']}"
    logger.info("%s: %s", job.run.text(), where)
    data, table = build_data(job), test_table(job)
    told = list(job.warnings)
    left_out = [au for au in (job.au_names or data.labelled) if au not in data.au_names]
    if left_out:
        told.append(f"without a positive training row, so not trained: {', '.join(left_out)}")
    module = _module(job, data, table, told)
    adapter = _trained(job, data, module, progress)
    load_adapter(adapter, module.network)
    network = module.network.eval()
    told += image_warnings(network, table.attrs["side"], table.attrs["side"].get("image_size"))
    predictions = write_manifest_predictions(
        network, adapter, [table], job.folder / "predictions.csv", asked=network.au_names, fold=job.run.fold or None,
        warnings=told, notice=ON_TEST if job.run.validation == "test" else None, more={"run": dict(job.claim)},
        progress=progress, device="cuda" if torch.cuda.is_available() and job.config.accelerator != "cpu" else "cpu",
        num_workers=job.config.data["num_workers"], clip_input=_reduction(job),
    )  # fmt: skip
    if _reduction(job) != "frames":
        table = clip_rows(table, "apex")
    tuned = dict(network.thresholds) if _tunes(job, data) else None
    scored = record(predictions, thresholds=tuned, expected=table)
    summary = read_json(RunFolder(job.folder).summary) or {}
    logger.info("finished: epoch %d of %d", summary["epoch"], summary["epochs"])
    return {
        **job.claim,
        **scored,
        "epochs": summary["epochs_trained"],
        "epoch": summary["epoch"],
        "validation_score": summary["score"],
        "seconds": summary["seconds"],
        "trainable_parameters": summary["trainable_parameters"],
        "total_parameters": summary["total_parameters"],
        TRAINED_BY: summary.get(TRAINED_BY),
        WEIGHTS: weights_sha256(job),
        **job.provenance,
        "warnings": told,
        "folder": job.folder.relative_to(job.out).as_posix(),
    }


def build_data(job: Job) -> AUDataModule:
    """Training and validation rows of a run; where the epoch is chosen on the test split, that one is validated on."""
    run, arguments = job.run, dict(job.config.data)
    on_test = run.validation == "test"
    arguments |= {"val_fraction": 0.0} if on_test else {}
    arguments |= {"au_names": None if job.au_names is None else list(job.au_names)}
    subjects = None if run.test.subjects is None else list(run.test.subjects)
    cut: dict[str, Any] = {"fold": run.test.fold, "test_subjects": subjects, "subset": run.subset, "seed": run.seed}
    data = AUDataModule(list(job.train), None, job.test, **cut, **arguments)
    if on_test:
        data.splits["val"] = data.splits["test"]
    return data


def test_table(job: Job) -> pd.DataFrame:
    """The rows to predict, those without a face too; of clips one row each, unless the network sees clips."""
    test = job.run.test
    manifest = rows = read_manifest(job.test or job.train[0])
    if test.fold is not None:
        rows = cut_fold(manifest, test.fold)[1]
    elif test.subjects is not None:
        rows = cut_subjects(manifest, test.subjects)[1]
    if job.config.data["clip_length"] == 1:
        rows = clip_rows(rows, job.config.data["clip_input"])
    elif job.config.data["frame_labels"] is not None:
        aus = [au for au in au_columns(rows) if job.au_names is None or au in job.au_names]
        rows = label_frames(rows, aus, job.config.data["frame_labels"])
    rows.attrs = manifest.attrs
    return rows


def _reduction(job: Job) -> str:
    """For a network that sees clips: which frames of a clip are averaged to one row, `frames` for none."""
    data = job.config.data
    return data["clip_input"] if data["clip_length"] > 1 else "frames"


def _module(job: Job, data: AUDataModule, table: pd.DataFrame, told: list[str]) -> AUModule:
    """A new module, with experts of another checkpoint where the run says so; its weights depend on the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.run.seed)
        module = job.config.build(data)
    if job.init is not None:
        source = load_detector(job.init, backbone_checkpoint=job.config.weights)
        shared = transfer(source, module.network)
        logger.info("experts from %s: %s", job.run.init, ", ".join(shared))
        before = (source.metadata.get("training_data") or {}).get("train") or {}
        seen = sorted({*(before.get("datasets") or ())} & {*table["dataset"].unique()})
        if seen:
            told.append(
                f"the checkpoint {job.run.init} was itself trained on {', '.join(seen)}: make sure that on other "
                "subjects"
            )
    return module


def _trained(job: Job, data: AUDataModule, module: AUModule, progress: bool) -> Path:
    """The adapter file: that of a run whose training is the same, else of a training of its own."""
    folder = RunFolder(job.folder)
    if not folder.finished:
        take_over(job)
    if trained_by(folder):
        return folder.adapter
    chosen = dict(job.config.fit)
    steps = math.ceil(len(data.train_dataset) / data.batch_size) * chosen["epochs"]
    # as many validations as configured, so the choice among epochs stays as hard
    times = max(1, math.ceil(job.run.min_steps / steps))
    chosen |= {"epochs": chosen["epochs"] * times, "validate_every": chosen["validate_every"] * times}
    shown: dict[str, Any] = {"progress": progress, "accelerator": job.config.accelerator}
    return fit(module, data, job.folder, **chosen, seed=job.run.seed, tune=_tunes(job, data), **shown)


def _tunes(job: Job, data: AUDataModule) -> bool:
    """Whether thresholds are chosen on validation subjects, for a column of their own; never on the test split."""
    return "val" in data.splits and job.run.validation != "test"


@contextmanager
def _log(path: Path) -> Iterator[None]:
    """Inside, what the package reports and every warning goes to a file too, and so does what ends the run."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("auformer")
    level, shown = root.level, warnings.showwarning

    def show(message: Any, category: Any, *args: Any, **kwargs: Any) -> None:
        root.warning("%s: %s", category.__name__, message)

    root.addHandler(handler)
    root.setLevel(logging.INFO)
    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    except BaseException as error:
        told = not isinstance(error, ValueError | KeyboardInterrupt)
        logger.error("%s: %s", type(error).__name__, error, exc_info=told)
        raise
    finally:
        warnings.showwarning = shown
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()

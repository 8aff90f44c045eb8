"""One run, from its job to its line: train or go on, predict the test part, score, write. Killed at any moment, it goes on next time."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from auformer.benchmark.jobs import TRAINED_BY, WEIGHTS, Job, take_over, trained_by, training_lock, weights_sha256
from auformer.benchmark.record import record
from auformer.benchmark.store import (
    CLAIM,
    LINE,
    LOCK,
    Line,
    RunLock,
    append_line,
    identity,
    read_json,
    read_lines,
    write_json,
)
from auformer.data.clips import clip_rows
from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import au_columns, read_manifest, write_predictions
from auformer.data.splits import cut_fold, cut_subjects
from auformer.models import AUNetwork, load_adapter, load_detector
from auformer.models.auformer import transfer_experts
from auformer.predict.manifest import predict_manifest
from auformer.scoring.provenance import choose_aus, image_warnings, predictions_side
from auformer.training.module import AUModule
from auformer.training.run import fit
from auformer.training.run_folder import RunFolder

logger = logging.getLogger("auformer.benchmark")
ON_TEST = (
    "The epoch was chosen on the test part, as published code does: every number of this run is too good (marked †)."
)


def execute(job: Job, *, progress: bool = False) -> Line | None:
    """Do one run.

    Args:
        job: The run; its folder is claimed (`claim`).
        progress: Show progress bars.

    Returns:
        Its line, which is in `runs.jsonl` then; None where another process is at it, or at a run whose training is the same.

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
            write_json(line, job.folder / LINE)
            append_line(job.out, line)
            return line
    finally:
        lock.release()


def claim(job: Job, *, resume: bool = True) -> None:
    """Make the folder of a run: what it is, so that its state can be seen; without `resume`, nothing of an earlier run stays."""
    if not resume and job.folder.is_dir():
        shutil.rmtree(job.folder)
    if read_json(job.folder / CLAIM) != job.claim:
        write_json(job.claim, job.folder / CLAIM)


def finished_line(job: Job) -> Line | None:
    """The line of a run that is finished."""
    return read_json(job.folder / LINE) or read_lines(job.out).get(identity(job.claim))


def _run(job: Job, progress: bool) -> Line:
    """Train, predict, score."""
    logger.info(
        "%s: process %d on %s, commit %s", job.run.text(), os.getpid(), socket.gethostname(), job.provenance["commit"]
    )
    data = build_data(job)
    told = list(job.warnings)
    left_out = [au for au in (job.au_names or data.labelled) if au not in data.au_names]
    if left_out:
        told.append(f"without a positive training row, so not trained: {', '.join(left_out)}")
    module = _module(job, data, told)
    adapter = _trained(job, data, module, progress)
    load_adapter(adapter, module.network)
    tables = test_tables(job)
    network = module.network.eval()
    for table in tables:
        told += [
            text
            for text in image_warnings(network, table.attrs["side"], table.attrs["side"].get("image_size"))
            if text not in told
        ]
    predictions = _predict(job, network, adapter, tables, told, progress)
    tuned = dict(network.thresholds) if _tunes(job, data) else None
    scored = record(predictions, thresholds=tuned, expected=pd.concat(tables, ignore_index=True))
    summary = json.loads(RunFolder(job.folder).summary.read_text(encoding="utf-8"))
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
    """Training and validation rows of a run; with `select` on the test part, that one is validated on."""
    run, arguments = job.run, dict(job.config.data)
    on_test = run.validation == "test"
    arguments |= {"val_fraction": 0.0} if on_test else {}
    arguments |= {"au_names": None if job.au_names is None else list(job.au_names)}
    subjects = None if run.test.subjects is None else list(run.test.subjects)
    test = list(job.test) or None
    cut: dict[str, Any] = {"fold": run.test.fold, "test_subjects": subjects, "subset": run.subset, "seed": run.seed}
    data = AUDataModule(list(job.train), None, test, **cut, **arguments)
    if on_test:
        data.parts["val"] = data.parts["test"]
    return data


def test_tables(job: Job) -> list[pd.DataFrame]:
    """The rows to predict, a table per manifest, those without a face too; of clips one row each."""
    run, tables = job.run, []
    for path in job.test or job.train:
        manifest = read_manifest(path)
        rows = manifest
        if run.test.fold is not None:
            rows = cut_fold(manifest, run.test.fold)[1]
        elif run.test.subjects is not None:
            rows = cut_subjects(manifest, run.test.subjects)[1]
        rows = clip_rows(rows, job.config.data["clip_input"])
        rows.attrs = manifest.attrs
        tables.append(rows)
    return tables


def _module(job: Job, data: AUDataModule, told: list[str]) -> AUModule:
    """A new module, with experts of another checkpoint where the run says so; whether weights are random is a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.run.seed)
        module = job.config.build(data)
    if job.init is not None:
        source = load_detector(job.init, backbone_checkpoint=module.hparams["checkpoint_path"])
        shared = transfer_experts(source, module.network)
        logger.info("experts from %s: %s", job.run.init, ", ".join(shared))
        before = (source.metadata.get("training_data") or {}).get("train") or {}
        seen = sorted(
            set(before.get("datasets") or ())
            & {name for table in test_tables(job) for name in table["dataset"].unique()}
        )
        if seen:
            told.append(
                f"the checkpoint {job.run.init} was itself trained on {', '.join(seen)}: make sure that on other subjects"
            )
    return module


def _trained(job: Job, data: AUDataModule, module: AUModule, progress: bool) -> Path:
    """The adapter file: that of a run whose training is the same, else of a training of its own."""
    folder = RunFolder(job.folder)
    if not folder.finished:
        take_over(job)
    return folder.adapter if trained_by(folder) else _fit(job, data, module, progress)


def _fit(job: Job, data: AUDataModule, module: AUModule, progress: bool) -> Path:
    """Train, go on, or find the finished training."""
    chosen = dict(job.config.fit)
    rows, target = len(data.parts["train"]), job.run.min_steps
    steps = math.ceil(rows / data.batch_size) * chosen["epochs"]
    times = max(
        1, math.ceil(target / steps)
    )  # as many validations as configured, so the choice among epochs stays as hard
    chosen |= {"epochs": chosen["epochs"] * times, "validate_every": chosen["validate_every"] * times}
    settings = {
        **chosen,
        "seed": job.run.seed,
        "tune": _tunes(job, data),
        "progress": progress,
        "accelerator": job.config.accelerator,
    }
    return fit(module, data, job.folder, **settings)


def _tunes(job: Job, data: AUDataModule) -> bool:
    """Whether thresholds are chosen on validation subjects, for a column of their own; never on the test part."""
    return "val" in data.parts and job.run.validation != "test"


def _predict(
    job: Job, network: AUNetwork, adapter: Path, tables: Sequence[pd.DataFrame], told: Sequence[str], progress: bool
) -> pd.DataFrame:
    """Predict the test part and write `predictions.csv` with its side file."""
    device = "cuda" if torch.cuda.is_available() and job.config.accelerator != "cpu" else "cpu"
    labelled = list(dict.fromkeys(au for table in tables for au in au_columns(table)))
    choice = choose_aus(network.au_names, labelled, network.au_names)
    settings = {"device": device, "num_workers": job.config.data["num_workers"], "progress": progress}
    parts = [predict_manifest(network, table, **settings) for table in tables]
    predictions = pd.concat(parts, ignore_index=True)
    notice = ON_TEST if job.run.validation == "test" else None
    arguments: dict[str, Any] = {"fold": job.run.fold or None, "warnings": told, "notice": notice}
    sides = [predictions_side(network, "adapter.safetensors", adapter, table, choice, **arguments) for table in tables]
    side = {**sides[0], "run": dict(job.claim)}
    if len(sides) > 1:
        side["manifest"] = {**sides[0]["manifest"], "parts": [one["manifest"] for one in sides]}
    write_predictions(predictions, job.folder / "predictions.csv", side)
    return predictions


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
        logger.error(
            "%s: %s", type(error).__name__, error, exc_info=not isinstance(error, ValueError | KeyboardInterrupt)
        )
        raise
    finally:
        warnings.showwarning = shown
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()

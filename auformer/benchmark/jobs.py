"""From runs to what a process can do: configurations resolved, files found, leaks refused, shared trainings known.

Runs whose training is the same, as that of two test sets with the same AUs, train once: the others take over the adapter file.

What is taken over is a file that a finished run of the same benchmark has made its predictions with; where its folder is gone, or the
file is not the one that the predictions were made with, the run trains by itself.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import parse_au_names
from auformer.benchmark.protocols import DataSet, Run
from auformer.benchmark.store import IDENTITY, RUNS, Line, RunLock, folder_of, read_json, read_lines, run_key
from auformer.benchmark.suite import Suite
from auformer.data.dataset import join_manifests
from auformer.data.images import read_image
from auformer.data.manifest import read_manifest
from auformer.data.splits import check_disjoint, cut_fold, cut_subjects, dataset_id
from auformer.errors import ManifestError
from auformer.files import atomic_path
from auformer.models.checkpoints import resolve_checkpoint
from auformer.scoring.provenance import file_sha256
from auformer.training.config import MethodConfig, resolve_config
from auformer.training.run_folder import RunFolder

SHOWN = 3  # examples in a message
FILE, PICTURE, FIRST = "@file", "@picture", "@first"  # marks of a row's recording
WHAT = {FILE: "the video", PICTURE: "the picture", FIRST: "the first picture"}


def with_marks(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with marks of the recording that each is from, empty where there is none to know it by.

    Args:
        rows: Usable rows of `join_manifests`, with the column `@manifest`.

    Returns:
        A copy with `@file` (data set and source file), `@picture` (the picture's path) and `@first` (digest of the first picture of the
        row's sequence, on that row: a copy of a video under another name begins with the same one).
    """
    marked = rows.copy()
    marked[FILE] = marked[PICTURE] = marked[FIRST] = ""
    if "file" in rows.columns:
        known = rows["file"].notna() & (rows["file"] != "")
        sets = rows["dataset"].map({name: dataset_id(name) for name in rows["dataset"].unique()})
        marked[FILE] = (sets + ": " + rows["file"].astype(str)).where(known, "")
    if "image" in rows.columns:
        folders = {path: Path(path).resolve().parent.as_posix() for path in rows["@manifest"].astype(str).unique()}
        marked[PICTURE] = rows["@manifest"].astype(str).map(folders) + "/" + rows["image"].astype(str)
        first = marked.sort_values("frame").drop_duplicates(["dataset", "subject", "sequence"])[PICTURE]
        marked.loc[first.index, FIRST] = [_digest(Path(path)) for path in first]
    return marked


def _digest(path: Path) -> str:
    """SHA-256 of a picture; empty where it is missing, which is the data set's to report."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def check_leaks(train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Refuse training and test rows that show the same person or the same recording.

    Args:
        train: Rows to train and validate on, of `with_marks`.
        test: Rows to test on, of `with_marks`.

    Raises:
        ManifestError: A person, a video (`file` of a data set), a picture, or the first picture of a sequence is on both sides.
    """
    check_disjoint({"training": train, "test": test})
    for mark, what in WHAT.items():
        both = [value for value in np.intersect1d(train[mark].unique(), test[mark].unique()) if value]
        if both:
            told = "; ".join(
                f"{_row(train, mark, value)} (training) and {_row(test, mark, value)} (test)" for value in both[:SHOWN]
            )
            more = f" and {len(both) - SHOWN:,} more" if len(both) > SHOWN else ""
            raise ManifestError(
                f"Expected no recording in training and in test, but {what} of these is the same: {told}{more}; one recording under two "
                "subjects is a leak, so correct the manifest"
            )


def _row(rows: pd.DataFrame, mark: str, value: str) -> str:
    """The first row with a mark, in words."""
    row = rows[rows[mark] == value].iloc[0]
    source = f", file {row['file']}" if mark == FILE else f", {row['image']}"
    return f"{row['dataset']} {row['subject']} {row['sequence']} frame {row['frame']}{source}"


SAMPLE = 64  # pictures from which the mean and spread of a data set are measured [ours]
FAR = 0.1  # of the range [0, 1]: from this difference on, two data sets count as lit or recorded in another way [ours]


@dataclass(frozen=True)
class Job:
    """A run that is ready to go.

    Attributes:
        run: What it is.
        config: How the method is built and trained.
        train: Manifests to train on.
        test: Manifests to test on; empty where the test part is cut out of `train`.
        au_names: AUs to train on; None: all that the training rows have.
        claim: What its folder says: identity, key, configuration.
        out: Folder of the benchmark.
        folder: Of the run.
        init: Checkpoint to start from.
        warnings: What a reader of its numbers should know.
        provenance: Commit and machine.
    """

    run: Run
    config: MethodConfig
    train: tuple[str, ...]
    test: tuple[str, ...]
    au_names: tuple[str, ...] | None
    claim: Mapping[str, Any]
    out: Path
    folder: Path
    init: str | None
    warnings: tuple[str, ...]
    provenance: Mapping[str, str]


def make_jobs(
    suite: Suite, runs: Sequence[Run], data: Mapping[str, DataSet], provenance: Mapping[str, str]
) -> list[Job]:
    """Everything that can be wrong with runs before they start is found here.

    Args:
        suite: What the runs are of.
        runs: Runs on data that is there.
        data: As `Suite.find_data` gives it.
        provenance: Commit and machine.

    Raises:
        ManifestError: A person or a recording is in training and test.
        ValueError: A manifest or a file of weights is missing, a configuration is wrong, or no AU is left.
    """
    missing = sorted({name for run in runs for name in (*run.train, *run.test.data) if data[name].facts is None})
    if missing:
        paths = ", ".join(str(data[name].path) for name in missing)
        raise ValueError(f"Expected the manifests of {', '.join(missing)} to be there, but found none at {paths}")
    digests = {name: file_sha256(one.path) for name, one in data.items() if one.facts is not None}
    configs = {(run.method, run.name): resolve_config(suite.config_of(run.method, run.name)) for run in runs}
    for (method, _), config in configs.items():
        suite.check_weights(method, config.model.get("checkpoint_path"))
    _check_parts(runs, data)
    return [_job(suite, run, configs[run.method, run.name], data, digests, provenance) for run in runs]


def _job(
    suite: Suite,
    run: Run,
    config: MethodConfig,
    data: Mapping[str, DataSet],
    digests: Mapping[str, str],
    provenance: Mapping[str, str],
) -> Job:
    """One run with everything that it needs."""
    test = () if run.test.data == run.train else tuple(str(data[name].path) for name in run.test.data)
    au_names, warnings = _au_names(run, config, data)
    if test:
        warnings += tuple(image_differences([data[name] for name in run.train], [data[name] for name in run.test.data]))
    checkpoint = suite.checkpoint_of(run)
    config = replace(config, data={**config.data, **_fitting(run, config)})
    plain = config.plain() | {"au_names": list(au_names) if au_names else None}
    plain |= {"min_steps": run.min_steps} if run.min_steps else {}
    claim: dict[str, Any] = {
        "protocol": run.protocol, "name": run.name, "data": "+".join(run.train), "test": "+".join(run.test.data), "method": run.method,
        "fold": run.fold, "subset": run.subset, "seed": run.seed, "select": run.validation, "init": run.init,
    }  # fmt: skip
    assert tuple(claim) == IDENTITY
    used = sorted({*run.train, *run.test.data})
    digest = None if checkpoint is None else file_sha256(resolve_checkpoint(checkpoint))
    subjects = None if run.test.subjects is None else list(run.test.subjects)
    sources = {"init_sha256": digest, "test_subjects": subjects, "data_sha256": {name: digests[name] for name in used}}
    key = run_key({**claim, "config": plain, **sources})
    claim = {"key": key, **claim, "config_hash": run_key(plain), "config": plain, **sources}
    folder, train = folder_of(suite.out, claim), tuple(str(data[name].path) for name in run.train)
    return Job(
        run, config, train, test, au_names, claim, suite.out, folder, checkpoint, (*run.warnings, *warnings), provenance
    )


def _fitting(run: Run, config: MethodConfig) -> dict[str, Any]:
    """Settings of the data that the protocol calls for: clips as one sample each; few rows may lack an AU, which is left out and named."""
    clips = {"clip_input": "apex"} if run.clips and config.data["clip_input"] == "frames" else {}
    return {**clips, **({"leave_out_missing": True} if run.protocol in ("efficiency", "micro") else {})}


def _au_names(
    run: Run, config: MethodConfig, data: Mapping[str, DataSet]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """AUs to train on, in the configuration's order where it names some, and what is left out for want of a test."""
    asked = config.data["au_names"]
    wanted = None if asked is None else parse_au_names(asked)
    if run.au_names is None:
        return wanted, ()
    names = run.au_names if wanted is None else tuple(au for au in wanted if au in run.au_names)
    if run.protocol == "micro":  # leave one data set out: what no training set codes cannot be learnt
        trained = {au for name in run.train for au in _facts(data[name]).au_names}
        left_out = [au for au in names if au not in trained]
        names = tuple(au for au in names if au in trained)
        return _some(names, run), ((f"not annotated in training: {', '.join(left_out)}",) if left_out else ())
    return _some(names, run), ()


def _some(names: tuple[str, ...], run: Run) -> tuple[str, ...]:
    """AUs, unless there are none."""
    if not names:
        raise ValueError(
            f"Expected an action unit of the configuration that training and test of `{run.text()}` share, but got none"
        )
    return names


def _facts(data: DataSet) -> Any:
    """Facts of a data set that is there."""
    assert data.facts is not None
    return data.facts


def _check_parts(runs: Sequence[Run], data: Mapping[str, DataSet]) -> None:
    """Refuse a person or a recording on both sides of a run."""
    tables: dict[tuple[str, ...], pd.DataFrame] = {}

    def table(names: tuple[str, ...]) -> pd.DataFrame:
        if names not in tables:
            joined = join_manifests([data[name].path for name in names])
            tables[names] = with_marks(joined[joined["status"] == "ok"])
        return tables[names]

    for train, test in dict.fromkeys((run.train, run.test) for run in runs):
        if test.fold is not None:
            parts = cut_fold(table(train), test.fold)
        elif test.subjects is not None:
            parts = cut_subjects(table(train), test.subjects)
        else:
            parts = table(train), table(test.data)
        check_leaks(*parts)


def image_differences(train: Sequence[DataSet], test: Sequence[DataSet]) -> list[str]:
    """What a reader should know where the pictures of both sides were not made in the same way.

    Args:
        train: Data sets to train on.
        test: Data sets to test on.

    Returns:
        A text per difference in crop recipe, and in mean or spread of a colour over 64 pictures.
    """
    found = []
    for mine in train:
        for theirs in test:
            (recipe, level, spread), (other, other_level, other_spread) = image_look(mine.path), image_look(theirs.path)
            if recipe != other:
                found.append(
                    f"crop recipes differ: {mine.name} {recipe or 'unknown'}, {theirs.name} {other or 'unknown'}"
                )
            for what, one, two in (("mean", level, other_level), ("standard deviation", spread, other_spread)):
                if np.abs(one - two).max() > FAR:
                    told = f"{mine.name} {_colours(one)}, {theirs.name} {_colours(two)}"
                    found.append(f"{what} of the pictures (R/G/B, of 1) differs: {told}")
    return found


def _colours(values: np.ndarray) -> str:
    """Red, green and blue in text."""
    return "/".join(f"{value:.2f}" for value in values)


@lru_cache(maxsize=32)
def image_look(path: Path) -> tuple[str | None, np.ndarray, np.ndarray]:
    """Crop recipe of a manifest, and mean and standard deviation per channel of pictures spread evenly over it, `(3,)` in [0, 1]."""
    manifest = read_manifest(path)
    images = manifest.loc[manifest["status"] == "ok", "image"].tolist()
    chosen = [images[row] for row in np.unique(np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int))]
    sums, squares = np.zeros(3), np.zeros(3)
    for name in chosen:
        pixels = read_image(path.parent / name).reshape(-1, 3) / 255.0
        sums, squares = sums + pixels.mean(0), squares + np.square(pixels).mean(0)
    mean = sums / len(chosen)
    return (
        manifest.attrs["side"].get("crop_recipe"),
        mean,
        np.sqrt(np.maximum(squares / len(chosen) - np.square(mean), 0)),
    )


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
            for one, other in (
                (source.metrics, mine.metrics),
                (source.config, mine.config),
                (source.adapter, mine.adapter),
            ):
                with atomic_path(other) as temporary:
                    shutil.copyfile(one, temporary)
            whole = summary is not None and file_sha256(mine.adapter) == sha256
        except OSError as error:  # somebody is clearing that folder
            logger.warning("%s cannot be taken over (%s)", source.path, error)
            whole = False
        if whole and summary is not None:
            place = source.path.relative_to(job.out).as_posix()
            mine.finish({**summary, TRAINED_BY: summary.get(TRAINED_BY) or place})
            logger.info(
                "training taken over from %s, commit %s: the same data, AUs, configuration and seed",
                place,
                line.get("commit"),
            )
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

"""From runs to jobs: configurations resolved, files found, leaks refused, shared trainings known.

Runs whose training is the same, as that of two test sets with the same AUs, train once: the others take over the
adapter file of a finished run of the same benchmark. Where its folder is gone, or the file is not the one that its
predictions were made with, a run trains by itself.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import parse_au_names
from auformer.benchmark.protocols import DataSet, Run
from auformer.benchmark.store import IDENTITY, RUNS, Line, RunLock, folder_of, read_lines
from auformer.benchmark.suite import Suite
from auformer.data.films import row_image
from auformer.data.manifest import join_manifests, read_manifest
from auformer.data.splits import check_disjoint, cut_fold, cut_subjects, dataset_id
from auformer.errors import ManifestError
from auformer.files import atomic_path, digest, read_json, sha256
from auformer.models.checkpoints import resolve_checkpoint
from auformer.training.config import MethodConfig, resolve_config
from auformer.training.run_folder import RunFolder

logger = logging.getLogger("auformer.benchmark")
TRAINED_BY, WEIGHTS = "trained_by", "weights_sha256"
SHOWN = 3  # examples in a message [ours]
SAMPLE = 64  # images from which the mean and spread of a data set are measured [ours]
FAR = 0.1  # of the range [0, 1]: from this difference on, two data sets count as lit or recorded in another way [ours]
FILE, IMAGE, FIRST = "@file", "@image", "@first"  # marks of a row's video
WHAT = {FILE: "the video", IMAGE: "the image", FIRST: "the first image"}


@dataclass(frozen=True)
class Job:
    """A run that is ready to be done."""

    run: Run  # what it is
    config: MethodConfig  # how the method is built and trained
    train: tuple[str, ...]  # manifests to train on
    test: str | None  # manifest to test on; None where the test rows are cut out of `train`
    au_names: tuple[str, ...] | None  # AUs to train on; None: all that the training rows have
    claim: Mapping[str, Any]  # what its folder says: identity, key, configuration
    out: Path  # folder of the benchmark
    folder: Path  # of the run
    init: str | None  # checkpoint to start from
    warnings: tuple[str, ...]  # what a reader of its numbers should know
    provenance: Mapping[str, str]  # commit and machine


def make_jobs(
    suite: Suite, runs: Sequence[Run], data: Mapping[str, DataSet], provenance: Mapping[str, str]
) -> list[Job]:
    """Everything that can be wrong with runs before they start is found here.

    Raises:
        ManifestError: A person or a video is in training and test.
        ValueError: A manifest or a file of weights is missing, a configuration is wrong, or no AU is left.
    """
    missing = sorted({name for run in runs for name in (*run.train, run.test.data) if data[name].facts is None})
    if missing:
        paths = ", ".join(str(data[name].path) for name in missing)
        raise ValueError(f"Expected the manifests of {', '.join(missing)} to be there, but found none at {paths}")
    digests = {name: sha256(one.path) for name, one in data.items() if one.facts is not None}
    configs = {(run.method, run.name): resolve_config(suite.config_of(run.method, run.name)) for run in runs}
    for (method, _), config in configs.items():
        suite.check_weights(method, config.weights)
    _check_splits(runs, data)
    return [_job(suite, run, configs[run.method, run.name], data, digests, provenance) for run in runs]


def _job(
    suite: Suite, run: Run, config: MethodConfig, data: Mapping[str, DataSet], digests: Mapping[str, str],
    provenance: Mapping[str, str],
) -> Job:  # fmt: skip
    """One run with everything that it needs."""
    tested = data[run.test.data]
    within = run.train == (tested.name,)
    au_names, warnings = _au_names(run, config, data)
    if not within:
        warnings += tuple(image_differences([data[name] for name in run.train], tested))
    checkpoint = suite.checkpoint_of(run)
    config = replace(config, data={**config.data, **_fitting(run, config)})
    plain = config.plain() | {"au_names": list(au_names) if au_names else None}
    plain |= {"min_steps": run.min_steps} if run.min_steps else {}
    claim: dict[str, Any] = {
        "protocol": run.protocol, "name": run.name, "data": "+".join(run.train), "test": tested.name,
        "method": run.method, "fold": run.fold, "subset": run.subset, "seed": run.seed, "select": run.validation,
        "init": run.init,
    }  # fmt: skip
    assert tuple(claim) == IDENTITY
    sources = {
        "init_sha256": None if checkpoint is None else sha256(resolve_checkpoint(checkpoint)),
        "test_subjects": None if run.test.subjects is None else list(run.test.subjects),
        "data_sha256": {name: digests[name] for name in sorted({*run.train, tested.name})},
    }
    key = digest({**claim, "config": plain, **sources})
    claim = {"key": key, **claim, "config_hash": digest(plain), "config": plain, **sources}
    return Job(
        run, config, tuple(str(data[name].path) for name in run.train), None if within else str(tested.path), au_names,
        claim, suite.out, folder_of(suite.out, claim), checkpoint, (*run.warnings, *warnings), provenance,
    )  # fmt: skip


def _fitting(run: Run, config: MethodConfig) -> dict[str, Any]:
    """Settings of the data that the protocol calls for: clips as one sample each; AUs without positives left out."""
    clips = {"clip_input": "apex"} if run.clips and config.data["clip_input"] == "frames" else {}
    return {**clips, **({"leave_out_missing": True} if run.protocol in ("efficiency", "micro") else {})}


def _au_names(
    run: Run, config: MethodConfig, data: Mapping[str, DataSet]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """AUs to train on, in the configuration's order where it names some, and which are left out for want of labels."""
    asked = config.data["au_names"]
    wanted = None if asked is None else parse_au_names(asked)
    if run.au_names is None:
        return wanted, ()
    names = run.au_names if wanted is None else tuple(au for au in wanted if au in run.au_names)
    left_out: list[str] = []
    if run.protocol == "micro":  # leave one data set out: what no training set codes cannot be learnt
        facts = [data[name].facts for name in run.train]
        trained = {au for one in facts if one is not None for au in one.au_names}
        left_out = [au for au in names if au not in trained]
        names = tuple(au for au in names if au in trained)
    if not names:
        raise ValueError(
            f"Expected an action unit of the configuration that training and test of `{run.text()}` share, but got none"
        )
    return names, ((f"not annotated in training: {', '.join(left_out)}",) if left_out else ())


def with_marks(rows: pd.DataFrame) -> pd.DataFrame:
    """A copy of usable rows of `join_manifests` with marks of the video that each is from, empty where it has none.

    `@file` is data set and source file, `@image` the path of the image, of rows without images that of the video, and
    `@first` the digest of the first of these files in the row's sequence, on that row: a copy of a video under another
    name begins with the same one.
    """
    marked = rows.copy()
    marked[FILE] = marked[IMAGE] = marked[FIRST] = ""
    if "file" in rows.columns:
        known = rows["file"].notna() & (rows["file"] != "")
        sets = rows["dataset"].map({name: dataset_id(name) for name in rows["dataset"].unique()})
        marked[FILE] = (sets + ": " + rows["file"].astype(str)).where(known, "")
    if "image" in rows.columns or "file" in rows.columns:
        names = rows["image"] if "image" in rows.columns else rows["file"].fillna("")
        folders = {path: Path(path).resolve().parent.as_posix() for path in rows["@manifest"].astype(str).unique()}
        marked[IMAGE] = rows["@manifest"].astype(str).map(folders) + "/" + names.astype(str)
        marked[IMAGE] = marked[IMAGE].where(names != "", "")
        first = marked.sort_values("frame").drop_duplicates(["dataset", "subject", "sequence"])[IMAGE]
        # one that is missing is reported by whoever reads the data set
        marked.loc[first.index, FIRST] = [sha256(path) if Path(path).is_file() else "" for path in first]
    return marked


def check_leaks(train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Refuse training and test rows, of `with_marks`, that show the same person or the same video.

    Raises:
        ManifestError: A person, a video (`file` of a data set), an image, or the first image of a sequence is on both
            sides.
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
                f"Expected no video in training and in test, but {what} of these is the same: {told}{more}; one video "
                "under two subjects is a leak, so correct the manifest"
            )


def _row(rows: pd.DataFrame, mark: str, value: str) -> str:
    """The first row with a mark, in words."""
    row = rows[rows[mark] == value].iloc[0]
    source = f", file {row['file']}" if mark == FILE else f", {row['image' if 'image' in row else 'file']}"
    return f"{row['dataset']} {row['subject']} {row['sequence']} frame {row['frame']}{source}"


def _check_splits(runs: Sequence[Run], data: Mapping[str, DataSet]) -> None:
    """Refuse a person or a video on both sides of a run."""

    @cache
    def table(names: tuple[str, ...]) -> pd.DataFrame:
        joined = join_manifests([data[name].path for name in names])
        return with_marks(joined[joined["status"] == "ok"])

    for train, test in dict.fromkeys((run.train, run.test) for run in runs):
        if test.fold is not None:
            check_leaks(*cut_fold(table(train), test.fold))
        elif test.subjects is not None:
            check_leaks(*cut_subjects(table(train), test.subjects))
        else:
            check_leaks(table(train), table((test.data,)))


def image_differences(train: Sequence[DataSet], test: DataSet) -> list[str]:
    """A text per difference in crop recipe, and in mean or spread of a colour over 64 images, for each training set."""
    found = []
    other, other_level, other_spread = image_look(test.path)
    for mine in train:
        recipe, level, spread = image_look(mine.path)
        if recipe != other:
            found.append(f"crop recipes differ: {mine.name} {recipe or 'unknown'}, {test.name} {other or 'unknown'}")
        for what, one, two in (("mean", level, other_level), ("standard deviation", spread, other_spread)):
            if np.abs(one - two).max() > FAR:
                colours = ["/".join(f"{value:.2f}" for value in values) for values in (one, two)]
                found.append(
                    f"{what} of the images (R/G/B, of 1) differs: {mine.name} {colours[0]}, {test.name} {colours[1]}"
                )
    return found


@lru_cache(maxsize=32)
def image_look(path: Path) -> tuple[str | None, np.ndarray, np.ndarray]:
    """Crop recipe of a manifest, and mean and deviation per channel of images spread over it, `(3,)` in [0, 1]."""
    manifest = read_manifest(path)
    rows = manifest[manifest["status"] == "ok"]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)).tolist()
    sums, squares = np.zeros(3), np.zeros(3)
    for row in chosen:
        pixels = row_image(path.parent, rows.iloc[row]).reshape(-1, 3) / 255.0
        sums, squares = sums + pixels.mean(0), squares + np.square(pixels).mean(0)
    mean = sums / len(chosen)
    spread = np.sqrt(np.maximum(squares / len(chosen) - np.square(mean), 0))
    return manifest.attrs["side"].get("crop_recipe"), mean, spread


_ABOUT = ("data", "test", "fold", "subset", "seed", "select", "config", "init_sha256", "test_subjects", "data_sha256")


def training_key(claim: Mapping[str, Any]) -> str | None:
    """SHA-256 of what makes the training of a run, from its claim or line, whatever it is tested on and called.

    None where no other run may share the training: its epoch is chosen on the test split, or the claim does not say
    enough.
    """
    if any(name not in claim for name in _ABOUT) or claim["select"] == "test":
        return None
    sources: Mapping[str, str] = claim["data_sha256"]
    names = str(claim["data"]).split("+")
    if any(name not in sources for name in names):
        return None
    cut = [claim["fold"], claim["test_subjects"]] if claim["test"] == claim["data"] else None
    about = {name: claim[name] for name in ("subset", "seed", "select", "config", "init_sha256")}
    return digest({**about, "data": [[name, sources[name]] for name in names], "cut": cut})


def weights_sha256(job: Job) -> str | None:
    """SHA-256 of the local file of the ViT's weights, of which a run's key knows the name only; None without one."""
    return None if job.config.weights is None else sha256(job.config.weights)


def next_job(waiting: list[Job], busy: Sequence[Job]) -> Job | None:
    """Take the first run off the list whose training no busy process does; None where every one has to wait."""
    taken = {training_key(job.claim) for job in busy} - {None}
    for position, job in enumerate(waiting):
        if training_key(job.claim) not in taken:
            return waiting.pop(position)
    return None


@contextmanager
def training_lock(job: Job) -> Iterator[bool]:
    """Whether this process may train; inside, no other one does the same training."""
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
    mine = RunFolder(job.folder)
    for line, adapter in _twins(job):
        source = RunFolder(folder_of(job.out, line))
        mine.clear()
        try:
            summary = read_json(source.summary)
            for name in ("metrics", "config", "adapter"):
                with atomic_path(getattr(mine, name)) as temporary:
                    shutil.copyfile(getattr(source, name), temporary)
            whole = summary is not None and sha256(mine.adapter) == adapter
        except OSError as error:  # somebody is clearing that folder
            logger.warning("%s cannot be taken over (%s)", source.path, error)
            whole = False
        if whole and summary is not None:
            place = source.path.relative_to(job.out).as_posix()
            mine.finish({**summary, TRAINED_BY: summary.get(TRAINED_BY) or place})
            same = "the same data, AUs, configuration and seed"
            logger.info("training taken over from %s, commit %s: %s", place, line.get("commit"), same)
            return True
        mine.clear()
    return False


def _twins(job: Job) -> Iterator[tuple[Line, str]]:
    """Finished runs whose training is the same, each with the SHA-256 of the adapter file in its folder.

    The predictions beside that file have to be of this training, and made with that very file.
    """
    key, weights = training_key(job.claim), weights_sha256(job)
    if key is None:
        return
    for line in read_lines(job.out).values():
        folder = RunFolder(folder_of(job.out, line))
        if training_key(line) != key or not folder.finished or weights not in (None, line.get(WEIGHTS)):
            continue
        side = read_json(folder.path / "predictions.json") or {}
        adapter = sha256(folder.adapter)
        if training_key(side.get("run") or {}) == key and (side.get("adapter") or {}).get("sha256") == adapter:
            yield line, adapter

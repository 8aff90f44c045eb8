"""From runs to what a process can do: configurations resolved, files found, leaks refused, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import parse_au_names
from auformer.benchmark.data_facts import DataSet
from auformer.benchmark.leaks import check_leaks, with_marks
from auformer.benchmark.run import Run
from auformer.benchmark.store import IDENTITY, folder_of, run_key
from auformer.benchmark.suite import Suite
from auformer.data.images import read_image
from auformer.data.joining import join_manifests
from auformer.data.manifest import read_manifest
from auformer.data.parts import cut_fold, cut_subjects
from auformer.models.checkpoints import resolve_checkpoint
from auformer.scoring.provenance import file_sha256
from auformer.training.method_config import MethodConfig, resolve_config

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


def make_jobs(suite: Suite, runs: Sequence[Run], data: Mapping[str, DataSet], provenance: Mapping[str, str]) -> list[Job]:
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
    suite: Suite, run: Run, config: MethodConfig, data: Mapping[str, DataSet], digests: Mapping[str, str], provenance: Mapping[str, str]
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
    return Job(run, config, train, test, au_names, claim, suite.out, folder, checkpoint, (*run.warnings, *warnings), provenance)


def _fitting(run: Run, config: MethodConfig) -> dict[str, Any]:
    """Settings of the data that the protocol calls for: clips as one sample each; few rows may lack an AU, which is left out and named."""
    clips = {"clip_input": "apex"} if run.clips and config.data["clip_input"] == "frames" else {}
    return {**clips, **({"leave_out_missing": True} if run.protocol in ("efficiency", "micro") else {})}


def _au_names(run: Run, config: MethodConfig, data: Mapping[str, DataSet]) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
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
        raise ValueError(f"Expected an action unit of the configuration that training and test of `{run.text()}` share, but got none")
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
                found.append(f"crop recipes differ: {mine.name} {recipe or 'unknown'}, {theirs.name} {other or 'unknown'}")
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
    return manifest.attrs["side"].get("crop_recipe"), mean, np.sqrt(np.maximum(squares / len(chosen) - np.square(mean), 0))

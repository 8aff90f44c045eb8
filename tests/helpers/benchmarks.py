"""Tiny benchmarks: manifests of a few small images, a ViT of timm with its weights in a file, suites of a second."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from auformer.benchmark.jobs import Job, make_jobs
from auformer.benchmark.suite import Method, Source, Suite, parse_entry
from auformer.data.images import write_image
from auformer.data.manifest import read_manifest, write_manifest
from tests.helpers.faces import tiny_image, tiny_manifest
from tests.helpers.runs import write_vit

VIT = "test_vit"  # of timm itself: a spawned process knows no models of the tests
AUS = ("AU1", "AU4", "AU12")
PROVENANCE = {"commit": "c0ffee", "machine": "a test"}


def write_config(folder: Path, name: str = "tiny.yaml", **settings: Any) -> Path:
    """A configuration for 32 px and one epoch; further settings by name with `__` for dots."""
    if not (folder / "vit.safetensors").is_file():
        write_vit(folder / "vit.safetensors", VIT)
    network = {"backbone": VIT, "pretrained": False, "checkpoint_path": str(folder / "vit.safetensors")}
    network |= {"img_size": 32, "expert_width": 2}
    content: dict[str, Any] = {
        "model": {
            "class_path": "auformer.training.module.AUModule",
            "init_args": {"network": {"class_path": "auformer.models.auformer.AUFormer", "init_args": network}},
        },
        "data": {"image_size": 32, "batch_size": 8, "augment": "none", "val_fraction": 0.3},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    for dotted, value in settings.items():
        *path, last = dotted.split("__")
        inner = content
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / name


def tiny_clips(
    folder: Path, *, subjects: int = 4, clips: int = 2, frames: int = 4, dataset: str = "clips",
    au_names: Sequence[str] = AUS, no_apex: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Clips of 32 px from frame 10 on, the apex is the second one; every AU is active in some clip of every subject."""
    rng, rows = np.random.default_rng(0), []
    for subject, clip in itertools.product(range(subjects), range(clips)):
        labels = [(subject + clip + number) % 2 for number in range(len(au_names))]
        name = f"S{subject}_{clip}"
        for frame in range(10, 10 + frames):
            image = f"images/{dataset}_{subject}_{clip}_{frame}.png"
            write_image(folder / image, tiny_image(rng, labels, 32))
            place = {"dataset": dataset, "subject": f"S{subject}", "sequence": f"c{clip}", "frame": frame}
            place["image"] = image
            course = {"clip": name, "onset": 10, "apex": None if name in no_apex else 11, "offset": 9 + frames}
            rows.append(place | course | dict(zip(au_names, labels, strict=True)))
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv", {"dataset": dataset, "crop_recipe": "eyes"})
    return folder / "manifest.csv"


def two_labs(folder: Path) -> dict[str, Source]:
    """`one` (6 people in three folds, AU1 4 12) and `two` (4 others, AU4 12 25)."""
    one = tiny_manifest(folder / "one", subjects=6, frames=4, dataset="one")
    two = tiny_manifest(folder / "two", subjects=4, frames=4, dataset="two", au_names=("AU4", "AU12", "AU25"), seed=1)
    return {"one": Source(one), "two": Source(two)}


def suite_of(
    folder: Path, data: Mapping[str, Source], *entries: Mapping[str, Any], out: str = "out", **settings: Any
) -> Suite:
    """A suite of the method `auformer` on tiny data."""
    parsed = [parse_entry(dict(one), "an entry of a test") for one in entries]
    return Suite(folder / out, data, {"auformer": Method(write_config(folder), settings)}, parsed)


def jobs_of(suite: Suite) -> list[Job]:
    """All jobs of a suite."""
    data = suite.find_data()
    return make_jobs(suite, suite.runs(data), data, PROVENANCE)


class Killed(BaseException):
    """As if the process ended here."""


def run_job(job: Job) -> dict[str, Any]:
    """Claim and do a run; its line."""
    from auformer.benchmark.runner import claim, execute

    claim(job)
    line = execute(job)
    assert line is not None
    return line


def rewrite(manifest: Path, **columns: Any) -> Path:
    """Give a manifest other columns; None takes one away."""
    frame = read_manifest(manifest).assign(**columns)
    write_manifest(
        frame.drop(columns=[name for name in columns if columns[name] is None]), manifest, frame.attrs["side"]
    )
    return manifest

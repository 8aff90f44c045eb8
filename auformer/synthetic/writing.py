"""A rendered data set on disk: pictures, the manifest, exact truth, landmarks, and a JSON file with everything needed to make it again.

    OUT/images/A00012/00017.jpg     the pictures, a folder per subject
    OUT/manifest.csv                labels as the lab's coders would give them
    OUT/manifest.json               its side file: parameters, expected and measured label rates, crop recipe
    OUT/manifest.faces.parquet      box and five points of every picture, in pixels
    OUT/truth.parquet               exact intensity of every muscle per side, pose, light, camera and nuisance

The result is a function of the parameters, to the byte on one machine, whatever the number of workers. An interrupted run goes on where it
stopped.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
from tqdm import tqdm

from auformer import __version__
from auformer.faces.align import EYES
from auformer.synthetic.clips import DRIFT, LONGEST, PEAK, SHORTEST
from auformer.synthetic.folder import DatasetFolder
from auformer.synthetic.labels import expected_rates
from auformer.synthetic.parameters import DatasetParameters, default_aus
from auformer.synthetic.sampling import lab_table
from auformer.synthetic.subject import SubjectJob, render_subject


def render_dataset(
    out: str | Path,
    *,
    lab: str,
    subjects: int = 40,
    frames: int = 100,
    au_names: str | Sequence[str] | None = None,
    size: int = 112,
    seed: int = 0,
    first_subject: int = 0,
    workers: int = 1,
    clips: int = 0,
    pose_scale: float = 1.0,
    jitter: bool = True,
    roll: bool = True,
    progress: bool = False,
) -> Path:
    """Render a data set into a folder, or go on with one, or find that it is there already.

    Args:
        out: the folder; made if it does not exist.
        lab: "A" (expressive, even light) or "B" (sparse, side light, worse camera).
        subjects: number of faces, at least 1.
        frames: stills per subject; ignored where there are clips.
        au_names: AUs that get labels: a set's name, names with commas, or a sequence; None is BP4D's 12 in lab A, DISFA's 8 in lab B.
        size: pixels per side, 32 to 1,024, a multiple of 4.
        seed: of expressions, scenes and noise, at least 0; the faces do not depend on it.
        first_subject: number of the first face; sets whose numbers do not overlap share no face, and two labs never do.
        workers: processes; more than one need the entry guard of `multiprocessing` in scripts.
        clips: micro-expression clips per subject in place of stills, 0 for stills.
        pose_scale: factor on the spread of the head pose, 0 to 3.
        jitter: whether the crop's centre and side vary around the `eyes` recipe.
        roll: whether the head rolls.
        progress: whether a bar is shown on the error stream.

    Returns:
        Path of the manifest.

    Raises:
        ValueError: a parameter is out of range, or the folder holds something else.
        OSError: the folder cannot be written.
    """
    parameters = DatasetParameters(
        lab=lab, subjects=subjects, frames=0 if clips else frames, clips=clips, au_names=default_aus(lab, au_names), size=size, seed=seed,
        first_subject=first_subject, pose_scale=float(pose_scale), jitter=bool(jitter), roll=bool(roll),
    )  # fmt: skip
    if workers < 1:
        raise ValueError(f"Expected `workers` to be at least 1, but got {workers}")
    return _complete(DatasetFolder(Path(out)), parameters, workers, progress)


def _complete(folder: DatasetFolder, parameters: DatasetParameters, workers: int, progress: bool) -> Path:
    """Draw what is missing, write the tables if they are not there; returns the manifest's path."""
    folder.claim(parameters)
    jobs = parameters.jobs(folder.images)
    missing, complete = folder.missing(jobs), folder.is_complete
    title = f"rendering lab {parameters.lab}"
    with tqdm(
        total=len(jobs), initial=len(jobs) - len(missing), desc=title, unit="subject", disable=not progress
    ) as bar:
        for job, known in _render_all(missing, workers):
            if not complete:  # a picture that has gone from a complete set is only drawn again
                folder.keep(job.name, known)
            bar.update()
    if not complete:
        tables = folder.collect(jobs)
        folder.close(tables, side_file(parameters, tables["manifest"]))
    return folder.manifest


def _render_all(jobs: list[SubjectJob], workers: int) -> Iterator[tuple[SubjectJob, dict[str, dict[str, Any]]]]:
    """Render subjects, yielding each as soon as it is done."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, render_subject(job)
        return
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        pending = {pool.submit(render_subject, job): job for job in jobs}
        for future in as_completed(pending):
            yield pending[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """A worker leaves Ctrl-C to its parent and takes one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def label_rates(parameters: DatasetParameters, manifest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per AU: rows labelled present, their share, and for stills the share to expect after the lab's threshold."""
    rates: dict[str, dict[str, Any]] = {}
    for name in parameters.au_names:
        rates[name] = {"positives": int(manifest[name].sum()), "measured": round(float(manifest[name].mean()), 4)}
        if not parameters.clips:
            rates[name]["expected"] = expected_rates(parameters.lab)[name]
    return rates


def side_file(parameters: DatasetParameters, manifest: pd.DataFrame) -> dict[str, Any]:
    """What the manifest's JSON side file says."""
    level = lab_table(parameters.lab)["level"]
    side: dict[str, Any] = {
        "format_version": 1,
        "dataset": parameters.dataset,
        "source": "auformer.synthetic: rendered faces, no person is shown",
        "licence": "Apache-2.0",
        "parameters": parameters.as_dict(),
        "crop_recipe": EYES.name,
        "image_size": [parameters.size, parameters.size],
        "crop": {
            "side": EYES.side,
            "centre_below": EYES.centre_below,
            "jitter": parameters.jitter,
            "roll": parameters.roll,
        },
        "detector": {"name": "renderer", "version": __version__},
        "rows": len(manifest),
        "subjects": int(manifest["subject"].nunique()),
        "labels": f"present: FACS level = floor(5 * max(left, right) + 0.5) is at least {level}",
        "sides": "_left and _right are the person's own; the person's right is on the left of the picture",
        "label_rates": label_rates(parameters, manifest),
        "corrected": [],
    }
    if parameters.clips:
        side["labels"] = (
            "present in all rows of a clip if the AU acts in it; the _intensity columns hold each frame's own"
        )
        side["clips"] = {
            "count": int(manifest["clip"].nunique()),
            "frames": [SHORTEST, LONGEST],
            "peak": list(PEAK),
            "drift_rad": DRIFT,
        }
    return side

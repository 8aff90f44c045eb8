"""BIDS: `_events.tsv` (an episode a row) or `_physio.tsv.gz` (a frame a row) of a person, each with its JSON sidecar.

Brain Imaging Data Structure 1.10, "Task events" and "Physiological recordings" (https://bids-specification.readthedocs.io).
The files are named after the video; in a data set they are renamed to `sub-01_task-talk_events.tsv` and so on. Missing
values are `n/a`; the continuous table has no header line and lies on one even grid of times.
"""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.annotations.job import Item, Job, Writer
from auformer.annotations.tables import rounded
from auformer.annotations.videos import Person, Video, au_text, episode_table
from auformer.aus import ACTION_UNITS

_DECIMALS, _STEPS, _HIGHEST = 4, 10_000, 5  # of probabilities (0 to 1) and intensities (0 to 5) [ours]
_ROWS = 8192  # of the continuous table that are text at a time [ours]
_LEVEL = 1  # of gzip: continuous tables are large, and more saves little [ours]
_INTENSITY = "on the scale of FACS, from 0 (absent) to 5 (E, maximum)"


def files(job: Job) -> dict[str, Writer]:
    """File name -> what writes it."""
    found: dict[str, Writer] = {}
    for item in job.items:
        for person in item.video.people:
            stem = item.video.own_stem(person)
            given: dict[str, Any] = {"item": item, "person": person, "job": job}
            if job.continuous:
                found[f"{stem}_physio.tsv.gz"] = partial(_write_physio, **given)
                found[f"{stem}_physio.json"] = partial(_write_physio_side, **given)
            else:
                found[f"{stem}_events.tsv"] = partial(_write_events, **given)
                found[f"{stem}_events.json"] = partial(_write_events_side, **given)
    return found


def _events(item: Item, person: Person, job: Job) -> pd.DataFrame:
    """Onset, duration, action unit and numbers of the episodes; intensities where some are known."""
    table = episode_table(item.video, person)
    head = {
        "onset": (table["begin_s"] + job.offset_s).round(6),
        "duration": (table["end_s"] - table["begin_s"]).round(6),
        "trial_type": table["au"],
    }
    numbers = rounded(table[["mean_prob", "mean_intensity", "peak_intensity"]])
    if np.isnan(person.intensity).all():
        numbers = numbers[["mean_prob"]]
    return pd.concat([pd.DataFrame(head), table[["frames"]], numbers], axis=1)


def _write_events(path: Path, item: Item, person: Person, job: Job) -> str:
    table = _events(item, person, job)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a", encoding="utf-8", lineterminator="\n")
    return ""


def _write_events_side(path: Path, item: Item, person: Person, job: Job) -> str:
    described = {
        "trial_type": {
            "LongName": "Action unit",
            "Description": f"The action unit that is active. {job.note}",
            "Levels": {au: ACTION_UNITS[au].name for au in item.video.au_names},
        },
        "frames": {"Description": "Frames of the video in which the face was seen during the episode"},
        "mean_prob": {"Description": "Mean probability that the action unit occurs, from 0 to 1, over the frames"},
        "mean_intensity": {"Description": f"Mean predicted intensity over the frames, {_INTENSITY}"},
        "peak_intensity": {"Description": f"Highest predicted intensity in the frames, {_INTENSITY}"},
    }
    there = set(_events(item, person, job).columns)
    return _write_json(path, {name: text for name, text in described.items() if name in there})


def grid(video: Video) -> tuple[float, np.ndarray]:
    """An even grid for the frames of a video.

    Returns:
        Samples per second: the usual frame rate, measured over the whole video; and the sample (m,) that each frame is
        nearest to, from 0. Frames that were dropped leave samples free; at a variable rate two frames may share one.
    """
    times = video.times
    if len(times) < 2 or video.usual <= 0:
        return 1.0 / (video.usual or 1.0), np.zeros(len(times), np.int64)
    counts = np.maximum(1, np.rint(np.diff(times) / video.usual))
    rate = float(counts.sum() / (times[-1] - times[0]))
    return round(rate, 6), np.rint((times - times[0]) * rate).astype(np.int64)


def _series(item: Item, person: Person) -> tuple[list[str], np.ndarray, str]:
    """Names (c,) and values (samples, c) of a person's columns, nan where the face was not seen, and a note."""
    video, (_, places) = item.video, grid(item.video)
    names = [f"{au}_prob" for au in video.au_names]
    columns = person.probs
    known = ~np.isnan(person.intensity).all(axis=0)
    names += [f"{au}_intensity" for au, there in zip(video.au_names, known, strict=True) if there]
    values = np.full((int(places[-1]) + 1, len(names)), np.nan)
    values[places[person.places]] = np.hstack((columns, person.intensity[:, known]))
    shared = len(places) - len(np.unique(places))
    name = item.media.name or video.stem
    note = f"{name}: {shared:,} of {len(places):,} frames share a sample with the next (variable frame rate)"
    return names, values, note if shared else ""


def _write_physio(path: Path, item: Item, person: Person, job: Job) -> str:
    _, values, note = _series(item, person)
    # every number has one of few texts: looking them up is several times as fast as formatting each
    texts = np.array([*(f"{number / _STEPS:.{_DECIMALS}f}" for number in range(_HIGHEST * _STEPS + 1)), "n/a"], object)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:  # no name and no date in it
        for start in range(0, len(values), _ROWS):
            part = values[start : start + _ROWS]
            places = np.where(np.isnan(part), _HIGHEST * _STEPS + 1, np.rint(part * _STEPS)).astype(np.int64)
            file.write("".join("\t".join(row) + "\n" for row in texts[places].tolist()).encode())
    return note


def _write_physio_side(path: Path, item: Item, person: Person, job: Job) -> str:
    names, _, _ = _series(item, person)
    described: dict[str, Any] = {}
    for name in names:
        au, kind = name.split("_")
        what = "Probability that the action unit occurs, from 0 to 1" if kind == "prob" else f"Intensity {_INTENSITY}"
        described[name] = {"LongName": au_text(au), "Description": f"{what}; n/a where no face was seen"}
    facts = {
        "SamplingFrequency": grid(item.video)[0],
        "StartTime": round(float(item.video.times[0]) + job.offset_s, 6),
        "Columns": names,
        "PhysioType": "generic",
        "Description": job.note,
    }
    return _write_json(path, {**facts, **described})


def _write_json(path: Path, content: dict[str, Any]) -> str:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8", newline="\n")
    return ""

"""One tidy table of all episodes of all videos and people, a row each."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from auformer.annotations.job import Job, Writer
from auformer.annotations.tables import rounded
from auformer.annotations.videos import episode_table

NAME = "episodes.csv"
COLUMNS = (
    "dataset", "subject", "sequence", "file", "face", "person", "au", "begin_s", "end_s", "duration_s", "frames",
    "mean_prob", "mean_intensity", "peak_intensity",
)  # fmt: skip


def files(job: Job) -> dict[str, Writer]:
    """File name -> what writes it."""
    return {NAME: partial(_write, job=job)}


def _write(path: Path, job: Job) -> str:
    parts = []
    for item in job.items:
        dataset, subject, sequence = item.video.key
        for person in item.video.people:
            table = episode_table(item.video, person)
            about = {"dataset": dataset, "subject": subject, "sequence": sequence, "file": item.video.file}
            table = table.assign(**about, face=person.face, person=person.label)
            table["duration_s"] = table["end_s"] - table["begin_s"]
            table[["begin_s", "end_s"]] += job.offset_s
            parts.append(table)
    rounded(pd.concat(parts, ignore_index=True)[list(COLUMNS)]).to_csv(
        path, index=False, encoding="utf-8", lineterminator="\n"
    )
    return ""

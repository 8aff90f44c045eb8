"""BORIS: the columns of its export of tabular events, a file per video, two rows (START and STOP) per episode.

Columns: `boris/export_observation.py` of boris-behav-obs 8.27 and 10.0. Times in seconds with three decimals; the file
is for what reads such exports (R, spreadsheets, `auformer prepare annotations`), since BORIS reads none itself.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.annotations.job import Item, Job, Writer
from auformer.annotations.tiers import ACTIVE, tiers
from auformer.aus import ACTION_UNITS

PER_SECOND = 1000


def files(job: Job) -> dict[str, Writer]:
    """File name -> what writes it."""
    return {f"{item.video.stem}.tsv": partial(_write, item=item, job=job) for item in job.items}


def _write(path: Path, item: Item, job: Job) -> str:
    found, note = tiers(item, PER_SECOND)
    parts = [
        pd.DataFrame(
            {
                "step": np.concatenate((tier.begin, tier.end)),
                "order": np.repeat((1, 0), len(tier.begin)),  # at one time an episode stops before the next starts
                "Subject": tier.person.label,
                "Behavior": tier.au,
                "Behavioral category": ACTION_UNITS[tier.au].region,
                "Modifier #1": ["" if value == ACTIVE else value for value in tier.values] * 2,
                "Behavior type": np.repeat(("START", "STOP"), len(tier.begin)),
            }
        )
        for tier in found
    ]
    rows = pd.concat(parts, ignore_index=True).sort_values(["step", "order"], kind="stable", ignore_index=True)
    times = rows["step"].to_numpy() / PER_SECOND
    shown = (item.video.times + item.media.delay_s).round(3)
    frames = np.maximum(np.searchsorted(shown, times, side="right") - 1, 0)
    length = f"{item.media.length:.3f}"
    first = {
        "Observation id": item.video.stem,
        "Observation date": "",
        "Description": job.note,
        "Observation duration": length,
        "Observation type": "Media file(s)",
        "Source": f"player #1:{item.media.link(job.out)}",
        "Time offset (s)": f"{job.offset_s:g}",
        "Media duration (s)": length,
        "FPS": f"{item.media.fps:.3f}",
    }
    last = {
        "Time": [f"{time + job.offset_s:.3f}" for time in times],
        "Media file name": item.media.name,
        "Image index": frames,
        "Image file path": "",
        "Comment": "",
    }
    middle = rows.drop(columns=["step", "order"])
    table = pd.concat([pd.DataFrame(first, index=rows.index), middle, pd.DataFrame(last, index=rows.index)], axis=1)
    table.to_csv(path, sep="\t", index=False, encoding="utf-8", lineterminator="\n")
    return note

"""MNE: the episodes of a person as `mne.Annotations`, in a FIF file or in MNE's text form.

FIF holds 32-bit floats: after an hour an onset is off by up to 0.12 ms. The text form holds six decimals. MNE's CSV
form is not written: MNE 1.13 reads it back shifted by the first onset.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

from auformer.annotations.job import Item, Job, Writer
from auformer.annotations.videos import Person, episode_table
from auformer.errors import require


def files(job: Job) -> dict[str, Writer]:
    """File name -> what writes it.

    Raises:
        MissingExtraError: FIF is asked for, and MNE is not installed.
    """
    if not job.text:
        require("mne", "annotations")
    write, ending = (_write_text, "txt") if job.text else (_write_fif, "fif")
    return {
        f"{item.video.own_stem(person)}-annot.{ending}": partial(write, item=item, person=person, job=job)
        for item in job.items
        for person in item.video.people
    }


def _write_fif(path: Path, item: Item, person: Person, job: Job) -> str:
    mne = require("mne", "annotations")
    table = episode_table(item.video, person)
    onset, duration = table["begin_s"] + job.offset_s, table["end_s"] - table["begin_s"]
    annotations = mne.Annotations(onset.round(6), duration.round(6), table["au"].tolist(), orig_time=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the temporary name does not end as MNE likes it
        annotations.save(path, overwrite=True, verbose="ERROR")
    return ""


def _write_text(path: Path, item: Item, person: Person, job: Job) -> str:
    table = episode_table(item.video, person)
    onset, duration = table["begin_s"] + job.offset_s, table["end_s"] - table["begin_s"]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("# MNE-Annotations\n# onset, duration, description\n")
        file.writelines(
            f"{begin:.6f},{length:.6f},{au}\n"
            for begin, length, au in zip(onset.tolist(), duration.tolist(), table["au"].tolist(), strict=True)
        )
    return ""

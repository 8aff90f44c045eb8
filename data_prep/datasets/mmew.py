"""MMEW: 300 micro-expressions of 30 people at 90 frames a second, an AU text per clip, in folders by emotion."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from auformer.data.cells import cell_text

from ..formats.clips import Folders, find_clips, read_clips, read_table, with_cd6me
from ..formats.sheets import cell_number
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="mmew",
    title="MMEW (micro part)",
    request="MMEW (MMEW_Micro_Exp.xlsx and Micro_Expression) from Xianye Ben, Shandong University",
    terms="research only, signed by a member of staff; neither images nor annotations may be passed on",
    tree="""\
MMEW_Micro_Exp.xlsx
Micro_Expression/anger/S13-07-001/1.jpg""",
    au_names=with_cd6me("mmew"),
    frames="the number in the image's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, config/dataset_config.py",
    per_clip=True,
    doubts="Apex and offset of 16 clips are estimates of tvaranka/meb, which says only that the table's are wrong.",
)

_TABLES = ("MMEW_Micro_Exp.xlsx", "*/MMEW_Micro_Exp.xlsx", "MMEW_Micro_Exp*.xls*")
_IMAGES = ("Micro_Expression", "*/Micro_Expression", "Micro_Expression/Micro_Expression")
_COLUMNS = {
    "subject": ("Subject",), "name": ("Filename",), "onset": ("OnsetFrame",), "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",), "au": ("Action Units", "AUs"), "emotion": ("Estimated Emotion",),
}  # fmt: skip


def read(root: Path, findings: Findings, *, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip."""
    stated, sheet = read_table(
        root, RELEASE, findings, tables=_TABLES, columns=_COLUMNS, corrections=corrections, optional=("emotion",)
    )
    images = find_path(root, *_IMAGES, what=f"images of {RELEASE.title}")

    def find(folders: Folders, subject: str, clip: str, row: int) -> Path | None:
        return _folder(folders, clip, cell_text(sheet.at[row, "emotion"]))

    clips = find_clips(sheet, images, findings, _subject, find)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)


def _subject(value: object, clip: str) -> str:
    """`S13`: of the clip's name `S13-07-001`, or else of the table's number.

    >>> _subject(13, "S13-07-001"), _subject(4.0, "04-07-001")
    ('S13', 'S04')
    """
    match = re.match(r"S\d+(?=-)", clip, re.IGNORECASE)
    number = cell_number(value)
    return match[0].upper() if match else cell_text(value) if number is None else f"S{number:02d}"


def _folder(folders: Folders, clip: str, emotion: str) -> Path | None:
    """The clip's folder: below its emotion, or another one (the table has `others` where folders have `repression`)."""
    direct = folders.find(emotion, clip)
    if direct is not None:
        return direct
    found = [
        path for path in (folders.find(each.name, clip) for each in folders.held(folders.base)) if path is not None
    ]
    return found[0] if len(found) == 1 else None

"""SAMM: 159 micro-expressions of 32 people at 200 frames a second, an AU text with sides and intensities per clip."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.data.cells import cell_text

from ..formats.clips import find_clips, read_clips, read_table, with_cd6me
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="samm",
    title="SAMM micro-expressions",
    request="SAMM (SAMM_Micro_FACS_Codes_v2.xlsx and SAMM) from Moi Hoon Yap, Manchester Metropolitan University",
    terms="research only, signed release agreement; neither images nor annotations may be passed on",
    tree="""\
SAMM_Micro_FACS_Codes_v2.xlsx
SAMM/006/006_1_2/006_05562.jpg""",
    au_names=with_cd6me("samm"),
    frames="the last number in the image's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, config/dataset_config.py",
    per_clip=True,
)

_TABLES = (
    "SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM*Micro_FACS_Codes*.xlsx", "*/SAMM_Micro_FACS_Codes*.xlsx",
    "SAMM*Micro_FACS_Codes*.xls",
)  # fmt: skip
_IMAGES = ("SAMM/", "SAMM/SAMM/", "", "SAMM_CROP/", "*/SAMM/")
_HEADER = 13  # row 14 of the sheet; the rows above it hold notes (tvaranka/meb:meb/datasets/datasets.py)
_COLUMNS = {
    "subject": ("Subject",), "name": ("Filename",), "onset": ("Onset Frame",), "apex": ("Apex Frame",),
    "offset": ("Offset Frame",), "au": ("Action Units",),
}  # fmt: skip


def read(root: Path, findings: Findings, *, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip; without corrections, `R14A or 17A` leaves AU14 and AU17 at -1."""
    stated, sheet = read_table(
        root, RELEASE, findings, tables=_TABLES, columns=_COLUMNS, corrections=corrections, header=_HEADER
    )
    patterns = [f"{folder}[0-9][0-9][0-9]/[0-9][0-9][0-9]_*" for folder in _IMAGES]
    images = find_path(root, *patterns, what=f"images of {RELEASE.title}")
    clips = find_clips(sheet, images.parent.parent, findings, lambda value, _: cell_text(value).zfill(3))
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)

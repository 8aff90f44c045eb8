"""SAMM: 159 micro-expressions of 32 people at 200 frames a second, grey, coded as an AU text with sides and intensities per clip."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS

from ..formats.clips import Clip, Folders, apply_corrections, read_clips, rows_with_clips
from ..formats.sheets import cell_text, read_sheet
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="samm",
    title="SAMM micro-expressions",
    request="SAMM (SAMM_Micro_FACS_Codes_v2.xlsx and SAMM) from Moi Hoon Yap, Manchester Metropolitan University",
    terms="research only, signed release agreement; neither pictures nor annotations may be passed on",
    tree="""\
SAMM_Micro_FACS_Codes_v2.xlsx
SAMM/006/006_1_2/006_05562.jpg""",
    au_names=tuple(sorted({*AU_SETS["samm"], *AU_SETS["cd6me"]}, key=lambda au: int(au[2:]))),
    frames="the last number in the picture's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, config/dataset_config.py",
    per_clip=True,
)

_TABLES = (
    "SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM*Micro_FACS_Codes*.xlsx", "*/SAMM_Micro_FACS_Codes*.xlsx", "SAMM*Micro_FACS_Codes*.xls",
)  # fmt: skip
_PICTURES = ("SAMM/", "SAMM/SAMM/", "", "SAMM_CROP/", "*/SAMM/")
_HEADER = 13  # row 14 of the sheet; the rows above it hold notes (tvaranka/meb:meb/datasets/datasets.py)
_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("Onset Frame",),
    "apex": ("Apex Frame",),
    "offset": ("Offset Frame",),
    "au": ("Action Units",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SAMM has no options of its own."""


def read(root: Path, findings: Findings, *, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip.

    Args:
        root: folder of the release.
        findings: takes what is met.
        corrections: whether the known faults of the table are put right; without, `R14A or 17A` leaves AU14 and AU17 at -1.

    Raises:
        DatasetLayoutError: The tree or the table is not as expected.
    """
    table = find_path(root, *_TABLES, what="the table of SAMM")
    stated = read_sheet(table, columns=_COLUMNS, header=_HEADER, findings=findings)
    sheet = apply_corrections(stated, RELEASE.name, findings) if corrections else stated
    sheet = rows_with_clips(sheet, findings)
    pictures = find_path(
        root, *(f"{folder}[0-9][0-9][0-9]/[0-9][0-9][0-9]_*" for folder in _PICTURES), what="pictures of SAMM"
    )
    folders = Folders(pictures.parent.parent)
    clips = []
    for subject, name in zip(sheet["subject"], sheet["name"], strict=True):
        who, clip = cell_text(subject).zfill(3), cell_text(name)
        clips.append(Clip(who, clip, folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)

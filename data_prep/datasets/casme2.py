"""CASME II: 256 micro-expressions of 26 people at 200 frames a second, coded as an AU text per clip."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..formats.clips import find_clips, read_clips, read_table, with_cd6me
from ..release import Findings, Release
from .casme import CROPPED_OPTION, find_subjects, subject_name

RELEASE = Release(
    name="casme2",
    title="CASME II",
    request="CASME II (CASME2-coding-20140508.xlsx and CASME2_RAW_selected) from the Institute of Psychology, Chinese "
    "Academy of Sciences",
    terms="research only, signed by a member of staff; neither images nor annotations may be passed on",
    tree="""\
CASME2-coding-20140508.xlsx                    or CASME2-coding-*.xlsx
CASME2_RAW_selected/sub01/EP02_01f/img46.jpg   with --cropped: Cropped/sub01/EP02_01f/reg_img46.jpg""",
    au_names=with_cd6me("casme2"),
    frames="the number in the image's name and in the table (a clip may start at img46)",
    source="tvaranka/meb:meb/datasets/datasets.py, config/dataset_config.py",
    per_clip=True,
    doubts="The known faults are counted in CASME2-coding-updated.xlsx; the estimated apexes fill empty cells only.",
    options={"cropped": CROPPED_OPTION},
)

_TABLES = (
    "CASME2-coding-20140508.xlsx", "CASME2-coding*.xlsx", "CASME2-coding*.xls", "*/CASME2-coding*.xlsx",
    "CASME2_label*.xls*",
)  # fmt: skip
_RAW = (
    "CASME2_RAW_selected", "CASME2_RAW_selected/CASME2_RAW_selected", "*/CASME2_RAW_selected", "CASME2_RAW",
    "CASME2-RAW", "CASME2 RAW",
)  # fmt: skip
_CROPPED = ("Cropped", "Cropped/Cropped", "*/Cropped", "Cropped_original")
_COLUMNS = {
    "subject": ("Subject",), "name": ("Filename",), "onset": ("OnsetFrame",), "apex": ("ApexFrame", "ApexFrame1"),
    "offset": ("OffsetFrame",), "au": ("Action Units", "AU"),
}  # fmt: skip


def read(root: Path, findings: Findings, *, cropped: bool = False, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip."""
    stated, sheet = read_table(root, RELEASE, findings, tables=_TABLES, columns=_COLUMNS, corrections=corrections)
    clips = find_clips(sheet, find_subjects(root, RELEASE, _CROPPED if cropped else _RAW), findings, subject_name)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)

"""CASME: 189 micro-expressions at 60 frames a second, coded as an AU text per clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from auformer.data.cells import cell_text

from ..formats.clips import find_clips, read_clips, read_table, with_cd6me
from ..release import Findings, Release, find_path

CROPPED_OPTION = {"action": "store_true", "help": "read the release's own crops (Cropped/) in place of its images"}

RELEASE = Release(
    name="casme",
    title="CASME",
    request="CASME (the table and CASME_raw_selected) from the Institute of Psychology, Chinese Academy of Sciences",
    terms="research only, signed by a member of staff; neither images nor annotations may be passed on",
    tree="""\
casme.xlsx                                     or casme.xls, CASME*.xlsx
CASME_raw_selected/sub01/EP01_5/EP01_5-1.jpg   with --cropped: Cropped/sub01/EP01_5/reg_EP01_5-1.jpg""",
    au_names=with_cd6me("casme"),
    frames="the last number in the image's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, meb/datasets/datasets_old.py, config/dataset_config.py",
    per_clip=True,
    options={"cropped": CROPPED_OPTION},
)

_TABLES = (
    "casme.xlsx", "CASME.xlsx", "casme.xls", "CASME.xls", "CASME[-_ ]*.xls*", "casme[-_ ]*.xls*", "*/casme.xlsx",
    "*/CASME.xlsx",
)  # fmt: skip
_RAW = ("CASME_raw_selected", "CASME_raw_selected/CASME_raw_selected", "*/CASME_raw_selected", "CASME_RAW_selected")
_CROPPED = ("Cropped", "Cropped/Cropped", "*/Cropped", "Cropped2")
_COLUMNS = {
    "subject": ("Subject",), "name": ("Filename",), "onset": ("OnsetF", "OnsetFrame"),
    "apex": ("ApexF1", "ApexF", "ApexFrame"), "apex2": ("ApexF2",), "offset": ("OffsetF", "OffsetFrame"),
    "au": ("AU", "AUs", "Action Units"),
}  # fmt: skip


def read(root: Path, findings: Findings, *, cropped: bool = False, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip; of two apexes the first counts."""
    stated, sheet = read_table(
        root, RELEASE, findings, tables=_TABLES, columns=_COLUMNS, corrections=corrections, optional=("apex2",)
    )
    sheet = sheet.assign(apex=sheet["apex"].where(sheet["apex"].notna(), sheet["apex2"]))
    clips = find_clips(sheet, find_subjects(root, RELEASE, _CROPPED if cropped else _RAW), findings, subject_name)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)


def find_subjects(root: Path, release: Release, folders: Sequence[str]) -> Path:
    """The folder of the folders `sub01`, `sub02`, ...: one of `folders`, or else the root; also CASME II's."""
    places = [*(f"{folder}/sub[0-9]*" for folder in folders), "sub[0-9]*"]
    return find_path(root, *places, what=f"images of {release.title}").parent


def subject_name(value: object, clip: str) -> str:
    """The subject as folders call it, `sub01`; also CASME II's."""
    return f"sub{cell_text(value).removeprefix('sub').zfill(2)}"

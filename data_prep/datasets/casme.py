"""CASME: 189 micro-expressions at 60 frames a second, coded as an AU text per clip."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS

from ..formats.clips import read_sub_clips
from ..release import Findings, Release

RELEASE = Release(
    name="casme",
    title="CASME",
    request="CASME (the table and CASME_raw_selected) from the Institute of Psychology, Chinese Academy of Sciences",
    terms="research only, signed by a member of staff; neither pictures nor annotations may be passed on",
    tree="""\
casme.xlsx                                     or casme.xls, CASME*.xlsx
CASME_raw_selected/sub01/EP01_5/EP01_5-1.jpg   with --cropped: Cropped/sub01/EP01_5/reg_EP01_5-1.jpg""",
    au_names=tuple(sorted({*AU_SETS["casme"], *AU_SETS["cd6me"]}, key=lambda au: int(au[2:]))),
    frames="the last number in the picture's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, meb/datasets/datasets_old.py, config/dataset_config.py",
    per_clip=True,
)

_TABLES = (
    "casme.xlsx",
    "CASME.xlsx",
    "casme.xls",
    "CASME.xls",
    "CASME[-_ ]*.xls*",
    "casme[-_ ]*.xls*",
    "*/casme.xlsx",
    "*/CASME.xlsx",
)
_RAW = ("CASME_raw_selected", "CASME_raw_selected/CASME_raw_selected", "*/CASME_raw_selected", "CASME_RAW_selected")
_CROPPED = ("Cropped", "Cropped/Cropped", "*/Cropped", "Cropped2")
_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("OnsetF", "OnsetFrame"),
    "apex": ("ApexF1", "ApexF", "ApexFrame"),
    "apex2": ("ApexF2",),
    "offset": ("OffsetF", "OffsetFrame"),
    "au": ("AU", "AUs", "Action Units"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare casme`."""
    parser.add_argument(
        "--cropped", action="store_true", help="read the release's own crops (Cropped/) in place of its pictures"
    )


def read(root: Path, findings: Findings, *, cropped: bool = False, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip; of two apexes the first counts.

    Args:
        root: folder of the release.
        findings: takes what is met.
        cropped: whether the release's crops are read in place of its pictures.
        corrections: whether the known faults of the table are put right.

    Raises:
        DatasetLayoutError: The tree or the table is not as expected.
    """
    pictures = _CROPPED if cropped else _RAW
    return read_sub_clips(
        root, RELEASE, findings, tables=_TABLES, columns=_COLUMNS, pictures=pictures, corrections=corrections
    )

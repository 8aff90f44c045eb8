"""CASME II: 256 micro-expressions of 26 people at 200 frames a second, coded as an AU text per clip."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS

from ..formats.clips import read_sub_clips
from ..release import Findings, Release

RELEASE = Release(
    name="casme2",
    title="CASME II",
    request="CASME II (CASME2-coding-20140508.xlsx and CASME2_RAW_selected) from the Institute of Psychology, Chinese Academy of Sciences",
    terms="research only, signed by a member of staff; neither pictures nor annotations may be passed on",
    tree="""\
CASME2-coding-20140508.xlsx                    or CASME2-coding-*.xlsx
CASME2_RAW_selected/sub01/EP02_01f/img46.jpg   with --cropped: Cropped/sub01/EP02_01f/reg_img46.jpg""",
    au_names=tuple(sorted({*AU_SETS["casme2"], *AU_SETS["cd6me"]}, key=lambda au: int(au[2:]))),
    frames="the number in the picture's name and in the table (a clip may start at img46)",
    source="tvaranka/meb:meb/datasets/datasets.py, config/dataset_config.py",
    per_clip=True,
    doubts="The known faults are counted in CASME2-coding-updated.xlsx; the estimated apexes fill empty cells only.",
)

_TABLES = (
    "CASME2-coding-20140508.xlsx",
    "CASME2-coding*.xlsx",
    "CASME2-coding*.xls",
    "*/CASME2-coding*.xlsx",
    "CASME2_label*.xls*",
)
_RAW = (
    "CASME2_RAW_selected",
    "CASME2_RAW_selected/CASME2_RAW_selected",
    "*/CASME2_RAW_selected",
    "CASME2_RAW",
    "CASME2-RAW",
    "CASME2 RAW",
)
_CROPPED = ("Cropped", "Cropped/Cropped", "*/Cropped", "Cropped_original")
_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame", "ApexFrame1"),
    "offset": ("OffsetFrame",),
    "au": ("Action Units", "AU"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare casme2`."""
    parser.add_argument(
        "--cropped", action="store_true", help="read the release's own crops (Cropped/) in place of its pictures"
    )


def read(root: Path, findings: Findings, *, cropped: bool = False, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip.

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

"""CASME II: 256 micro-expressions of 26 people at 200 frames a second, coded as an AU text per clip."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from data_prep.command import main
from data_prep.reading.clip_folders import Folders
from data_prep.reading.clips import Clip, read_clips, rows_with_clips
from data_prep.reading.corrections import apply_corrections
from data_prep.reading.sheets import cell_text, read_sheet
from data_prep.release import Findings, Release, find_path

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

_TABLES = ("CASME2-coding-20140508.xlsx", "CASME2-coding*.xlsx", "CASME2-coding*.xls", "*/CASME2-coding*.xlsx", "CASME2_label*.xls*")
_RAW = ("CASME2_RAW_selected", "CASME2_RAW_selected/CASME2_RAW_selected", "*/CASME2_RAW_selected", "CASME2_RAW", "CASME2-RAW", "CASME2 RAW")
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
    parser.add_argument("--cropped", action="store_true", help="read the release's own crops (Cropped/) in place of its pictures")


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
    table = find_path(root, *_TABLES, what="the table of CASME II")
    stated = read_sheet(table, columns=_COLUMNS, findings=findings)
    sheet = apply_corrections(stated, RELEASE.name, findings) if corrections else stated
    sheet = rows_with_clips(sheet, findings)
    places = [f"{folder}/sub[0-9]*" for folder in (_CROPPED if cropped else _RAW)] + ["sub[0-9]*"]
    folders = Folders(find_path(root, *places, what="pictures of CASME II (Cropped/)" if cropped else "pictures of CASME II").parent)
    clips = []
    for subject, name in zip(sheet["subject"], sheet["name"], strict=True):
        who, clip = f"sub{cell_text(subject).removeprefix('sub').zfill(2)}", cell_text(name)
        clips.append(Clip(who, clip, folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)


if __name__ == "__main__":
    raise SystemExit(main(RELEASE.name))

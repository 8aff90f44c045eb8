"""CASME: 189 micro-expressions at 60 frames a second, coded as an AU text per clip."""

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

_TABLES = ("casme.xlsx", "CASME.xlsx", "casme.xls", "CASME.xls", "CASME[-_ ]*.xls*", "casme[-_ ]*.xls*", "*/casme.xlsx", "*/CASME.xlsx")
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
    parser.add_argument("--cropped", action="store_true", help="read the release's own crops (Cropped/) in place of its pictures")


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
    table = find_path(root, *_TABLES, what="the table of CASME")
    stated = read_sheet(table, columns=_COLUMNS, optional=("apex2",), findings=findings)
    sheet = apply_corrections(stated, RELEASE.name, findings) if corrections else stated
    sheet = rows_with_clips(sheet, findings)
    sheet = sheet.assign(apex=sheet["apex"].where(sheet["apex"].notna(), sheet["apex2"]))
    places = [f"{folder}/sub[0-9]*" for folder in (_CROPPED if cropped else _RAW)] + ["sub[0-9]*"]
    folders = Folders(find_path(root, *places, what="pictures of CASME (Cropped/)" if cropped else "pictures of CASME").parent)
    clips = []
    for subject, name in zip(sheet["subject"], sheet["name"], strict=True):
        who, clip = f"sub{cell_text(subject).removeprefix('sub').zfill(2)}", cell_text(name)
        clips.append(Clip(who, clip, folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)


if __name__ == "__main__":
    raise SystemExit(main(RELEASE.name))

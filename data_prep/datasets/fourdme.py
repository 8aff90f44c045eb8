"""4DME: 267 micro-expressions, of which the grey videos are read; coded as an AU text per clip and as one column per AU."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from auformer.aus import ACTION_UNITS, AU_SETS

from ..formats.au_text import parse_aus
from ..formats.clips import Clip, Folders, apply_corrections, read_clips, rows_with_clips
from ..formats.sheets import cell_number, cell_text, place, read_sheet
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="fourdme",
    title="4DME (grey videos, micro-expressions)",
    request="4DME (4DME_Labelling_Micro_release v1.xlsx and gray_micro) from Xiaobai Li and Guoying Zhao, University of Oulu",
    terms="research only, signed by a member of staff; neither pictures nor annotations may be passed on",
    tree="""\
4DME_Labelling_Micro_release v1.xlsx
gray_micro/<sub_ID>/<fold_name>/*.jpg""",
    au_names=tuple(sorted({*AU_SETS["fourdme"], *AU_SETS["cd6me"]}, key=lambda au: int(au[2:]))),
    frames="the last number in the picture's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, meb/datasets/datasets_old.py, config/dataset_config.py",
    per_clip=True,
    doubts="How the pictures of gray_micro are named was not found in a public source; their numbers are taken to be those of the table.",
)

_TABLES = ("4DME_Labelling_Micro_release v1.xlsx", "4DME_Labelling_Micro*.xlsx", "*/4DME_Labelling_Micro*.xlsx")
_PICTURES = ("gray_micro", "*/gray_micro", "gray_micro/gray_micro")
_COLUMNS = {
    "subject": ("sub_ID",),
    "name": ("fold_name",),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "au": ("AUs",),
}
_AU_COLUMNS = {au: (au,) for au in ACTION_UNITS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare fourdme`."""
    parser.add_argument(
        "--keep-marked",
        action="store_true",
        help="count AUs marked (k), static ones, as present; by default they are absent, as in meb",
    )


def read(root: Path, findings: Findings, *, keep_marked: bool = False, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip; labels are those of the AU text.

    Args:
        root: folder of the release.
        findings: takes what is met.
        keep_marked: whether AUs marked `(k)` count as present.
        corrections: whether the known faults of the table are put right.

    Raises:
        DatasetLayoutError: The tree or the table is not as expected.
    """
    table = find_path(root, *_TABLES, what="the table of 4DME")
    stated = read_sheet(table, columns={**_COLUMNS, **_AU_COLUMNS}, optional=tuple(_AU_COLUMNS), findings=findings)
    coded = [au for au in _AU_COLUMNS if stated[au].notna().any()]
    _compare(stated, coded, findings)
    sheet = apply_corrections(stated, RELEASE.name, findings) if corrections else stated
    sheet = rows_with_clips(sheet, findings)
    folders = Folders(find_path(root, *_PICTURES, what="pictures of 4DME"))
    clips = []
    for subject, name in zip(sheet["subject"], sheet["name"], strict=True):
        who, clip = cell_text(subject), cell_text(name)
        clips.append(Clip(who, clip, folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return read_clips(root, sheet, clips, {*RELEASE.au_names, *coded}, findings, stated=stated, keep_marked=keep_marked)


def _compare(sheet: pd.DataFrame, coded: list[str], findings: Findings) -> None:
    """Take note of the rows whose AU text and AU columns differ; the columns count the marked AUs."""
    for row in sheet.index:
        text = parse_aus(cell_text(sheet.at[row, "au"]), keep_marked=True)
        if not text.complete or not coded:
            continue
        said = {au for au in coded if au in text.aus}
        ticked = {au for au in coded if cell_number(sheet.at[row, au]) not in (None, 0)}
        differing = sorted((said ^ ticked) - set(text.ambiguous), key=lambda au: int(au[2:]))
        if differing:
            written = repr(cell_text(sheet.at[row, "au"]))
            findings.note(
                "AU text and AU columns differ",
                place(sheet, row),
                f"{written}: {', '.join(differing)}; the text counts",
            )

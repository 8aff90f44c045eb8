"""4DME: 267 micro-expressions, of which the grey videos are read; an AU text per clip and one column per AU."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.aus import ACTION_UNITS
from auformer.data.cells import cell_text

from ..formats.au_text import parse_aus
from ..formats.clips import find_clips, read_clips, read_table, with_cd6me
from ..formats.sheets import cell_number, place
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="fourdme",
    title="4DME (grey videos, micro-expressions)",
    request="4DME (4DME_Labelling_Micro_release v1.xlsx and gray_micro) from Xiaobai Li and Guoying Zhao, University "
    "of Oulu",
    terms="research only, signed by a member of staff; neither images nor annotations may be passed on",
    tree="""\
4DME_Labelling_Micro_release v1.xlsx
gray_micro/<sub_ID>/<fold_name>/*.jpg""",
    au_names=with_cd6me("fourdme"),
    frames="the last number in the image's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, meb/datasets/datasets_old.py, config/dataset_config.py",
    per_clip=True,
    doubts="How the images of gray_micro are named was not found in a public source; their numbers are taken to be "
    "those of the table.",
    options={
        "keep_marked": {
            "action": "store_true",
            "help": "count AUs marked (k), static ones, as present; by default they are absent, as in meb",
        }
    },
)

_TABLES = ("4DME_Labelling_Micro_release v1.xlsx", "4DME_Labelling_Micro*.xlsx", "*/4DME_Labelling_Micro*.xlsx")
_IMAGES = ("gray_micro", "*/gray_micro", "gray_micro/gray_micro")
_COLUMNS = {
    "subject": ("sub_ID",), "name": ("fold_name",), "onset": ("Onset",), "apex": ("Apex",), "offset": ("Offset",),
    "au": ("AUs",),
}  # fmt: skip
_AU_COLUMNS = {au: (au,) for au in ACTION_UNITS}


def read(root: Path, findings: Findings, *, keep_marked: bool = False, corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip; labels are those of the AU text."""
    columns, optional = {**_COLUMNS, **_AU_COLUMNS}, tuple(_AU_COLUMNS)
    stated, sheet = read_table(
        root, RELEASE, findings, tables=_TABLES, columns=columns, corrections=corrections, optional=optional
    )
    coded = [au for au in _AU_COLUMNS if stated[au].notna().any()]
    _compare(stated, coded, findings)
    images = find_path(root, *_IMAGES, what=f"images of {RELEASE.title}")
    clips = find_clips(sheet, images, findings, lambda value, _: cell_text(value))
    return read_clips(root, sheet, clips, {*RELEASE.au_names, *coded}, findings, stated=stated, keep_marked=keep_marked)


def _compare(sheet: pd.DataFrame, coded: list[str], findings: Findings) -> None:
    """Note the rows whose AU text and AU columns differ; the columns count the marked AUs."""
    for row in sheet.index:
        coding = parse_aus(cell_text(sheet.at[row, "au"]), keep_marked=True)
        if not coding.complete or not coded:
            continue
        said = {au for au in coded if au in coding.aus}
        ticked = {au for au in coded if cell_number(sheet.at[row, au]) not in (None, 0)}
        differing = sorted((said ^ ticked) - set(coding.ambiguous), key=lambda au: int(au[2:]))
        if differing:
            written = repr(cell_text(sheet.at[row, "au"]))
            text = f"{written}: {', '.join(differing)}; the text counts"
            findings.note("AU text and AU columns differ", place(sheet, row), text)

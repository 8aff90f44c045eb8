"""CAS(ME)^2: micro- and macro-expressions of the same people at 30 frames a second, an AU text per expression."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.data.cells import cell_text
from auformer.errors import DatasetLayoutError

from ..formats.clips import Clip, Folders, read_clips, rows_with_clips, without_dates
from ..formats.sheets import cell_number, place, read_sheet
from ..release import Findings, Release, find_path

_TYPES = {
    "micro": ("micro-expression",),
    "macro": ("macro-expression",),
    "both": ("micro-expression", "macro-expression"),
}

RELEASE = Release(
    name="casme_sq",
    title="CAS(ME)^2",
    request="CAS(ME)^2 (CAS(ME)^2code_final.xlsx and selectedpic or rawpic) from the Institute of Psychology, Chinese "
    "Academy of Sciences",
    terms="research only, signed by a member of staff; neither images nor annotations may be passed on",
    tree="""\
CAS(ME)^2code_final.xlsx                       first sheet, naming rule1, naming rule2, all without a header
selectedpic/s15/anger1_1/img557.jpg            or rawpic/s15/15_0401.../img557.jpg""",
    au_names=AU_SETS["cd6me"],
    frames="the number in the image's name, as in the table; it counts the whole video",
    source="genbing99/MEAN_Spot-then-recognize:load_excel.py, load_images.py; genbing99/SoftNet-SpotME:README.md",
    per_clip=True,
    options={"expressions": {"choices": tuple(_TYPES), "help": "which expressions are read (default: micro)"}},
)

_TABLES = (
    "CAS(ME)^2code_final.xlsx", "CAS(ME)^2code_final*.xlsx", "code_final*.xlsx", "*/CAS(ME)^2code_final*.xlsx",
    "*code_final*.xls",
)  # fmt: skip
_COLUMNS = {"subject": (0,), "name": (1,), "onset": (2,), "apex": (3,), "offset": (4,), "au": (5,), "type": (7,)}
_IMAGES = ("selectedpic", "selectedpic/selectedpic", "*/selectedpic", "rawpic", "rawpic/rawpic", "*/rawpic")


def read(root: Path, findings: Findings, *, expressions: str = "micro") -> pd.DataFrame:
    """One row per frame of each expression."""
    table = find_path(root, *_TABLES, what="the table of CAS(ME)^2")
    sheet = read_sheet(table, header=None, columns=_COLUMNS, findings=findings)
    sheet = rows_with_clips(without_dates(sheet, findings), findings)
    sheet = _of_type(sheet, _TYPES[expressions], findings)
    sheet = _mend_zeros(sheet, findings)
    subjects, videos = _names(table)
    patterns = [*(f"{folder}/s[0-9]*" for folder in _IMAGES), "s[0-9]*"]
    folders = Folders(find_path(root, *patterns, what="images of CAS(ME)^2").parent)
    clips = []
    for row, participant, name in zip(sheet.index, sheet["subject"], sheet["name"], strict=True):
        clip = cell_text(name)
        subject = subjects.get(cell_text(participant))
        if subject is None:
            raise DatasetLayoutError(
                f"Expected {place(sheet, row)} to be about a participant of the sheet `naming rule1`, but got "
                f"{cell_text(participant)!r}; that sheet has {', '.join(subjects) or 'none'}"
            )
        selected = folders.find(subject, clip)
        folder = selected or _whole_video(folders, subject, videos.get(clip.rpartition("_")[0], ""))
        clips.append(Clip(subject, clip, folder, alone=selected is not None))
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=sheet)


def _of_type(sheet: pd.DataFrame, wanted: tuple[str, ...], findings: Findings) -> pd.DataFrame:
    types = [cell_text(value).lower() for value in sheet["type"]]
    for row, said in zip(sheet.index, types, strict=True):
        if said not in _TYPES["both"]:
            text = f"{said!r} is neither {' nor '.join(_TYPES['both'])}; left out"
            findings.note("type of expression not read", place(sheet, row), text)
    kept = sheet[[said in wanted for said in types]]
    if not len(kept):
        raise DatasetLayoutError(
            f"Expected rows of the type {' or '.join(wanted)} in {sheet.attrs['file']}, but it has none in its eighth "
            "column"
        )
    return kept


def _mend_zeros(sheet: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """An apex of 0 is none; nor is an offset of 0, and the clip then ends with its apex, as in the public loaders."""
    sheet = sheet.copy()
    for row in sheet.index:
        apex = cell_number(sheet.at[row, "apex"])
        if cell_number(sheet.at[row, "offset"]) == 0:
            sheet.at[row, "offset"] = apex or None
            text = f"offset 0; the clip is taken to end with its apex, {apex or 'which is not there either'}"
            findings.note("no offset", place(sheet, row), text)
        if apex == 0:
            sheet.at[row, "apex"] = None
    return sheet


def _names(table: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Participant number -> folder (`s15`), and name of a video (`anger1`) -> its four-digit code (`0401`)."""
    rule1 = read_sheet(table, sheet="naming rule1", header=None, columns={"folder": (1,), "participant": (2,)})
    rule2 = read_sheet(table, sheet="naming rule2", header=None, columns={"code": (0,), "video": (1,)})
    subjects = {cell_text(row.participant): cell_text(row.folder) for row in rule1.itertuples()}
    return subjects, {cell_text(row.video): cell_text(row.code).zfill(4) for row in rule2.itertuples()}


def _whole_video(folders: Folders, subject: str, code: str) -> Path | None:
    """A video's folder in rawpic: `s15/15_0401...`; its first number may be another one (s19 has `23_0502...`)."""
    below = folders.find(subject)
    found = [path for path in folders.held(below) if code and f"_{code}" in path.name] if below is not None else []
    return found[0] if len(found) == 1 else None

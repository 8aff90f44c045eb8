"""CAS(ME)^3: 860 micro-expressions of part A (13 videos each of 100 people), and those of part C (a mock crime)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.data.cells import cell_text

from ..formats.clips import Clip, Folders, read_clips, read_table
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="casme3",
    title="CAS(ME)^3, parts A and C",
    request="CAS(ME)^3 (the table and the images of part A, and of part C) from the Institute of Psychology, Chinese "
    "Academy of Sciences",
    terms="research only, signed by a member of staff; neither images nor annotations may be passed on",
    tree="""\
annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx   sheet label
Part_A_ME_clip/frame/spNO.1_a_355/355.jpg              or part_A/spNO.1/a/color/355.jpg, ME_A/spNO.1/a/color/355.jpg
CAS(ME)3_part_C_ME.xlsx                                part C, optional
part_C/01/a/color/373.jpg                              or ME_C/01/1/color/373.jpg""",
    au_names=AU_SETS["cd6me"],
    frames="the number in the image's name, as in the table",
    source="tvaranka/meb:meb/datasets/datasets.py, config/dataset_config.py, tools/create_sym_links.sh; public "
    "loaders of Part_A_ME_clip",
    per_clip=True,
    doubts="Folders of part C were seen in one public script each; its people are taken to be others than those of "
    "part A. The apex of row 128 of part A is 160 in the versions of tvaranka/meb that were read; 123 has been "
    "reported too.",
    options={"part": {"choices": ("A", "C"), "help": "which part is read, one manifest each (default: A)"}},
)

_PLACES = ("", "annotation/", "part_A/annotation/", "*/", "*/*/")
_TABLES = {
    "A": tuple(f"{folder}{name}_part_A_ME_label*.xlsx" for folder in _PLACES for name in ("cas(me)3", "CAS(ME)3")),
    "C": tuple(f"{folder}CAS(ME)3_part_C_ME*.xlsx" for folder in (*_PLACES, "part_C/", "annotation/partC/")),
}
_COLUMNS_A = {
    "subject": ("Subject",), "name": ("Filename",), "onset": ("Onset",), "apex": ("Apex",), "offset": ("Offset",),
    "au": ("AU",),
}  # fmt: skip
_COLUMNS_C = {"subject": ("sub",), "name": ("count",), "onset": ("onset",), "offset": ("offset",), "au": ("au",)}
_PERSON = "sp[Nn][Oo].*"
_CLIP_FOLDERS = ("Part_A_ME_clip/frame/", "*/Part_A_ME_clip/frame/", "part_A/data/Part_A_ME_clip/frame/", "frame/")
_VIDEO_FOLDERS = ("part_A/", "part_A/data/part_A/", "ME_A/", "part_A/data/ME_A/", "part_A/data/", "")
_FOLDERS_C = ("part_C/", "part_C/part_C/", "ME_C/", "part_C/ME_C/", "RGB_Depth/part_C/", "*/part_C/")


def read(root: Path, findings: Findings, *, part: str = "A", corrections: bool = True) -> pd.DataFrame:
    """One row per frame of each clip; subjects are `spNO.1` in part A and `C01` in part C, without known faults."""
    is_a = part == "A"
    stated, sheet = read_table(
        root,
        RELEASE,
        findings,
        tables=_TABLES[part],
        columns=_COLUMNS_A if is_a else _COLUMNS_C,
        corrections=corrections and is_a,
        title=f"CAS(ME)^3, part {part}",
        sheet="label" if is_a else None,
    )
    clips = _clips_of_a(root, sheet, stated, findings) if is_a else _clips_of_c(root, sheet)
    return read_clips(root, sheet, clips, RELEASE.au_names, findings, stated=stated)


def _clips_of_a(root: Path, sheet: pd.DataFrame, stated: pd.DataFrame, findings: Findings) -> list[Clip]:
    """Where the clips of part A are; a video (Filename) may hold several, so a clip is named by video and onset."""
    patterns = [f"{folder}{_PERSON}" for folder in _CLIP_FOLDERS]
    videos = [f"{folder}{_PERSON}/*/color" for folder in _VIDEO_FOLDERS]
    found = find_path(root, *patterns, *videos, what="images of CAS(ME)^3, part A")
    cut = found.name != "color"
    folders = Folders(found.parent if cut else found.parent.parent.parent)
    counted: Counter[tuple[str, str]] = Counter()
    clips = []
    for row in sheet.index:
        subject, video = _person(sheet.at[row, "subject"]), cell_text(sheet.at[row, "name"])
        counted[subject, video] += 1
        # folders are called by the stated onset
        onsets = dict.fromkeys(cell_text(table.at[row, "onset"]) for table in (sheet, stated))
        name = f"{video}_{next(iter(onsets)) or 'unknown'}"
        if cut:
            choices = [folders.find(f"{subject}_{video}_{onset}") for onset in onsets]
        else:
            spellings = [video] if counted[subject, video] == 1 else [f"{video}{counted[subject, video]}", video]
            choices = [folders.find(subject, spelling, "color") for spelling in spellings]
        clips.append(Clip(subject, name, next(filter(None, choices), None), alone=cut))
    if cut:
        folders.report_unnamed([clip.folder for clip in clips], findings, depth=1)
    return clips


def _person(value: object) -> str:
    """The subject's name in one spelling: tables and folders have `spNO.1` and `spNo.1`.

    >>> _person("spNo.1")
    'spNO.1'
    """
    return re.sub(r"^spno\.\s*", "spNO.", cell_text(value), flags=re.IGNORECASE)


def _clips_of_c(root: Path, sheet: pd.DataFrame) -> list[Clip]:
    """Where the clips of part C are: in a video per person, or in a folder per clip."""
    patterns = [f"{folder}[0-9]*/*/color" for folder in _FOLDERS_C]
    folders = Folders(find_path(root, *patterns, what="images of CAS(ME)^3, part C").parent.parent.parent)
    clips = []
    for subject, count in zip(sheet["subject"], sheet["name"], strict=True):
        number = cell_text(subject).zfill(2)
        below = folders.find(number)
        inside = [] if below is None else folders.held(below)
        whole = folders.find(number, inside[0].name, "color") if len(inside) == 1 else None
        own = folders.find(number, cell_text(count), "color")
        clips.append(Clip(f"C{number}", cell_text(count), own or whole, alone=False))
    return clips

"""Clips below folders `sub01/EP02_01f`, as CASME and CASME II have them, by their annotation table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..release import Findings, Release, find_path
from .clip_folders import Folders
from .clips import Clip, read_clips, rows_with_clips
from .corrections import apply_corrections
from .sheets import cell_text, read_sheet

#: Column of a table that states two apexes; the second counts where the first is empty.
SECOND_APEX = "apex2"


def read_sub_clips(
    root: Path,
    release: Release,
    findings: Findings,
    *,
    tables: Sequence[str],
    columns: Mapping[str, tuple[str, ...]],
    pictures: Sequence[str],
    corrections: bool,
) -> pd.DataFrame:
    """One row per frame of each clip; of two apexes the first counts.

    Args:
        root: folder of the release.
        release: whose clips these are.
        findings: takes what is met.
        tables: where the annotation table may be, as patterns below the root.
        columns: the reader's name of a column -> its headings; with `apex2`, which a table need not have, there are two apexes.
        pictures: folders below the root that may hold the folders of the subjects; the root itself is tried last.
        corrections: whether the known faults of the table are put right.

    Raises:
        DatasetLayoutError: The tree or the table is not as expected.
    """
    table = find_path(root, *tables, what=f"the table of {release.title}")
    stated = read_sheet(table, columns=columns, optional=[name for name in columns if name == SECOND_APEX], findings=findings)
    sheet = rows_with_clips(apply_corrections(stated, release.name, findings) if corrections else stated, findings)
    if SECOND_APEX in sheet.columns:
        sheet = sheet.assign(apex=sheet["apex"].where(sheet["apex"].notna(), sheet[SECOND_APEX]))
    places = [*(f"{folder}/sub[0-9]*" for folder in pictures), "sub[0-9]*"]
    folders = Folders(find_path(root, *places, what=f"pictures of {release.title}").parent)
    clips = []
    for subject, name in zip(sheet["subject"], sheet["name"], strict=True):
        who, clip = f"sub{cell_text(subject).removeprefix('sub').zfill(2)}", cell_text(name)
        clips.append(Clip(who, clip, folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return read_clips(root, sheet, clips, release.au_names, findings, stated=stated)

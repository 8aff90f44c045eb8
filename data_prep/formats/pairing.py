"""Which picture belongs to which label: pictures of a folder or an archive by frame number, frames of a video by position.

Every function gives the rows of one sequence the columns `status`, `source`, `source_frame`, `source_member` (see `release`); a label
whose picture is not there keeps its row with the status `no_image`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ..release import SOURCE, SOURCE_FRAME, SOURCE_MEMBER, Findings
from .frames import count_video_frames, index_frames

NO_IMAGE = "no_image"


def pair_nothing(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a sequence without any picture."""
    return _paired(rows, np.zeros(len(rows), bool), [""] * len(rows), None, None)


def pair_folder(rows: pd.DataFrame, root: Path, folder: Path) -> pd.DataFrame:
    """Pair frame k with the picture whose name holds the number k, whatever its padding.

    Raises:
        DatasetLayoutError: Two pictures have one number.
    """
    return pair_files(rows, root, index_frames(folder))


def pair_files(rows: pd.DataFrame, root: Path, pictures: Mapping[int, Path]) -> pd.DataFrame:
    """Pair frame k with a file.

    Args:
        rows: with a column `frame`.
        root: folder of the release.
        pictures: frame number -> path below it.
    """
    sources = [pictures[frame].relative_to(root).as_posix() if frame in pictures else "" for frame in rows["frame"]]
    return _paired(rows, np.array([bool(source) for source in sources]), sources, None, None)


def pair_members(rows: pd.DataFrame, root: Path, archive: Path, members: Mapping[int, str]) -> pd.DataFrame:
    """Pair frame k with a member of a zip archive.

    Args:
        rows: with a column `frame`.
        root: folder of the release.
        archive: below it.
        members: frame number -> name of the member.
    """
    names = [members.get(frame) for frame in rows["frame"]]
    there = np.array([name is not None for name in names])
    source = archive.relative_to(root).as_posix()
    return _paired(rows, there, [source if found else "" for found in there], None, names)


def pair_video(rows: pd.DataFrame, root: Path, video: Path, findings: Findings) -> pd.DataFrame:
    """Pair frame k, counted from 1, with position k - 1 of a video.

    A video that goes on after the last label is noted; so are labels beyond its end, where its header says how long it is.
    """
    frames = rows["frame"].to_numpy()
    length = count_video_frames(video)
    there = np.ones(len(rows), bool) if length is None else frames <= length
    source = video.relative_to(root).as_posix()
    if length is not None and length > frames.max():
        findings.note("labels end before the video", source, f"{length:,} frames, the last label is for frame {frames.max():,}")
    return _paired(rows, there, [source if found else "" for found in there], np.where(there, frames - 1, -1), None)


def note_unpaired(rows: pd.DataFrame, where: str, findings: Findings) -> None:
    """Note how many labels of a sequence have no picture; a sequence without any is a missing file and noted as that."""
    lost = rows.loc[rows["status"] == NO_IMAGE, "frame"]
    if 0 < len(lost) < len(rows):
        findings.note("labels without a picture", where, f"{len(lost):,} of {len(rows):,} frames, the first is {lost.iloc[0]}")


def _paired(
    rows: pd.DataFrame, there: np.ndarray, sources: list[str], positions: np.ndarray | None, members: list[str | None] | None
) -> pd.DataFrame:
    """Rows with their picture's columns; `there` says which of them have one."""
    paired = rows.copy()
    paired["status"] = np.where(there, "ok", NO_IMAGE)
    paired[SOURCE] = pd.Series(sources, index=rows.index, dtype=object)
    number = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    if positions is not None:
        number = pd.Series(positions, index=rows.index, dtype="Int64").mask(~there)
    paired[SOURCE_FRAME] = number
    paired[SOURCE_MEMBER] = pd.Series(pd.NA if members is None else members, index=rows.index, dtype=object)
    return paired

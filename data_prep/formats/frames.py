"""Which images there are, found without opening one, and which label each belongs to.

Which picture belongs to which label: pictures of a folder or an archive by frame number, frames of a video by position.

Every function gives the rows of one sequence the columns `status`, `source`, `source_frame`, `source_member` (see `release`); a label
whose picture is not there keeps its row with the status `no_image`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import av
import numpy as np
import pandas as pd

from auformer.errors import DatasetLayoutError

from ..release import SOURCE, SOURCE_FRAME, SOURCE_MEMBER, Findings
from .archives import PICTURES, list_members

__all__ = ["PICTURES", "count_video_frames", "frame_number", "index_frames", "list_files", "list_members"]

_LAST_NUMBER = re.compile(r"(\d+)\D*$", re.ASCII)


def frame_number(name: str) -> int | None:
    """The frame number in a file's name: its last run of digits, before the suffix; None where it has none.

    >>> frame_number("reg_img46.jpg"), frame_number("006_05562.jpg"), frame_number("0999_aligned.png"), frame_number("cover.jpg")
    (46, 5562, 999, None)
    """
    match = _LAST_NUMBER.search(Path(name).stem)
    return int(match.group(1)) if match else None


def index_frames(folder: Path) -> dict[int, Path]:
    """Pictures of a folder by frame number, whatever their padding and prefix.

    Args:
        folder: a folder with one picture per frame. Hidden files, other files and pictures without a number are passed over.

    Returns:
        Frame number -> path, by rising number.

    Raises:
        DatasetLayoutError: There is no such folder, or two pictures have one number.
    """
    if not folder.is_dir():
        raise DatasetLayoutError(
            f"Expected a folder of pictures at {folder}, but there is none; check the copy of the release"
        )
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        number = frame_number(path.name)
        if number is None or path.suffix.lower() not in PICTURES or path.name.startswith(".") or not path.is_file():
            continue
        if number in found:
            raise DatasetLayoutError(
                f"Expected one picture per frame in {folder}, but {found[number].name} and {path.name} are both frame {number}; remove one"
            )
        found[number] = path
    return dict(sorted(found.items()))


def list_files(root: Path) -> list[PurePosixPath]:
    """Every file below a folder, by path relative to it; hidden files and folders are passed over, links to folders not followed."""
    found = []
    for base, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(base).relative_to(root)
        found += [PurePosixPath((relative / name).as_posix()) for name in files if not name.startswith(".")]
    return sorted(found)


def count_video_frames(path: Path) -> int | None:
    """How many frames a video has by its header, without decoding it.

    Args:
        path: a video file.

    Returns:
        The number; None where the container does not say (Matroska), or the file cannot be opened as a video.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return container.streams.video[0].frames or None if container.streams.video else None
    except (av.error.FFmpegError, OSError, ValueError):
        return None


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
        findings.note(
            "labels end before the video", source, f"{length:,} frames, the last label is for frame {frames.max():,}"
        )
    return _paired(rows, there, [source if found else "" for found in there], np.where(there, frames - 1, -1), None)


def note_unpaired(rows: pd.DataFrame, where: str, findings: Findings) -> None:
    """Note how many labels of a sequence have no picture; a sequence without any is a missing file and noted as that."""
    lost = rows.loc[rows["status"] == NO_IMAGE, "frame"]
    if 0 < len(lost) < len(rows):
        findings.note(
            "labels without a picture", where, f"{len(lost):,} of {len(rows):,} frames, the first is {lost.iloc[0]}"
        )


def _paired(
    rows: pd.DataFrame,
    there: np.ndarray,
    sources: list[str],
    positions: np.ndarray | None,
    members: list[str | None] | None,
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


def index_photos(folder: Path) -> dict[str, list[Path]]:
    """Pictures below a folder by name without suffix.

    Args:
        folder: It is searched at any depth, in the order of names; hidden files and folders are passed over, links are not followed.

    Raises:
        DatasetLayoutError: There is no such folder.
    """
    if not folder.is_dir():
        raise DatasetLayoutError(
            f"Expected a folder of pictures at {folder}, but there is none; check the copy of the release"
        )
    found: dict[str, list[Path]] = {}
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(base, name)
            if path.suffix.lower() in PICTURES and not name.startswith("."):
                found.setdefault(path.stem, []).append(path)
    return found


def find_photo(photos: Mapping[str, Sequence[Path]], name: str) -> Path | None:
    """The picture that a table means; None where it is not there.

    Args:
        photos: As `index_photos` gives them.
        name: File name or path with `/`, as the table has it. Of pictures of one name the one whose folders agree is meant.

    Raises:
        DatasetLayoutError: Several pictures may be meant.
    """
    wanted = PurePosixPath(name)
    found = list(photos.get(wanted.stem, ()))
    for depth in range(len(wanted.parts) - 1):
        if len(found) < 2:
            break
        folder = wanted.parts[-2 - depth]
        agree = [path for path in found if len(path.parts) > depth + 1 and path.parts[-2 - depth] == folder]
        found = agree or found
    if len(found) > 1:
        raise DatasetLayoutError(
            f"Expected one picture for {name}, but {found[0]} and {found[1]} may both be it; remove one"
        )
    return found[0] if found else None


def pair_photos(rows: pd.DataFrame, root: Path, pictures: Sequence[Path | None]) -> pd.DataFrame:
    """Rows with their pictures, in the columns of `auformer.data_prep.formats.frames`.

    Args:
        rows: With a column `frame`.
        root: Folder of the release.
        pictures: Picture of each row, None where there is none.
    """
    by_row = {number: path for number, path in enumerate(pictures) if path is not None}
    paired = pair_files(rows.assign(frame=range(len(rows))), root, by_row)
    return paired.assign(frame=rows["frame"])

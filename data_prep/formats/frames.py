"""What pictures there are, found without opening one: files of a folder by frame number, members of an archive, length of a video."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import av

from auformer.errors import DatasetLayoutError

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
        raise DatasetLayoutError(f"Expected a folder of pictures at {folder}, but there is none; check the copy of the release")
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

"""The pictures of rows, one at a time, from files, videos and archives; what cannot be read has a status and a message instead."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from auformer.data.images import decode_image, read_image

from ..formats.archives import read_member
from ..formats.videos import read_frames
from .units import Row


class Picture(NamedTuple):
    """The picture of one row.

    Args:
        row: the row.
        image: (H, W, 3) uint8 RGB; None where there is none.
        status: `ok`, `unreadable`, `no_image`, or the status that the row had before.
        message: what is wrong, empty with `ok`.
    """

    row: Row
    image: np.ndarray | None
    status: str
    message: str


def read_pictures(root: Path, rows: Sequence[Row]) -> Iterator[Picture]:
    """Read the pictures of rows, one in memory at a time.

    Args:
        root: folder of the release.
        rows: rows of one video should follow each other, so that it is decoded once.

    Yields:
        A picture for every row; in the order of the rows, but that those of a video come in the order of its frames.
    """
    for (source, is_video, is_archive, status), group in itertools.groupby(rows, _kind):
        if status != "ok":
            yield from (Picture(row, None, row.status, "") for row in group)
        elif is_video:
            yield from _from_video(root / source, list(group))
        elif is_archive:
            yield from _from_archive(root / source, list(group))
        else:
            yield from (_from_file(root / row.source, row) for row in group)


def _kind(row: Row) -> tuple[str, bool, bool, str]:
    """What rows that are read together have in common."""
    is_video, is_archive = row.position is not None, row.member is not None
    return row.source if is_video or is_archive else "", is_video, is_archive, row.status if row.status != "ok" else "ok"


def _from_file(path: Path, row: Row) -> Picture:
    """A picture that is a file of its own."""
    try:
        return Picture(row, read_image(path), "ok", "")
    except ValueError as error:
        status = "unreadable" if path.exists() else "no_image"
        return Picture(row, None, status, str(error).replace(str(path), row.source))


def _from_video(path: Path, rows: list[Row]) -> Iterator[Picture]:
    """Frames of one video."""
    by_position: dict[int, list[Row]] = {}
    for row in rows:
        by_position.setdefault(row.position or 0, []).append(row)
    if not path.exists():
        yield from (Picture(row, None, "no_image", f"{path.name}: there is no such video") for row in rows)
        return
    for position, image, status, message in read_frames(path, sorted(by_position)):
        yield from (Picture(row, image, status, message) for row in by_position[position])


def _from_archive(path: Path, rows: list[Row]) -> Iterator[Picture]:
    """Members of one zip archive."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        status = "unreadable" if path.exists() else "no_image"
        yield from (Picture(row, None, status, f"{path.name}: the archive cannot be read ({error})") for row in rows)
        return
    with archive:
        for row in rows:
            try:
                image = decode_image(read_member(archive, row.member or ""), row.file)
                yield Picture(row, image, "ok", "")
            except ValueError as error:
                yield Picture(row, None, "unreadable", str(error).replace(str(path), path.name))

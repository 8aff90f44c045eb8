"""From images to crops: images read one at a time from files, videos and archives, faces found, crops written."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auformer.data.images import decode_image, read_image, write_image
from auformer.errors import DatasetLayoutError
from auformer.faces import POINT_COLUMNS, Detector, Face, crop_matrix, warp
from auformer.pool import tick

from ..formats.archives import read_member
from ..formats.videos import read_frames
from .units import Row, Unit

QUALITY = 95  # of the JPEG crops [ours]
NUMBERS = ["x", "y", "w", "h", "score", *POINT_COLUMNS]
RESULT = ["row", "status", "message", *NUMBERS, "points_source", "points_frame", "faces_found"]


class RowImage(NamedTuple):
    """The image (H, W, 3) uint8 RGB of one row; else None, its status, and a message of what is wrong."""

    row: Row
    image: np.ndarray | None
    status: str
    message: str


def read_images(root: Path, rows: Sequence[Row]) -> Iterator[RowImage]:
    """Read the image of every row, one in memory at a time; those of a video come in presentation order."""
    for (source, is_video, is_archive, status), group in itertools.groupby(rows, _kind):
        if status != "ok":
            yield from (RowImage(row, None, row.status, "") for row in group)
        elif is_video:
            yield from _from_video(root / source, list(group))
        elif is_archive:
            yield from _from_archive(root / source, list(group))
        else:
            yield from (_from_file(root / row.source, row) for row in group)


def _kind(row: Row) -> tuple[str, bool, bool, str]:
    is_video, is_archive = row.position is not None, row.member is not None
    return row.source if is_video or is_archive else "", is_video, is_archive, row.status


def _from_file(path: Path, row: Row) -> RowImage:
    try:
        return RowImage(row, read_image(path), "ok", "")
    except ValueError as error:
        status = "unreadable" if path.exists() else "no_image"
        return RowImage(row, None, status, str(error).replace(str(path), row.source))


def _from_video(path: Path, rows: list[Row]) -> Iterator[RowImage]:
    by_position: dict[int, list[Row]] = {}
    for row in rows:
        by_position.setdefault(row.position or 0, []).append(row)
    if not path.exists():
        yield from (RowImage(row, None, "no_image", f"{path.name}: there is no such video") for row in rows)
        return
    for position, image, status, message in read_frames(path, sorted(by_position)):
        yield from (RowImage(row, image, status, message) for row in by_position[position])


def _from_archive(path: Path, rows: list[Row]) -> Iterator[RowImage]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        status = "unreadable" if path.exists() else "no_image"
        yield from (RowImage(row, None, status, f"{path.name}: the archive cannot be read ({error})") for row in rows)
        return
    with archive:
        for row in rows:
            try:
                yield RowImage(row, decode_image(read_member(archive, row.member or ""), row.file), "ok", "")
            except ValueError as error:
                yield RowImage(row, None, "unreadable", str(error).replace(str(path), path.name))


@dataclass(frozen=True)
class Settings:
    """How crops are made; plain values, so that they travel to workers.

    Args:
        root: Folder of the release.
        out: Folder of the result.
        recipe: A key of `auformer.faces.CROP_RECIPES`.
        size: Side of a crop in pixels.
        border: What lies outside an image: "reflect" or "constant".
    """

    root: str
    out: str
    recipe: str
    size: int
    border: str


def cut_unit(unit: Unit, settings: Settings, detector: Detector) -> pd.DataFrame:
    """Write the crops of a unit; temporary files that a killed run has left there are removed first.

    Returns:
        A row per row of the unit, columns `RESULT`: the row's number, its status, a message where it is not `ok`; box,
        score and landmarks of the face that gave the transform, in pixels; the frame that it was seen in; and how many
        faces the row's image shows (-1 where none was looked for).
    """
    for folder in {Path(settings.out, row.image).parent for row in unit.rows}:
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)
    results = []
    for clip, group in itertools.groupby(unit.rows, lambda row: row.clip):
        rows = list(group)
        for result in (_each if clip is None else _one_clip)(rows, settings, detector):
            results.append(result)
            tick()
    return pd.DataFrame(results, columns=RESULT).sort_values("row", ignore_index=True)


def _each(rows: list[Row], settings: Settings, detector: Detector) -> Iterator[tuple[Any, ...]]:
    for found in read_images(Path(settings.root), rows):
        faces = [] if found.image is None else _detect(found.row, found.image, detector)
        count = -1 if found.image is None else len(faces)
        yield _cut(found, faces[0] if faces else None, found.row.frame, count, settings)


def _one_clip(rows: list[Row], settings: Settings, detector: Detector) -> Iterator[tuple[Any, ...]]:
    """Rows with the transform of their onset, or of the first frame with a face after it, or else before it."""
    onset = rows[0].onset
    first = 0 if onset is None else next((i for i, row in enumerate(rows) if row.frame >= onset), 0)
    face, seen, counts = None, -1, {}
    for some in (rows[first:], rows[:first]):  # read apart, since those of a video come in presentation order
        for found in read_images(Path(settings.root), some) if face is None else ():
            if found.image is None:
                continue
            faces = _detect(found.row, found.image, detector)
            counts[found.row.number] = len(faces)
            if faces:
                face, seen = faces[0], found.row.frame
                break
    for found in read_images(Path(settings.root), rows):
        yield _cut(found, face, seen, counts.get(found.row.number, -1), settings)


def _detect(row: Row, image: np.ndarray, detector: Detector) -> list[Face]:
    """Faces of an image, the largest first; a table of boxes or landmarks that does not fit the release is an error."""
    try:
        return detector(image, file=row.file, frame=row.frame)
    except ValueError as error:
        raise DatasetLayoutError(f"{row.file}, frame {row.frame}: {error}") from error


def _cut(found: RowImage, face: Face | None, seen: int, count: int, settings: Settings) -> tuple[Any, ...]:
    row, status, message = found.row, found.status, found.message
    if found.image is not None and face is not None:
        try:
            matrix = crop_matrix(face.points, settings.recipe, settings.size, face.box)
        except ValueError as error:
            message = f"unusable landmarks: {error}"
        else:
            crop = warp(found.image, matrix, settings.size, border=settings.border)
            write_image(Path(settings.out, row.image), crop, quality=QUALITY)
            values = [*face.box, face.score, *np.asarray(face.points, np.float64).ravel()]
            return row.number, "ok", "", *map(float, values), face.points_source, seen, count
    if found.image is None:
        count = -1
    else:
        status = "no_face"
    return row.number, status, message, *[np.nan] * len(NUMBERS), "", row.frame, count

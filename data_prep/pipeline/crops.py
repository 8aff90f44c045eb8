"""The pictures of rows, one at a time, from files, videos and archives; what cannot be read has a status and a message instead."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auformer.data.images import decode_image, read_image, write_image
from auformer.errors import DatasetLayoutError
from auformer.faces import Detector, Face, crop_matrix, warp

from ..formats.archives import read_member
from ..formats.videos import read_frames
from .units import Row, Unit


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
    return (
        row.source if is_video or is_archive else "",
        is_video,
        is_archive,
        row.status if row.status != "ok" else "ok",
    )


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


QUALITY = 95  # of the JPEG crops [ours]
POINTS = ("pupil_left", "pupil_right", "nose_tip", "mouth_left", "mouth_right")  # image left and right, as in `Face`
POINT_COLUMNS = [f"{name}_{axis}" for name in POINTS for axis in "xy"]
NUMBERS = ["x", "y", "w", "h", "score", *POINT_COLUMNS]
RESULT = ["row", "status", "message", *NUMBERS, "points_source", "points_frame", "faces_found"]


@dataclass(frozen=True)
class Settings:
    """How crops are made; plain values, so that they travel to workers.

    Args:
        root: folder of the release.
        out: folder of the crops.
        recipe: a key of `auformer.faces.CROP_RECIPES`.
        size: side of a crop in pixels.
        border: what lies outside a picture: "reflect" or "constant".
    """

    root: str
    out: str
    recipe: str
    size: int
    border: str


def cut_unit(unit: Unit, settings: Settings, detector: Detector, tick: Callable[[], None]) -> pd.DataFrame:
    """Make the crops of a unit.

    Args:
        unit: the rows.
        settings: how.
        detector: finds the faces.
        tick: called once for each row.

    Returns:
        A row per row of the unit, columns `RESULT`: the row's number, its status, a message where it is not `ok`; box, score and points
        of the face that gave the transform, in pixels; the frame that it was seen in; and how many faces the row's picture shows (-1
        where none was looked for).

    Raises:
        OSError: A crop cannot be written.
    """
    results = []
    for clip, group in groupby(unit.rows, lambda row: row.clip):
        rows = list(group)
        makers = _each(rows, settings, detector) if clip is None else _one_clip(rows, settings, detector)
        for result in makers:
            results.append(result)
            tick()
    return pd.DataFrame(results, columns=RESULT).sort_values("row", ignore_index=True)


def _each(rows: list[Row], settings: Settings, detector: Detector) -> Iterator[tuple[Any, ...]]:
    """Rows with a transform each."""
    for picture in read_pictures(Path(settings.root), rows):
        if picture.image is None:
            yield _without(picture)
            continue
        faces = _detect(picture, detector)
        yield _cut(picture, faces[0] if faces else None, picture.row.frame, len(faces), settings)


def _one_clip(rows: list[Row], settings: Settings, detector: Detector) -> Iterator[tuple[Any, ...]]:
    """Rows with the transform of their onset, or of the first frame with a face after it, or else before it."""
    onset = rows[0].onset
    first = 0 if onset is None else next((i for i, row in enumerate(rows) if row.frame >= onset), 0)
    face, found, counts = None, -1, {}
    for part in (rows[first:], rows[:first]):  # read apart, since those of a video come in its order
        for picture in read_pictures(Path(settings.root), part) if face is None else ():
            if picture.image is None:
                continue
            faces = _detect(picture, detector)
            counts[picture.row.number] = len(faces)
            if faces:
                face, found = faces[0], picture.row.frame
                break
    for picture in read_pictures(Path(settings.root), rows):
        count = counts.get(picture.row.number, -1)
        yield _without(picture) if picture.image is None else _cut(picture, face, found, count, settings)


def _detect(picture: Picture, detector: Detector) -> list[Face]:
    """Faces of a picture, the largest first.

    Raises:
        DatasetLayoutError: A table of boxes or points does not fit to the release.
    """
    assert picture.image is not None
    try:
        return detector(picture.image, file=picture.row.file, frame=picture.row.frame)
    except ValueError as error:
        raise DatasetLayoutError(f"{picture.row.file}, frame {picture.row.frame}: {error}") from error


def _without(picture: Picture) -> tuple[Any, ...]:
    """Result of a row that has no picture."""
    return picture.row.number, picture.status, picture.message, *[np.nan] * len(NUMBERS), "", picture.row.frame, -1


def _cut(picture: Picture, face: Face | None, seen: int, count: int, settings: Settings) -> tuple[Any, ...]:
    """Write the crop of one picture; its result."""
    row, image = picture.row, picture.image
    assert image is not None
    if face is None:
        return row.number, "no_face", "", *[np.nan] * len(NUMBERS), "", row.frame, count
    values = [*face.box, face.score, *np.asarray(face.points, np.float64).ravel()]
    try:
        matrix = crop_matrix(face.points, settings.recipe, settings.size, face.box)
    except ValueError as error:
        return row.number, "no_face", f"unusable points: {error}", *[np.nan] * len(NUMBERS), "", row.frame, count
    write_image(
        Path(settings.out, row.image), warp(image, matrix, settings.size, border=settings.border), quality=QUALITY
    )
    return row.number, "ok", "", *map(float, values), face.points_source, seen, count


def clear_partial(unit: Unit, out: Path) -> None:
    """Remove the temporary files that a killed run has left where the crops of a unit go."""
    for folder in {(out / row.image).parent for row in unit.rows}:
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)

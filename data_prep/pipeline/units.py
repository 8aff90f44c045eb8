"""The work of a preparation: the rows of a table with the place of each crop, in units of whole sequences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from auformer.errors import DatasetLayoutError
from auformer.files import digest, leads_outside

from ..release import SOURCE, SOURCE_FRAME, SOURCE_MEMBER

CROPS = "crops"
# Short sequences share a unit and long folders are cut: what a killed worker loses, and one file per unit [ours].
UNIT_ROWS = 256
_LONGEST_NAME = 80  # characters of a folder's name [ours]
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices of Windows


class Row(NamedTuple):
    """One row of work.

    Args:
        number: Position in the reader's table.
        clip: Rows with one transform share it; None where each row has its own.
        onset: Frame number of the clip's onset, None where unknown.
        frame: The release's frame number.
        status: `ok` where there is an image to read.
        file: Value of the manifest's column of that name; a member of an archive follows the archive's path.
        source: Path of the image, video or archive, relative to the root, with `/`.
        position: Of the frame in a video, from 0; None for images.
        member: Name in a zip archive; None for others.
        image: Where the crop goes, relative to the output folder.
    """

    number: int
    clip: tuple[str, str, str] | None
    onset: int | None
    frame: int
    status: str
    file: str
    source: str
    position: int | None
    member: str | None
    image: str


@dataclass(frozen=True)
class Unit:
    """What one worker does at a time: a number from 0, and rows in the order of the table."""

    number: int
    rows: tuple[Row, ...]


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """A file name for each of some names, safe on every system and different for different names, in whatever case.

    A name that has to change, or that differs from another one by case alone, gets the start of its SHA-256.

    >>> safe_names(["F001", "café 1", "a/b", "A"])
    {'F001': 'F001', 'café 1': 'caf__1-0a61b404', 'a/b': 'a_b-c14cddc0', 'A': 'A'}
    """
    names = list(dict.fromkeys(names))
    spelled = Counter(name.lower() for name in names)
    result = {}
    for name in names:
        safe = _UNSAFE.sub("_", name)[:_LONGEST_NAME]
        if safe != name or spelled[name.lower()] > 1 or _RESERVED.fullmatch(name) or name[0] in ".-" or name[-1] == ".":
            safe = f"{safe.strip('.-')}-{digest(name)[:8]}"
        result[name] = safe
    return result


def make_rows(table: pd.DataFrame, *, per_clip: bool) -> list[Row]:
    """The rows of a reader's table; those of a clip (of a sequence without clips) share a transform if `per_clip`."""
    subjects = safe_names(table["subject"])
    sequences = {subject: safe_names(group) for subject, group in table.groupby("subject", sort=False)["sequence"]}
    keys = zip(table["subject"], table["sequence"], table["frame"], table["status"], strict=True)
    columns = [_column(table, name) for name in ("clip", "onset", SOURCE, SOURCE_FRAME, SOURCE_MEMBER)]
    rows = []
    for number, (key, values) in enumerate(zip(keys, zip(*columns, strict=True), strict=True)):
        (subject, sequence, frame, status), (clip, onset, source, position, member) = key, values
        source = source or ""
        if leads_outside(source):
            raise DatasetLayoutError(
                f"Expected every image inside `--root`, but got {source!r}; name a folder that holds them all"
            )
        if not source and status == "ok":
            status = "no_image"
        image = PurePosixPath(CROPS, subjects[subject], sequences[subject][sequence], f"{int(frame)}.jpg")
        rows.append(
            Row(
                number=number,
                clip=(subject, sequence, clip or "") if per_clip else None,
                onset=None if onset is None else int(onset),
                frame=int(frame),
                status=status,
                file=source if member is None else f"{source}/{member}",
                source=source,
                position=None if position is None else int(position),
                member=member,
                image=str(image),
            )
        )
    return rows


def _column(table: pd.DataFrame, name: str) -> list:
    """Values of a column with None for what is missing; all None where there is no such column."""
    if name not in table.columns:
        return [None] * len(table)
    column = table[name].astype(object)
    return column.where(column.notna(), None).tolist()


def cut_units(rows: list[Row], table: pd.DataFrame) -> list[Unit]:
    """Units of whole sequences, `UNIT_ROWS` rows or one sequence long; a folder of single images may be cut."""
    pieces: list[list[Row]] = []
    for _, numbers in table.reset_index(drop=True).groupby(["subject", "sequence"], sort=False).groups.items():
        sequence = [rows[number] for number in numbers]
        whole = any(row.clip is not None or row.position is not None for row in sequence)
        step = len(sequence) if whole else UNIT_ROWS
        for start in range(0, len(sequence), step):
            piece = sequence[start : start + step]
            if pieces and len(pieces[-1]) + len(piece) <= UNIT_ROWS:
                pieces[-1].extend(piece)
            else:
                pieces.append(piece)
    return [Unit(number, tuple(piece)) for number, piece in enumerate(pieces)]

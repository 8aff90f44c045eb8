"""Single pictures that a table names: found by name anywhere below a folder, whatever their suffix."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from auformer.errors import DatasetLayoutError

from .frames import PICTURES
from .pairing import pair_files


def index_photos(folder: Path) -> dict[str, list[Path]]:
    """Pictures below a folder by name without suffix.

    Args:
        folder: It is searched at any depth, in the order of names; hidden files and folders are passed over, links are not followed.

    Raises:
        DatasetLayoutError: There is no such folder.
    """
    if not folder.is_dir():
        raise DatasetLayoutError(f"Expected a folder of pictures at {folder}, but there is none; check the copy of the release")
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
        raise DatasetLayoutError(f"Expected one picture for {name}, but {found[0]} and {found[1]} may both be it; remove one")
    return found[0] if found else None


def pair_photos(rows: pd.DataFrame, root: Path, pictures: Sequence[Path | None]) -> pd.DataFrame:
    """Rows with their pictures, in the columns of `auformer.data_prep.formats.pairing`.

    Args:
        rows: With a column `frame`.
        root: Folder of the release.
        pictures: Picture of each row, None where there is none.
    """
    by_row = {number: path for number, path in enumerate(pictures) if path is not None}
    paired = pair_files(rows.assign(frame=range(len(rows))), root, by_row)
    return paired.assign(frame=rows["frame"])

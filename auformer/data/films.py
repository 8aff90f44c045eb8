"""Images of rows that name a frame of a video (`file`, `frame`) in place of an image file.

For videos whose frames are face crops already, as `auformer synth --videos` writes them; other videos go through
`auformer prepare` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.chosen import read_chosen
from auformer.data.images import read_image
from auformer.errors import ManifestError
from auformer.files import OUTSIDE


def check_films(column: pd.Series, where: str) -> list[str]:
    """Paths of the videos of a manifest's usable rows.

    Raises:
        ManifestError: One is empty, or no relative path with `/` inside the manifest's folder.
    """
    names = [name if isinstance(name, str) else "" for name in column]
    bad = next((name for name in dict.fromkeys(names) if not name or re.search(OUTSIDE, name)), None)
    if bad is not None:
        raise ManifestError(
            f"{where}: without a column `image`, `file` should be the path of a video inside the manifest's folder, "
            f"relative to it and with `/`, but is {bad!r}; move the videos beside the manifest, or name images"
        )
    return names


def row_image(folder: Path, row: Mapping[str, Any]) -> np.ndarray:
    """The image of one row of a manifest in a folder, uint8 RGB `(H, W, 3)`: its image file, or its frame of a video.

    Raises:
        ValueError: It cannot be read.
    """
    if "image" in row:
        return read_image(folder / row["image"])
    return film_frames(str(folder / row["file"]), [int(row["frame"])])[int(row["frame"])]


def film_frames(path: str, numbers: Iterable[int]) -> dict[int, np.ndarray]:
    """Some frames of a video by their numbers, which count from 0 in the order in which they are shown.

    One pass over the file up to the last of them, in which little else is decoded.

    Returns:
        uint8 RGB `(H, W, 3)` by number.

    Raises:
        ValueError: It is no video, it is damaged before the last of them, or it has no such frame.
    """
    wanted = set(numbers)
    last = max(wanted)

    def keep(index: int, time_s: float) -> bool | None:
        return None if index > last else index in wanted

    found = {frame.index: frame.image() for frame in read_chosen(path, keep, threads=1)}
    if missing := wanted - found.keys():
        raise ValueError(
            f"Expected a frame {min(missing)} (counted from 0) in {path}, but the video ends before; number the frames "
            "as they are shown, or leave the row out"
        )
    return found

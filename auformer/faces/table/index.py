"""A faces file or a plain table as a look-up by file and frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from auformer.faces.face import POINT_COLUMNS
from auformer.faces.recipes import Box
from auformer.faces.table.reading import read_numbers, read_table

BOX_COLUMNS = ("x", "y", "w", "h")


@dataclass(frozen=True)
class Entry:
    """One face of a table: box and points, either may be missing."""

    box: Box | None
    points: np.ndarray | None
    score: float


@dataclass
class Index:
    """Faces by file and frame (None: the file is an image)."""

    faces: dict[tuple[str, int | None], list[Entry]] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)

    def add(self, file: str, frame: int | None, entry: Entry) -> None:
        """Put a face in."""
        name = normal(file)
        self.faces.setdefault((name, frame), []).append(entry)
        self.names.setdefault(PurePosixPath(name).name, set()).add(name)

    def find(self, file: str, frame: int | None) -> list[Entry]:
        """Faces of one picture.

        Raises:
            ValueError: several files of the table may be meant.
        """
        asked = normal(file)
        known = self.names.get(PurePosixPath(asked).name, set())
        fitting = [asked] if asked in known else sorted(name for name in known if _ends_alike(name, asked))
        if len(fitting) > 1:
            raise ValueError(f"Expected one file of the table to be {file}, but it may be {fitting[0]} or {fitting[1]}: name more folders.")
        if not fitting:
            return []
        return self.faces.get((fitting[0], frame)) or self.faces.get((fitting[0], 0 if frame is None else None), [])


@lru_cache(maxsize=4)
def read_index(path: str) -> Index:
    """A faces file or a plain table, by file and frame."""
    table = read_table(path)
    if "file" not in table and {"subject", "frame"} <= set(table.columns):
        table = _with_files(table, Path(path))
    boxes, points = (all(name in table for name in names) for names in (BOX_COLUMNS, POINT_COLUMNS))
    if "file" not in table or not (boxes or points):
        raise ValueError(
            f"Expected {path} to be a faces file, an OpenFace table, or to have columns file and x, y, w, h or {POINT_COLUMNS[0]} .. "
            f"{POINT_COLUMNS[-1]}, but got {', '.join(map(str, table.columns[:12]))}."
        )
    columns = [*(BOX_COLUMNS if boxes else ()), *(POINT_COLUMNS if points else ()), *(name for name in ("frame", "score") if name in table)]
    values = {name: read_numbers(table[name], path) for name in columns}
    index = Index()
    for row, file in enumerate(table["file"].astype(str)):
        box = _whole(tuple(values[name][row] for name in BOX_COLUMNS)) if boxes else None
        where = _whole(tuple(values[name][row] for name in POINT_COLUMNS)) if points else None
        if box is not None and min(box[2:]) <= 0:
            raise ValueError(f"Expected boxes of {path} to have w and h above 0, but got {box[2:]} for {file}.")
        frame = values["frame"][row] if "frame" in values else np.nan
        if not np.isnan(frame) and frame != int(frame):
            raise ValueError(f"Expected frames of {path} to be whole numbers, but got {frame} for {file}.")
        if box is not None or where is not None:
            score = values["score"][row] if "score" in values else 1.0
            entry = Entry(box, None if where is None else np.reshape(where, (5, 2)), 1.0 if np.isnan(score) else float(score))
            index.add(file, None if np.isnan(frame) else int(frame), entry)
    return index


def _with_files(faces: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A faces file with the column `file` of the manifest beside it; of one without, `image`."""
    name = path.name.removesuffix(".parquet").removesuffix(".faces")
    manifest = next((path.with_name(name + suffix) for suffix in (".parquet", ".csv") if path.with_name(name + suffix).exists()), None)
    if manifest is None or manifest == path:
        raise ValueError(f"Expected the manifest {name}.csv or {name}.parquet beside {path}, which says the files, but there is none.")
    table = read_table(str(manifest))
    key = [column for column in ("dataset", "subject", "sequence", "frame", "face") if column in faces and column in table]
    what = "file" if "file" in table else "image"
    if what not in table:
        raise ValueError(f"Expected {manifest} to have a column file or image, but got {', '.join(map(str, table.columns[:12]))}.")
    for side in (faces, table):
        side[key] = side[key].astype(str)
    joined = faces.merge(table[[*key, what]].drop_duplicates(key), on=key, how="inner").rename(columns={what: "file"})
    if len(joined) < len(faces):
        raise ValueError(f"Expected every face of {path} to have its row in {manifest}, but {len(faces) - len(joined)} have none.")
    return joined.drop(columns="frame") if what == "image" else joined


def _whole(values: tuple[float, ...]) -> Any:
    """The values, None if one of them is missing."""
    return tuple(map(float, values)) if np.isfinite(values).all() else None


def normal(file: str) -> str:
    """A path with forward slashes, without `./`."""
    return str(PurePosixPath(file.replace("\\", "/")))


def _ends_alike(one: str, other: str) -> bool:
    """Whether the shorter path is the end of the longer."""
    a, b = PurePosixPath(one).parts, PurePosixPath(other).parts
    count = min(len(a), len(b))
    return a[-count:] == b[-count:]

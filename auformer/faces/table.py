"""The back-end that looks nothing up in the image: boxes or landmarks from a table that is there already.

Faces from a table of OpenFace 2.x: FeatureExtraction (a row per frame and face) or FaceLandmarkImg (a row per face).

Columns as in OpenFace's `RecorderCSV.cpp`, with or without spaces before the names.

The back-end that looks nothing up in the image: boxes or points from a table that is there already.

Which tables, told apart by their columns (spaces around names do not count):

* **`NAME.faces.parquet`**, as `auformer prepare` and `auformer synth` write it, with its manifest `NAME.csv` or `NAME.parquet` beside it.
* **OpenFace 2.x** (`frame` or `face`, `confidence`, `x_0`..`y_67`): pupils are the means of the eye contours, nose tip is landmark 30,
  mouth corners 48 and 54. One file belongs to the video or image whose name it has; for several, name the folder that holds them.
* **CSV or Parquet with a column `file`**, `frame` where the files are videos, and `x, y, w, h` and/or `pupil_left_x` .. `mouth_right_y`
  (the names of a faces file), optionally `score`. Pixels, with the origin at the image's upper left corner. Of boxes alone, the points
  come from the regressor.

**Frames.** A row's frame number is looked up as it is: the table counts as the manifest does. OpenFace counts frames from 1; its first
frame is taken for frame 0, or for frame N where the manifest counts from N: `table:FILE?first=N`. A number beyond an OpenFace table's ends
is an error, so that a wrong base is noticed. **Files** are compared from the end of their paths, folder by folder as far as both go. What
the table does not hold, or holds without a value, has no face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from auformer.faces.face import POINT_COLUMNS, Face
from auformer.faces.recipes import Box
from auformer.faces.regressor import locate_in_any_box


def read_table(path: str) -> pd.DataFrame:
    """A CSV or Parquet file, names without spaces around them."""
    if Path(path).suffix.lower() != ".parquet":
        return read_csv(path)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected {path} to be a Parquet file, but it cannot be read: {error}") from error


def read_csv(path: str, nrows: int | None = None) -> pd.DataFrame:
    """A CSV file, names without spaces around them.

    Raises:
        ValueError: it cannot be read as one.
    """
    try:
        text = {"file": str, "subject": str, "sequence": str}
        table = pd.read_csv(path, nrows=nrows, skipinitialspace=True, encoding="utf-8", dtype=text)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected {path} to be a table of comma-separated values, but it cannot be read: {error}"
        ) from error
    return table.rename(columns=lambda name: str(name).strip())


def read_numbers(column: pd.Series, path: str) -> np.ndarray:
    """A column as float64, empty cells nan."""
    values = pd.to_numeric(column, errors="coerce")
    wrong = column[values.isna() & column.notna() & (column.astype(str).str.strip() != "")]
    if len(wrong):
        raise ValueError(
            f"Expected numbers in column {column.name} of {path}, but got {wrong.iloc[0]!r} in row {wrong.index[0] + 1}."
        )
    return values.to_numpy(np.float64)


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
            raise ValueError(
                f"Expected one file of the table to be {file}, but it may be {fitting[0]} or {fitting[1]}: name more folders."
            )
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
    columns = [
        *(BOX_COLUMNS if boxes else ()),
        *(POINT_COLUMNS if points else ()),
        *(name for name in ("frame", "score") if name in table),
    ]
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
            entry = Entry(
                box, None if where is None else np.reshape(where, (5, 2)), 1.0 if np.isnan(score) else float(score)
            )
            index.add(file, None if np.isnan(frame) else int(frame), entry)
    return index


def _with_files(faces: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A faces file with the column `file` of the manifest beside it; of one without, `image`."""
    name = path.name.removesuffix(".parquet").removesuffix(".faces")
    manifest = next(
        (path.with_name(name + suffix) for suffix in (".parquet", ".csv") if path.with_name(name + suffix).exists()),
        None,
    )
    if manifest is None or manifest == path:
        raise ValueError(
            f"Expected the manifest {name}.csv or {name}.parquet beside {path}, which says the files, but there is none."
        )
    table = read_table(str(manifest))
    key = [
        column for column in ("dataset", "subject", "sequence", "frame", "face") if column in faces and column in table
    ]
    what = "file" if "file" in table else "image"
    if what not in table:
        raise ValueError(
            f"Expected {manifest} to have a column file or image, but got {', '.join(map(str, table.columns[:12]))}."
        )
    for side in (faces, table):
        side[key] = side[key].astype(str)
    joined = faces.merge(table[[*key, what]].drop_duplicates(key), on=key, how="inner").rename(columns={what: "file"})
    if len(joined) < len(faces):
        raise ValueError(
            f"Expected every face of {path} to have its row in {manifest}, but {len(faces) - len(joined)} have none."
        )
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


_EYES = (slice(36, 42), slice(42, 48))  # contours of the image-left and image-right eye among the 68 landmarks
_NOSE, _MOUTH = 30, (48, 54)  # tip; image-left and image-right corner
_NAMES = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
_TO_CORNER = 0.5  # pixels: OpenCV's origin, and so OpenFace's, is the centre of the first pixel; ours is its corner


def is_openface(table: pd.DataFrame) -> bool:
    """Whether a table has OpenFace's columns of landmarks in the image."""
    return {"confidence", *_NAMES} <= set(table.columns)


def read_openface(path: str, number: int | None) -> list[tuple[Box, np.ndarray, float]]:
    """Faces of one frame.

    Args:
        path: the table.
        number: of the frame, the first is 1; None or any for the table of an image.

    Returns:
        Per face that was tracked: box around its landmarks, points (5, 2), confidence.

    Raises:
        ValueError: the table is none of OpenFace's, or the frame is beyond its ends.
    """
    frames, landmarks, confidence = _read(path)
    if frames is None:
        rows = np.arange(len(landmarks))
    else:
        last = int(frames.max()) if len(frames) else 0
        if number is None and last == 1:
            number = 1
        if number is None or not 1 <= number <= last:
            raise ValueError(
                f"Expected a frame of {path}, which has 1 to {last}, but got {number}. Frames are counted from 0 on, or from N on with "
                "table:FILE?first=N."
            )
        rows = np.flatnonzero(frames == number)
    faces = []
    for row in rows:
        if np.isfinite(landmarks[row]).all():
            low, high = landmarks[row].min(0), landmarks[row].max(0)
            box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
            faces.append((box, five_points(landmarks[row]), float(confidence[row])))
    return faces


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Pupils, nose tip, mouth corners (5, 2) of 68 landmarks (68, 2)."""
    return np.array([*(landmarks[eye].mean(0) for eye in _EYES), landmarks[_NOSE], *landmarks[list(_MOUTH)]])


@lru_cache(maxsize=8)
def _read(path: str) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Frame numbers (n,) or None, landmarks (n, 68, 2), nan where tracking failed, and confidence (n,)."""
    table = read_csv(path)
    if not is_openface(table):
        raise ValueError(
            f"Expected {path} to be an OpenFace table with x_0 .. y_67, but got {', '.join(table.columns[:8])}."
        )
    try:
        values = table[[*_NAMES, "confidence"]].to_numpy(np.float64)
    except ValueError as error:
        raise ValueError(f"Expected numbers in the landmarks of {path}, but got others: {error}") from error
    landmarks = np.stack([values[:, :68], values[:, 68:136]], -1) + _TO_CORNER
    if "success" in table:
        landmarks[table["success"].to_numpy() == 0] = np.nan
    frames = table["frame"].to_numpy(np.int64) if "frame" in table else None
    return frames, landmarks, values[:, 136]


# Box of a face that is given by points, as the frontal-face cascade's: pupils 0.40 of its side apart, at 0.413 of its height. [ours]
_APART, _HEIGHT = 0.40, 0.413


@dataclass(frozen=True)
class Table:
    """Faces from a file, or a folder of OpenFace tables; plain values, so that it travels to other processes.

    Args:
        path: file or folder.
        first: number that the asked frames have at the start of a video, read for OpenFace tables only.
    """

    path: str
    first: int = 0

    def __call__(self, image: np.ndarray, file: str, frame: int | None, min_size: int) -> list[Face]:
        """Faces that the table holds for a picture; `image` (H, W, 3) uint8 RGB is read where there are boxes only.

        Raises:
            ValueError: the picture has no name, or the table cannot be asked for it.
        """
        if not file:
            raise ValueError(
                "Expected the name of the picture's file, by which the table holds its faces, but got none."
            )
        faces = []
        for entry in self._entries(file, frame):
            points, source = entry.points, "table"
            if points is None:
                assert entry.box is not None
                points, source = locate_in_any_box(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), entry.box), "regressor"
            faces.append(Face(_box_of(points) if entry.box is None else entry.box, entry.score, points, source))
        return faces

    def version(self) -> str:
        """The file's name and the first 12 hex digits of a SHA-256 over its bytes, or over those of all tables of a folder."""
        path, digest = Path(self.path), hashlib.sha256()
        for each in [path] if path.is_file() else sorted(path.rglob("*.csv")):
            digest.update(each.read_bytes())
        return f"{path.name} {digest.hexdigest()[:12]}" + (f", first frame {self.first}" if self.first else "")

    def _entries(self, file: str, frame: int | None) -> Sequence[Entry]:
        """The faces of a picture, whichever kind of table holds them."""
        path = Path(self.path)
        if not path.is_dir() and not _peek(self.path):
            return read_index(self.path).find(file, frame)
        table = _table_of(file, self.path) if path.is_dir() else path
        if table is None:
            return []
        if path.is_file() and PurePosixPath(normal(file)).stem != path.stem:
            raise ValueError(
                f"Expected the OpenFace table {path.name} to be asked for {path.stem}, by its name, but got {file}: name the folder that "
                "holds a table for each file, or the file's own table."
            )
        number = None if frame is None else frame - self.first + 1
        return [Entry(*face) for face in read_openface(str(table), number)]


def make_table(spec: str) -> Table:
    """The back-end for FILE or FILE?first=N.

    Raises:
        ValueError: there is no such file, or it is none of the tables that are known.
    """
    text, _, option = spec.partition("?")
    if not text or not Path(text).exists():
        raise ValueError(
            f"Expected `table:FILE` to name a table or a folder of OpenFace tables, but there is no {text or 'name'}."
        )
    name, _, value = option.partition("=")
    if option and (name != "first" or not value.isdigit()):
        raise ValueError(f"Expected `table:FILE?first=N` with the number of the first frame, but got ?{option}.")
    table = Table(text, int(value) if option else 0)
    if Path(text).is_dir():
        if not any(Path(text).rglob("*.csv")):
            raise ValueError(f"Expected {text} to hold OpenFace tables (*.csv), but there is none.")
    elif not _peek(text):
        if option:
            raise ValueError(
                f"Expected `?first=` with an OpenFace table only, but {text} is none: its frames count as the manifest's do."
            )
        read_index(text)
    return table


@lru_cache(maxsize=4)
def _peek(path: str) -> bool:
    """Whether a file is an OpenFace table."""
    return Path(path).suffix.lower() == ".csv" and is_openface(read_csv(path, nrows=0))


def _table_of(file: str, folder: str) -> Path | None:
    """The table in a folder that belongs to a file: at the same relative place, or else of its name."""
    wanted = PurePosixPath(normal(file)).with_suffix(".csv")
    beside = Path(folder, wanted)
    if not wanted.is_absolute() and ".." not in wanted.parts and beside.is_file():
        return beside
    found = sorted(Path(folder).rglob(wanted.name))
    if len(found) > 1:
        raise ValueError(f"Expected one table {wanted.name} in {folder}, but got {found[0]} and {found[1]}.")
    return found[0] if found else None


def _box_of(points: np.ndarray) -> Box:
    """A box around a face whose points (5, 2) are known."""
    (x, y), apart = points[:2].mean(0), float(np.hypot(*(points[1] - points[0])))
    side = apart / _APART
    return float(x - side / 2), float(y - _HEIGHT * side), side, side

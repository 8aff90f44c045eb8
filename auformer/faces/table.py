"""The back-end that looks nothing up in the image: boxes or landmarks from a table that is there already.

Which tables, told apart by their columns (spaces around names do not count):

* **`NAME.faces.parquet`**, as `auformer prepare` and `auformer synth` write it, with its manifest `NAME.csv` or
  `NAME.parquet` beside it.
* **OpenFace 2.x**, FeatureExtraction or FaceLandmarkImg (`frame` or `face`, `confidence`, `x_0`..`y_67`, as in its
  `RecorderCSV.cpp`): pupils are the means of the eye contours, nose tip is landmark 30, mouth corners 48 and 54. One
  file belongs to the video or image whose name it has; for several, name the folder that holds them.
* **Any table with a column `file`** (CSV with any separator, `.xlsx`, Parquet), `frame` where the files are videos, and
  `x, y, w, h` and/or `pupil_left_x` .. `mouth_right_y` (the names of a faces file), optionally `score`. Pixels, with
  the origin at the image's upper left corner. Of boxes alone, the landmarks come from the regressor.

**Frames.** A row's frame number is looked up as it is: the table counts as the manifest does. OpenFace counts frames
from 1 (programs in its form from 0, which their times show); its first frame is taken for frame 0, or for frame N where
the manifest counts from N: `table:FILE?first=N`. A number beyond an OpenFace table's ends is an error, so that a wrong
base is noticed; a table without rows is of a video in which nobody was seen. **Files** are compared from the end
of their paths, folder by folder as far as both go. What the table does not hold, or holds without a value, has no face.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from auformer.data.cells import LABEL, NUMBER
from auformer.data.openface import LANDMARKS, TO_CORNER, first_frame
from auformer.data.table_file import open_table, place_of, table_names
from auformer.faces.face import POINT_COLUMNS, Face
from auformer.faces.recipes import Box
from auformer.faces.regressor import locate_in_any_box

BOX_COLUMNS = ("x", "y", "w", "h")
_EYES = (slice(36, 42), slice(42, 48))  # contours of the image-left and image-right eye among the 68 landmarks
_NOSE, _MOUTH = 30, (48, 54)  # tip; image-left and image-right corner
_OPENFACE = [*LANDMARKS[0], *LANDMARKS[1]]
_NUMBERS = {"frame", "score", *BOX_COLUMNS, *POINT_COLUMNS}
# Box of a face that is given by landmarks, as the frontal-face cascade's: pupils 0.40 of its side apart, at 0.413 of
# its height. [ours]
_APART, _HEIGHT = 0.40, 0.413


@dataclass(frozen=True)
class Entry:
    """One face of a table: box (x, y, w, h) and landmarks `(5, 2)`, of which one may be missing, and score."""

    box: Box | None
    points: np.ndarray | None
    score: float


@dataclass(frozen=True)
class Table:
    """Faces from a file, or a folder of OpenFace tables; plain values, so that it travels to other processes.

    Args:
        path: File or folder.
        first: Number that the asked frames have at the start of a video, read for OpenFace tables only.
    """

    path: str
    first: int = 0

    def __call__(self, image: np.ndarray, file: str, frame: int | None, min_size: int) -> list[Face]:
        """Faces that the table holds for an image `(H, W, 3)` uint8 RGB, which is read where there are boxes only.

        Raises:
            ValueError: The image has no name, or the table cannot be asked for it.
        """
        if not file:
            raise ValueError("Expected the name of the image's file, by which the table holds its faces, but got none.")
        faces = []
        for entry in self._entries(file, frame):
            points, source, box = entry.points, "table", entry.box
            if points is None:
                assert box is not None
                points, source = locate_in_any_box(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), box), "regressor"
            faces.append(Face(_box_of(points) if box is None else box, entry.score, points, source))
        return faces

    def version(self) -> str:
        """The file's name and the first 12 hex digits of a SHA-256 over its bytes, or over all tables of a folder."""
        path, digest = Path(self.path), hashlib.sha256()
        for each in [path] if path.is_file() else sorted(path.rglob("*.csv")):
            digest.update(each.read_bytes())
        return f"{path.name} {digest.hexdigest()[:12]}" + (f", first frame {self.first}" if self.first else "")

    def _entries(self, file: str, frame: int | None) -> Sequence[Entry]:
        """The faces of an image, whichever kind of table holds them."""
        path = Path(self.path)
        if path.is_file() and not _is_openface(self.path):
            return read_index(self.path).find(file, frame)
        table = _table_of(file, self.path) if path.is_dir() else path
        if table is None:
            return []
        if path.is_file() and PurePosixPath(_normal(file)).stem != path.stem:
            raise ValueError(
                f"Expected the OpenFace table {path.name} to be asked for {path.stem}, by its name, but got {file}: "
                "name the folder that holds a table for each file, or the file's own table."
            )
        frames = read_openface(str(table))
        if not frames:  # nobody was seen
            return []
        if None in frames:  # the table of an image
            return frames[None]
        last = max((number for number in frames if number is not None), default=0)
        number = 1 if frame is None and last == 1 else None if frame is None else frame - self.first + 1
        if number is None or not 1 <= number <= last:
            raise ValueError(
                f"Expected a frame of {table}, which has 1 to {last}, but got {number}. Frames are counted from 0 on, "
                "or from N on with table:FILE?first=N."
            )
        return frames.get(number, [])


def make_table(spec: str) -> Table:
    """The back-end for FILE or FILE?first=N.

    Raises:
        ValueError: There is no such file, or it is none of the tables that are known.
    """
    text, _, option = spec.partition("?")
    if not text or not Path(text).exists():
        what = "a table or a folder of OpenFace tables"
        raise ValueError(f"Expected `table:FILE` to name {what}, but there is no {text or 'name'}.")
    name, _, value = option.partition("=")
    if option and (name != "first" or not value.isdigit()):
        raise ValueError(f"Expected `table:FILE?first=N` with the number of the first frame, but got ?{option}.")
    if Path(text).is_dir():
        if not any(Path(text).rglob("*.csv")):
            raise ValueError(f"Expected {text} to hold OpenFace tables (*.csv), but there is none.")
    elif not _is_openface(text):
        if option:
            why = "its frames count as the manifest's do"
            raise ValueError(f"Expected `?first=` with an OpenFace table only, but {text} is none: {why}.")
        read_index(text)
    return Table(text, int(value) if option else 0)


class Index:
    """Faces of a plain table by file and frame (None: the file is an image)."""

    def __init__(self) -> None:
        self.faces: dict[tuple[str, int | None], list[Entry]] = defaultdict(list)
        self.names: dict[str, set[str]] = defaultdict(set)  # last part of a path -> whole paths

    def add(self, file: str, frame: int | None, entry: Entry) -> None:
        """Put a face in."""
        name = _normal(file)
        self.faces[name, frame].append(entry)
        self.names[PurePosixPath(name).name].add(name)

    def find(self, file: str, frame: int | None) -> list[Entry]:
        """Faces of one image.

        Raises:
            ValueError: Several files of the table may be meant.
        """
        asked = _normal(file)
        known = self.names.get(PurePosixPath(asked).name, set())
        fitting = [asked] if asked in known else sorted(name for name in known if _ends_alike(name, asked))
        if len(fitting) > 1:
            may = f"it may be {fitting[0]} or {fitting[1]}: name more folders"
            raise ValueError(f"Expected one file of the table to be {file}, but {may}.")
        if not fitting:
            return []
        return self.faces.get((fitting[0], frame)) or self.faces.get((fitting[0], 0 if frame is None else None), [])


@lru_cache(maxsize=4)
def read_index(path: str) -> Index:
    """A faces file or a plain table, by file and frame.

    Raises:
        ValueError: It lacks columns, or a value is wrong.
    """
    table = _read(path)
    if "file" not in table and {"subject", "frame"} <= set(table.columns):
        table = _with_files(table, Path(path))
    boxes, points = (set(names) <= set(table.columns) for names in (BOX_COLUMNS, POINT_COLUMNS))
    if "file" not in table or not (boxes or points):
        raise ValueError(
            f"Expected {path} to be a faces file, an OpenFace table, or to have columns file and x, y, w, h or "
            f"{POINT_COLUMNS[0]} .. {POINT_COLUMNS[-1]}, but got {', '.join(map(str, table.columns[:12]))}."
        )
    index = Index()
    files, nothing = table["file"].astype(str), np.full((len(table), 1), np.nan)
    box_rows = table[list(BOX_COLUMNS)].to_numpy(float) if boxes else nothing
    point_rows = table[list(POINT_COLUMNS)].to_numpy(float) if points else nothing
    frames, scores = (table[[name]].to_numpy(float) if name in table else nothing for name in ("frame", "score"))
    for file, values, landmarks, (frame,), (score,) in zip(files, box_rows, point_rows, frames, scores, strict=True):
        x, y, w, h = map(float, values) if np.isfinite(values).all() else (np.nan,) * 4
        box = None if np.isnan(w) else (x, y, w, h)
        if box is not None and min(w, h) <= 0:
            raise ValueError(f"Expected boxes of {path} to have w and h above 0, but got {(w, h)} for {file}.")
        if not np.isnan(frame) and frame != int(frame):
            raise ValueError(f"Expected frames of {path} to be whole numbers, but got {frame} for {file}.")
        where = landmarks.reshape(5, 2) if np.isfinite(landmarks).all() else None
        if box is not None or where is not None:
            entry = Entry(box, where, 1.0 if np.isnan(score) else float(score))
            index.add(file, None if np.isnan(frame) else int(frame), entry)
    return index


def _with_files(faces: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A faces file with the column `file` of the manifest beside it; of one without, `image`."""
    name = path.name.removesuffix(".parquet").removesuffix(".faces")
    beside = [path.with_name(name + suffix) for suffix in (".parquet", ".csv")]
    manifest = next((file for file in beside if file.exists()), None)
    if manifest is None or manifest == path:
        raise ValueError(
            f"Expected the manifest {name}.csv or {name}.parquet beside {path}, which says the files, "
            "but there is none."
        )
    table = _read(str(manifest))
    key = [name for name in ("dataset", "subject", "sequence", "frame", "face") if name in faces and name in table]
    what = "file" if "file" in table else "image"
    if what not in table:
        got = ", ".join(map(str, table.columns[:12]))
        raise ValueError(f"Expected {manifest} to have a column file or image, but got {got}.")
    for side in (faces, table):
        for name in key:
            side[name] = side[name].astype(float if name in ("frame", "face") else str)
    joined = faces.merge(table[[*key, what]].drop_duplicates(key), on=key, how="inner").rename(columns={what: "file"})
    if len(joined) < len(faces):
        lost = len(faces) - len(joined)
        raise ValueError(f"Expected every face of {path} to have its row in {manifest}, but {lost} have none.")
    return joined.drop(columns="frame") if what == "image" else joined


@lru_cache(maxsize=8)
def read_openface(path: str) -> dict[int | None, list[Entry]]:
    """Faces of an OpenFace table by frame number, the first is 1; all under None in the table of an image.

    Frames in which tracking failed are there without a face.

    Raises:
        ValueError: The table is none of OpenFace's.
    """
    table = open_table(path, header=_has_landmarks, kinds=_openface_kind, keep=lambda name: _openface_kind(name) != "")
    if not _has_landmarks(table.columns):
        got = ", ".join(table_names(path, _has_landmarks)[:8])
        raise ValueError(f"Expected {path} to be an OpenFace table with x_0 .. y_67, but got {got}.")
    values = table[[*_OPENFACE, "confidence"]].to_numpy(np.float64)
    tracked = table["success"].to_numpy() > 0 if "success" in table else np.full(len(table), True)
    numbers: list[int | None] = [None] * len(table)
    if "frame" in table:
        found = table["frame"].to_numpy(np.float64)
        odd = np.flatnonzero(found != np.round(found))
        if odd.size:
            raise ValueError(
                f"{place_of(table, int(odd[0]))}: expected a whole number in frame, but got {found[odd[0]]}."
            )
        times = table["timestamp"].to_numpy(np.float64) if "timestamp" in table else None
        numbers = (found - first_frame(found, times) + 1).astype(np.int64).tolist()
    frames: dict[int | None, list[Entry]] = {number: [] for number in numbers}
    for row in np.flatnonzero(tracked & np.isfinite(values[:, :136]).all(1)):
        landmarks = values[row, :136].reshape(2, 68).T + TO_CORNER
        (left, top), (right, bottom) = landmarks.min(0).tolist(), landmarks.max(0).tolist()
        points = [*(landmarks[eye].mean(0) for eye in _EYES), landmarks[_NOSE], *landmarks[list(_MOUTH)]]
        entry = Entry((left, top, right - left, bottom - top), np.array(points), float(values[row, 136]))
        frames[numbers[row]].append(entry)
    return frames


def _has_landmarks(names: Sequence[str]) -> bool:
    """Whether names are those of OpenFace's columns."""
    return {"confidence", *_OPENFACE} <= set(names)


def _openface_kind(name: str) -> str:
    """The kind of a column of OpenFace's table; empty where it is not read."""
    return LABEL if name == "success" else NUMBER if name in ("frame", "timestamp", "confidence", *_OPENFACE) else ""


def _is_plain(names: Sequence[str]) -> bool:
    """Whether names are those of a faces file, a manifest or a plain table."""
    return "file" in names or {"subject", "frame"} <= set(names)


def _read(path: str) -> pd.DataFrame:
    """A faces file, a manifest or a plain table, its numbers as such."""
    numbers = {*_NUMBERS, "face"}
    return open_table(path, header=_is_plain, kinds=lambda name: NUMBER if name in numbers else "")


@lru_cache(maxsize=4)
def _is_openface(path: str) -> bool:
    return _has_landmarks(table_names(path, lambda names: _has_landmarks(names) or _is_plain(names)))


def _table_of(file: str, folder: str) -> Path | None:
    """The table in a folder that belongs to a file: at the same relative place, or else of its name."""
    wanted = PurePosixPath(_normal(file)).with_suffix(".csv")
    beside = Path(folder, wanted)
    if not wanted.is_absolute() and ".." not in wanted.parts and beside.is_file():
        return beside
    found = sorted(Path(folder).rglob(wanted.name))
    if len(found) > 1:
        raise ValueError(f"Expected one table {wanted.name} in {folder}, but got {found[0]} and {found[1]}.")
    return found[0] if found else None


def _normal(file: str) -> str:
    """A path with forward slashes, without `./`."""
    return str(PurePosixPath(file.replace("\\", "/")))


def _ends_alike(one: str, other: str) -> bool:
    """Whether the shorter path is the end of the longer."""
    a, b = PurePosixPath(one).parts, PurePosixPath(other).parts
    count = min(len(a), len(b))
    return a[-count:] == b[-count:]


def _box_of(points: np.ndarray) -> Box:
    """A box around a face whose landmarks `(5, 2)` are known."""
    (x, y), apart = points[:2].mean(0), float(np.hypot(*(points[1] - points[0])))
    side = apart / _APART
    return float(x - side / 2), float(y - _HEIGHT * side), side, side

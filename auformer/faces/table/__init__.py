"""The back-end that looks nothing up in the image: boxes or points from a table that is there already.

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
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from auformer.faces.face import Face
from auformer.faces.recipes import Box
from auformer.faces.regressor import locate_in_any_box
from auformer.faces.table.index import Entry, normal, read_index
from auformer.faces.table.openface import is_openface, read_openface
from auformer.faces.table.reading import read_csv

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
            raise ValueError("Expected the name of the picture's file, by which the table holds its faces, but got none.")
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
        raise ValueError(f"Expected `table:FILE` to name a table or a folder of OpenFace tables, but there is no {text or 'name'}.")
    name, _, value = option.partition("=")
    if option and (name != "first" or not value.isdigit()):
        raise ValueError(f"Expected `table:FILE?first=N` with the number of the first frame, but got ?{option}.")
    table = Table(text, int(value) if option else 0)
    if Path(text).is_dir():
        if not any(Path(text).rglob("*.csv")):
            raise ValueError(f"Expected {text} to hold OpenFace tables (*.csv), but there is none.")
    elif not _peek(text):
        if option:
            raise ValueError(f"Expected `?first=` with an OpenFace table only, but {text} is none: its frames count as the manifest's do.")
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

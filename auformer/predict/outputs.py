"""The files of a run, and its tables in our columns or, one per source, in those of OpenFace 2.2 and Py-Feat.

Column names, order and decimals: OpenFace `lib/local/Utilities/src/RecorderCSV.cpp`; Py-Feat `feat/utils/__init__.py`
and `feat/detector.py` (version 1). Unknown values stay empty. OpenFace's `_c` is whether the probability reaches the
decision threshold, `_r` the intensity; a probability is no intensity, so `_r` is empty where the network has no
intensity head.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import canonical
from auformer.data.manifest import write_predictions
from auformer.data.table_file import sidecar_path, write_sidecar, write_table
from auformer.files import check_writable
from auformer.predict.sources import Source

NAME = "predictions"  # of the native table that holds all sources
OPENFACE_R = tuple(f"AU{number:02d}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
OPENFACE_C = tuple(f"AU{number:02d}_c" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45))
_KINDS = {"r": "intensity_pred", "c": "active", "": "prob"}  # of our columns, by the ending of theirs
OPENFACE_AUS = tuple(name.removesuffix("_c") for name in OPENFACE_C)
PYFEAT_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore")
PYFEAT_AUS = tuple(
    f"AU{number:02d}" for number in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
)
_PYFEAT_POINTS = tuple(f"{axis}_{number}" for axis in "xy" for number in range(68))
_PYFEAT_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_PYFEAT_GAZE = ("gaze_pitch", "gaze_yaw", "gaze_angle")
PYFEAT_COLUMNS = (
    *PYFEAT_BOX,
    *_PYFEAT_POINTS,
    *("Pitch", "Roll", "Yaw", "X", "Y", "Z"),
    *PYFEAT_AUS,
    *_PYFEAT_EMOTIONS,
    *_PYFEAT_GAZE,
    *("FrameHeight", "FrameWidth", "input", "frame", "approx_time", "Identity"),
)


def openface_table(table: pd.DataFrame, *, photo: bool) -> pd.DataFrame:
    """One source's predictions in OpenFace's columns, as text that is ready to be written.

    Args:
        table: Rows of one source, as `predictions_table` gives them.
        photo: The source is a photo, whose columns begin with `face, confidence` as those of FaceLandmarkImg.

    Returns:
        `frame` from 1, `face_id`, `timestamp`, `confidence`, `success`, then all 17 `_r` (0 to 5, two decimals) and all
        18 `_c` (1 or 0); empty where there is no face or the table does not have the AU.
    """
    seen = table["status"] == "ok"
    confidence = _decimals(table["score"].where(seen, 0.0), 2)
    face = table["face"].astype(str)
    head = {"face": face, "confidence": confidence}
    if not photo:
        head = {
            "frame": (table["frame"] + 1).astype(str),
            "face_id": face,
            "timestamp": _decimals(table["time_s"], 3),
            "confidence": confidence,
            "success": seen.map({True: "1", False: "0"}),
        }
    columns: dict[str, Any] = {}
    for name in (*OPENFACE_R, *OPENFACE_C):
        ours, digits = _ours(name), 2 if name in OPENFACE_R else 1
        columns[name] = _decimals(table[ours].astype("Float64").astype(float), digits) if ours in table else ""
    return pd.DataFrame({**head, **columns}, index=table.index)


def pyfeat_table(table: pd.DataFrame, *, size: tuple[int, int] | None) -> pd.DataFrame:
    """One source's predictions in Py-Feat's columns.

    Args:
        table: Rows of one source, as `predictions_table` gives them.
        size: Height and width of its images.

    Returns:
        All columns of version 1 but the 512 of an identity embedding; landmarks, pose, emotions and gaze are empty.
    """
    columns: dict[str, Any] = dict.fromkeys(PYFEAT_COLUMNS, np.nan)
    for name, ours in zip(PYFEAT_BOX, ("x", "y", "w", "h", "score"), strict=True):
        columns[name] = table[ours]
    for name in PYFEAT_AUS:
        if (ours := _ours(name)) in table:
            columns[name] = table[ours]
    columns["FrameHeight"], columns["FrameWidth"] = size or (np.nan, np.nan)
    columns["input"], columns["frame"] = table["file"], table["frame"]
    columns["approx_time"] = table["time_s"].map(
        lambda time: "" if pd.isna(time) else f"{int(time) // 60:02d}:{int(time) % 60:02d}"
    )
    columns["Identity"] = [
        f"Person_{face}" if ok else "" for face, ok in zip(table["face"], table["status"] == "ok", strict=True)
    ]
    return pd.DataFrame(columns, index=table.index)


def format_notes(kind: str, au_names: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """Entries of the sidecar about a table in the columns of `openface` or `pyfeat`.

    Args:
        kind: Which.
        au_names: AUs of the checkpoint.
        columns: Those of our table that it is made from.
    """
    names = (*OPENFACE_R, *OPENFACE_C) if kind == "openface" else PYFEAT_AUS
    without = [name for name in names if _ours(name) not in columns]
    there = {canonical(name.removesuffix("_c")) for name in (OPENFACE_C if kind == "openface" else PYFEAT_AUS)}
    intensity = "intensity, 0 to 5"
    if set(without) >= set(OPENFACE_R):
        intensity = "empty, as this checkpoint predicts no intensities: a probability is not one"
    values = {
        "openface": f"AU.._c: 1 where the probability reaches the threshold, else 0; AU.._r: {intensity}",
        "pyfeat": "AU..: probability in [0, 1]; landmarks, pose, emotions, gaze and identity embedding are not "
        "predicted",
    }
    return {
        "format": kind,
        "values": values[kind],
        "predicted": [au for au in au_names if au in there],
        "columns_without_values": without,
        "predicted_without_column": [au for au in au_names if au not in there],
    }


def _ours(name: str) -> str:
    """Our column of a column of OpenFace or Py-Feat.

    >>> _ours("AU01_r"), _ours("AU28_c"), _ours("AU43")
    ('AU1_intensity_pred', 'AU28_active', 'AU43_prob')
    """
    number, _, kind = name.partition("_")
    return f"{canonical(number)}_{_KINDS[kind]}"


def _decimals(values: pd.Series, digits: int) -> pd.Series:
    """Numbers as text with so many decimals and a point, whatever the locale; empty where there is none."""
    return values.map(lambda value: "" if pd.isna(value) else f"{value:.{digits}f}")


@dataclass(frozen=True)
class Plan:
    """What to write where.

    Args:
        out: The output folder.
        names: File name of each source's own outputs, by its name.
        kind: `native`, `openface` or `pyfeat`.
        suffix: `.csv` or `.parquet`, of native tables.
        per_source: One native table per source, as shards write.
        photo_figures: A figure per photo.
        timelines: A figure per video.
        annotate: Annotated images and videos.
        maps: Evidence maps per source.
        report: A page.
        shard: Number and count of the shard; its page has a name of its own.
        resting: Subtract each track's own resting level from its intensities, see `auformer.predict.resting`.
        describe: Language of sentences on the page and under annotated images, `en` or `de`; empty: none.

    Raises:
        ValueError: Another tool's columns are asked for as Parquet, or with sentences.
    """

    out: Path
    names: dict[str, str]
    kind: str = "native"
    suffix: str = ".csv"
    per_source: bool = False
    photo_figures: bool = True
    timelines: bool = False
    annotate: bool = False
    maps: bool = False
    report: bool = False
    shard: tuple[int, int] | None = None
    resting: bool = False
    describe: str = ""

    def __post_init__(self) -> None:
        """Check the combination."""
        if self.describe and self.kind != "native":
            raise ValueError(f"Expected `--format native` with --describe, but got {self.kind}.")
        if self.kind != "native" and self.suffix != ".csv":
            raise ValueError(
                f"Expected `--format native` with --parquet, but got {self.kind}, which is read from CSV files only."
            )

    @property
    def page(self) -> Path | None:
        """The report, None where there is none."""
        if not self.report:
            return None
        return self.out / ("report.html" if self.shard is None else f"report-{self.shard[0]}-of-{self.shard[1]}.html")

    def table(self, source: Source) -> Path:
        """The table that holds a source's rows."""
        if self.kind != "native":
            return self._own(source, ".csv")
        return self._own(source, self.suffix) if self.per_source else self.out / f"{NAME}{self.suffix}"

    def figure(self, source: Source) -> Path | None:
        """The figure of a photo or the timeline of a video, None where there is none."""
        if source.kind == "photo":
            return self._own(source, "_aus.png") if self.photo_figures else None
        return self._own(source, "_timeline.png") if self.timelines else None

    def annotated(self, source: Source) -> Path | None:
        """The annotated image or video of a source, None where there is none."""
        ending = ".png" if source.kind == "photo" else ".mp4"
        return self._own(source, f"_annotated{ending}") if self.annotate else None

    def map_figure(self, source: Source) -> Path | None:
        """The evidence maps of a source, None where there are none."""
        return self._own(source, "_maps.png") if self.maps else None

    def check(self, sources: Sequence[Source], new: Sequence[Source], *, page: bool, overwrite: bool) -> None:
        """Find out before the work starts whether its results can be written, and what they would replace.

        Of all `sources` the `new` ones have no output of this run yet, and with `page` neither has the report.

        Raises:
            ValueError: An output exists, or would replace a source.
            OSError: The folder cannot be written.
        """
        given = {Path(source.file).resolve() for source in sources}
        for path in self._files(sources):
            if path.resolve() in given:
                raise ValueError(
                    f"Expected `--out` to be a folder where no source is replaced, but {path} is one of the photos or "
                    "videos."
                )
        pages = [self.page] if page and self.page else []
        taken = [] if overwrite else [path for path in (*pages, *self._files(new)) if path.exists()]
        if taken:
            more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
            raise ValueError(
                f"Expected `--out` to hold no results yet, but found {taken[0]}{more}: choose another folder, or add "
                "--overwrite."
            )
        check_writable(self.out)

    def write_table(
        self, source: Source, table: pd.DataFrame, side: dict[str, Any], size: tuple[int, int] | None
    ) -> Path:
        """Write rows of a source, or of all, in the plan's columns, with their sidecar, and return the table's path."""
        path = self.table(source)
        if self.kind == "native":
            write_predictions(table, path, side)
            return path
        openface = self.kind == "openface"
        other = openface_table(table, photo=source.kind == "photo") if openface else pyfeat_table(table, size=size)
        write_sidecar({**side, **format_notes(self.kind, side["au_names"], list(table))}, path)
        write_table(other, path)
        return path

    def _own(self, source: Source, ending: str) -> Path:
        """A file of one source."""
        return self.out / f"{self.names[source.name]}{ending}"

    def _files(self, sources: Iterable[Source]) -> list[Path]:
        """Everything that a run may write for sources."""
        found: dict[Path, None] = {}
        for source in sources:
            table = self.table(source)
            figures = (self.figure(source), self.annotated(source), self.map_figure(source))
            found.update(dict.fromkeys(path for path in (table, sidecar_path(table), *figures) if path is not None))
        return list(found)

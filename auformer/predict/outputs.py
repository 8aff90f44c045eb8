"""Which files a run makes, and its tables in our columns or those of OpenFace and Py-Feat.

Our predictions in the columns of other tools: OpenFace 2.2 and Py-Feat, one file per source.

Column names, order and decimals: OpenFace `lib/local/Utilities/src/RecorderCSV.cpp`; Py-Feat `feat/utils/__init__.py` and
`feat/detector.py` (version 1). What we do not know stays empty. A probability is no intensity: OpenFace's `_r` is always empty, `_c` is
whether the probability reaches the threshold.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import canonical
from auformer.data.manifest import sidecar_path, write_predictions
from auformer.data.table_file import write_sidecar, write_table
from auformer.predict.sources import Source

FORMATS = ("native", "openface", "pyfeat")
OPENFACE_R = tuple(f"AU{number:02d}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
OPENFACE_C = tuple(f"AU{number:02d}_c" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45))
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
        table: rows of one source, as `predictions_table` gives them.
        photo: the source is a photo, whose columns begin with `face, confidence` as those of FaceLandmarkImg.

    Returns:
        `frame` from 1, `face_id`, `timestamp`, `confidence`, `success`, then all 17 `_r` (empty) and all 18 `_c` (1, 0, or empty where
        there is no face or the checkpoint does not know the AU).
    """
    seen = table["status"] == "ok"
    confidence = _decimals(table["score"].where(seen, 0.0), 2)
    if photo:
        out = pd.DataFrame({"face": table["face"].astype(str), "confidence": confidence}, index=table.index)
    else:
        out = pd.DataFrame(
            {
                "frame": (table["frame"] + 1).astype(str),
                "face_id": table["face"].astype(str),
                "timestamp": _decimals(table["time_s"], 3),
                "confidence": confidence,
                "success": seen.map({True: "1", False: "0"}),
            },
            index=table.index,
        )
    columns: dict[str, Any] = dict.fromkeys(OPENFACE_R, "")
    for name in OPENFACE_C:
        ours = f"{canonical(name.removesuffix('_c'))}_active"
        columns[name] = _decimals(table[ours].astype("Float64").astype(float), 1) if ours in table else ""
    return pd.concat([out, pd.DataFrame(columns, index=table.index)], axis=1)


def pyfeat_table(table: pd.DataFrame, *, size: tuple[int, int] | None) -> pd.DataFrame:
    """One source's predictions in Py-Feat's columns.

    Args:
        table: rows of one source, as `predictions_table` gives them.
        size: height and width of its pictures.

    Returns:
        All columns of version 1 but the 512 of an identity embedding; landmarks, pose, emotions and gaze are empty.
    """
    columns: dict[str, Any] = dict.fromkeys(PYFEAT_COLUMNS, np.nan)
    for name, ours in zip(PYFEAT_BOX, ("x", "y", "w", "h", "score"), strict=True):
        columns[name] = table[ours]
    for name in PYFEAT_AUS:
        ours = f"{canonical(name)}_prob"
        if ours in table:
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


def format_notes(kind: str, au_names: Sequence[str]) -> dict[str, Any]:
    """What the side file says about a table of another tool's columns.

    Args:
        kind: `openface` or `pyfeat`.
        au_names: AUs of the checkpoint.
    """
    names = OPENFACE_AUS if kind == "openface" else PYFEAT_AUS
    there = {canonical(name) for name in names}
    values = {
        "openface": "AU.._c: 1 where the probability reaches the threshold, else 0; AU.._r (intensity) is not predicted and always empty",
        "pyfeat": "AU..: probability in [0, 1]; landmarks, pose, emotions, gaze and identity embedding are not predicted",
    }
    return {
        "format": kind,
        "values": values[kind],
        "predicted": [au for au in au_names if au in there],
        "columns_without_values": [name for name in names if canonical(name) not in au_names],
        "predicted_without_column": [au for au in au_names if au not in there],
    }


def _decimals(values: pd.Series, digits: int) -> pd.Series:
    """Numbers as text with so many decimals and a point, whatever the locale; empty where there is none."""
    return values.map(lambda value: "" if pd.isna(value) else f"{value:.{digits}f}")


PICTURE, TIMELINE, ANNOTATED, MAPS = "_aus.png", "_timeline.png", "_annotated", "_maps.png"


@dataclass(frozen=True)
class Plan:
    """What to write where.

    Args:
        out: the output folder.
        names: file name of each source's own outputs, by its name.
        kind: `native`, `openface` or `pyfeat`.
        suffix: `.csv` or `.parquet`, of native tables.
        per_source: one native table per source, as shards write.
        pictures: a picture per photo.
        timelines: a picture per recording.
        annotate: annotated pictures and videos.
        maps: evidence maps per source.
        report: a page.
        shard: which part of how many a run is; its page has a name of its own.

    Raises:
        ValueError: another tool's columns are asked for as Parquet.
    """

    out: Path
    names: dict[str, str]
    kind: str = "native"
    suffix: str = ".csv"
    per_source: bool = False
    pictures: bool = True
    timelines: bool = False
    annotate: bool = False
    maps: bool = False
    report: bool = False
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check what does not go together."""
        if self.kind != "native" and self.suffix != ".csv":
            raise ValueError(
                f"Expected `--format native` with --parquet, but got {self.kind}, which that tool reads from CSV files only."
            )

    @property
    def page(self) -> Path:
        """The report."""
        return self.out / ("report.html" if self.shard is None else f"report-{self.shard[0]}-of-{self.shard[1]}.html")

    def table(self, source: Source) -> Path:
        """The table that holds a source's rows."""
        if self.kind == "native" and not self.per_source:
            return self.out / f"predictions{self.suffix}"
        return self.out / f"{self.names[source.name]}{self.suffix if self.kind == 'native' else '.csv'}"

    def picture(self, source: Source) -> Path | None:
        """The plain picture of a source, None where there is none."""
        wanted, ending = (self.pictures, PICTURE) if source.kind == "photo" else (self.timelines, TIMELINE)
        return self.out / f"{self.names[source.name]}{ending}" if wanted else None

    def annotated(self, source: Source) -> Path | None:
        """The annotated picture or video of a source, None where there is none."""
        ending = ".png" if source.kind == "photo" else ".mp4"
        return self.out / f"{self.names[source.name]}{ANNOTATED}{ending}" if self.annotate else None

    def map_picture(self, source: Source) -> Path | None:
        """The evidence maps of a source, None where there are none."""
        return self.out / f"{self.names[source.name]}{MAPS}" if self.maps else None

    def files(self, sources: Iterable[Source]) -> list[Path]:
        """Everything that a run over these sources may write."""
        found: list[Path | None] = [self.page] if self.report else []
        for source in sources:
            table = self.table(source)
            found += [
                table,
                sidecar_path(table),
                self.picture(source),
                self.annotated(source),
                self.map_picture(source),
            ]
        return list(dict.fromkeys(path for path in found if path is not None))


def check_sources(plan: Plan, sources: Sequence[Source]) -> None:
    """Find out whether an output would replace a source.

    Raises:
        ValueError: it would.
    """
    given = {Path(source.file).resolve() for source in sources}
    for path in plan.files(sources):
        if path.resolve() in given:
            raise ValueError(
                f"Expected `--out` to be a folder where no source is replaced, but {path} is one of the photos or videos."
            )


def check_outputs(plan: Plan, sources: Sequence[Source], *, overwrite: bool) -> None:
    """Find out before the work starts whether its results can be written, and what they would replace.

    Raises:
        ValueError: an output exists.
        OSError: the folder cannot be written.
    """
    taken = [str(path) for path in plan.files(sources) if path.exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ValueError(
            f"Expected `--out` to hold no results yet, but found {taken[0]}{more}: choose another folder, or add --overwrite."
        )
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=plan.out):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write here ({error.strerror})", str(plan.out)) from error


def write_source_table(
    plan: Plan, source: Source, table: pd.DataFrame, side: dict[str, Any], size: tuple[int, int] | None
) -> Path:
    """Write the table of one source in the plan's format, with its side file.

    Args:
        plan: what to write where.
        source: whose rows.
        table: they.
        side: content of the side file.
        size: height and width of its pictures.

    Returns:
        The table's path.
    """
    path = plan.table(source)
    if plan.kind == "native":
        write_predictions(table, path, side)
        return path
    out = (
        openface_table(table, photo=source.kind == "photo")
        if plan.kind == "openface"
        else pyfeat_table(table, size=size)
    )
    write_sidecar({**side, **format_notes(plan.kind, side["au_names"])}, path)
    write_table(out, path)
    return path

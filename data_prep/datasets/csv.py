"""Your own images and videos: a table of paths and labels, or a folder of photos without labels."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from auformer.data.cells import LABEL, NUMBER
from auformer.data.images import IMAGES
from auformer.data.openface import first_frame as first_frame_of
from auformer.data.table_file import open_table
from auformer.data.video import VIDEOS
from auformer.errors import DatasetLayoutError, ManifestError
from auformer.files import leads_outside

from ..formats.csv_labels import is_openface, label_kind, read_labels
from ..formats.frames import NO_IMAGE, list_files, note_dropped
from ..formats.text_lines import bad_line
from ..formats.videos import match_numbers, numbering_option, read_places
from ..release import SOURCE, SOURCE_FRAME, Findings, Release

TABLES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".xlsx", ".xls"})
MISSING = "-1,9,999"  # of BP4D (9), EmotioNet (999), Aff-Wild2 (-1)
THRESHOLD = 2.0  # DISFA's, see `auformer.data_prep.datasets.disfa`
PATHS = ("path", "image", "file", "filename", "video", "input")  # accepted names of the column with paths
SPLITS = ("split", "fold")
KEPT = ("time_s", "clip", "onset", "apex", "offset")  # columns of the manifest that pass as they are, and `group_*`

RELEASE = Release(
    name="csv",
    title="Your own images",
    request="nothing; a table of paths and labels, or a folder of photos",
    terms="those of your images",
    tree="""
<table>.csv   columns path (or video and frame), AU1 or AU01_c, AU12_left, AU12_r ...; optional subject, sequence, split
<images>      paths of the table are relative to --root; without --table every image below it is taken, without labels
""",
    au_names=(),
    intensity="as in the table, whose highest value, `intensity_scale` or 5, is 5; FACS letters A to E are 1 to 5; an "
    "action unit that has no labels is present from `occurrence_threshold` on",
    frames="the table's column `frame` (of videos the position, from 0; see --first-frame), 0 of a photo without one",
    source="names of columns: TadasBaltrusaitis/OpenFace:lib/local/Utilities/src/RecorderCSV.cpp, "
    "cosanlab/py-feat:feat/utils/io.py",
    options={
        "table": {
            "metavar": "FILE",
            "help": "table of paths and labels, below --root or elsewhere: CSV with any separator, .xlsx, .xls or "
            "Parquet (default: none, photos)",
        },
        "missing_values": {
            "metavar": "LIST",
            "help": f"numbers and words that mean not annotated, as empty cells and words such as NA do (default: "
            f"{MISSING})",
        },
        "threshold": {
            "type": float,
            "metavar": "X",
            "help": f"intensity of 0 to 5 from which an AU without labels is present (default: {THRESHOLD:g})",
        },
        "intensity_scale": {
            "type": float,
            "metavar": "X",
            "help": "highest value of the table's intensities, which becomes 5: 1 for fractions, 100 for per cent "
            "(default: 5)",
        },
        "first_frame": {
            "type": int,
            "metavar": "N",
            "help": "number of a video's first frame in the table (default: 0; of OpenFace's tables 1, unless their "
            "times say 0)",
        },
        "numbering": numbering_option(),
    },
)


def read(
    root: Path,
    findings: Findings,
    *,
    table: str | None = None,
    missing_values: str = MISSING,
    threshold: float = THRESHOLD,
    intensity_scale: float | None = None,
    first_frame: int | None = None,
    numbering: str = "auto",
) -> pd.DataFrame:
    """One row per line of the table, or per photo; without a column `subject`, every file is a subject of its own."""
    if not root.is_dir():
        raise DatasetLayoutError(f"Expected `--root` to be a folder, but there is none at {root}; check the path")
    if table is None:
        return _photos(root, findings)
    path = root / table if (root / table).is_file() else Path(table)
    missing, words = _missing(missing_values)
    cells, name = _cells(path, words), path.name
    for note in cells.attrs["notes"]:
        findings.note("how the table is read", name, note)
    if intensity_scale is not None and not 0 < intensity_scale < np.inf:
        raise ValueError(f"Expected `--intensity-scale` to be a number above 0, but got {intensity_scale}")
    labels = read_labels(
        cells, missing=missing, threshold=threshold, where=name, findings=findings,
        scale=intensity_scale,
    )  # fmt: skip
    if not len(labels.columns):
        text = f"no column such as AU12, AU01_c or AU12_r among {', '.join(cells.columns[:10])}"
        findings.note("no labels", name, text)
    rows = pd.concat([_places(cells, root, name, first_frame, numbering, findings), _kept(cells, name), labels], axis=1)
    return rows.sort_values(["subject", "sequence", "frame"], kind="stable", ignore_index=True)


def _photos(root: Path, findings: Findings) -> pd.DataFrame:
    images, videos, tables = (
        [path for path in list_files(root) if path.suffix.lower() in suffixes] for suffixes in (IMAGES, VIDEOS, TABLES)
    )
    if videos:
        text = f"{len(videos):,} videos; name frames in a --table"
        findings.note("videos without labels are left out", str(videos[0]), text)
    if tables:
        text = "name it to read its labels: --table"
        findings.note("a table may belong to the images", str(tables[0]), text)
    if not images:
        raise DatasetLayoutError(
            f"Expected images in {root}, but found none ({', '.join(sorted(IMAGES))}); check --root"
        )
    findings.note("no subjects", ".", "every photo counts as a subject of its own")
    names = [path.as_posix() for path in images]
    return pd.DataFrame(
        {"subject": names, "sequence": names, "frame": 0, "status": "ok", SOURCE: names, SOURCE_FRAME: None}
    )


def _cells(path: Path, words: Collection[str]) -> pd.DataFrame:
    """The table: labels and times as numbers, all else as text; the index is each row's line."""
    try:
        cells = open_table(path, header=lambda names: bool(set(PATHS) & set(names)), kinds=_kind, missing=words)
    except ManifestError as error:
        advice = (
            ", or name words that mean not annotated: --missing-values" if "a number or empty" in str(error) else ""
        )
        raise DatasetLayoutError(f"{error}{advice}") from error
    if not len(cells):
        raise DatasetLayoutError(f"Expected {path} to hold rows, but it has a header only")
    return cells


def _kind(name: str) -> str:
    """The kind of a column's cells, for `open_table`."""
    if name in ("timestamp", "success") or (name in KEPT and name != "clip"):
        return NUMBER if name != "success" else LABEL
    return label_kind(name)


def _missing(text: str) -> tuple[frozenset[float], frozenset[str]]:
    """The numbers and the words of `--missing-values`."""
    numbers, words = set(), set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            numbers.add(float(part))
        except ValueError:
            words.add(part.lower())
    return frozenset(numbers), frozenset(words)


def _first_frames(cells: pd.DataFrame, sources: list[str], frames: list[int], first: int | None) -> list[int]:
    """The number of the first frame of each row's video: as said, or as OpenFace's table of it counts."""
    if first is not None or not is_openface(cells.columns):
        return [first or 0] * len(cells)
    found = {}
    for source, rows in pd.Series(frames).groupby(np.array(sources)):
        times = cells["timestamp"].to_numpy(float)[rows.index] if "timestamp" in cells else None
        found[source] = first_frame_of(rows.to_numpy(float), times)
    return [found[source] for source in sources]


def _places(
    cells: pd.DataFrame, root: Path, name: str, first: int | None, numbering: str, findings: Findings
) -> pd.DataFrame:
    named = [column for column in PATHS if column in cells.columns]
    if len(named) != 1:
        raise DatasetLayoutError(
            f"{name}: expected one column of paths, called {', '.join(PATHS)}, but got {', '.join(named) or 'none'} "
            f"among {', '.join(cells.columns[:10])}; rename or remove columns"
        )
    sources = [_relative(text, root, name, line) for line, text in cells[named[0]].items()]
    frames = _frames(cells, name)
    is_video = [PurePosixPath(source).suffix.lower() in VIDEOS for source in sources]
    if any(is_video) and frames is None:
        raise DatasetLayoutError(
            f"{name}: expected a column `frame` with the frames of the videos, but there is none; add it"
        )
    numbers = frames if frames is not None else [0] * len(cells)
    firsts = _first_frames(cells, sources, numbers, first)
    if first is None and any(firsts):
        findings.note("frames count from 1, as OpenFace's do", name, "--first-frame 0 counts them from 0")
    from_0 = [number - one if video else None for number, one, video in zip(numbers, firsts, is_video, strict=True)]
    for line, number, one, position in zip(cells.index, numbers, firsts, from_0, strict=True):
        if position is not None and position < 0:
            raise DatasetLayoutError(
                f"{name}, line {line}: frame {number} comes before the first, {one}; see --first-frame"
            )
    if "subject" not in cells.columns:
        findings.note("no subjects", name, "every file counts as a subject of its own")
    status, positions = _matched(sources, from_0, root, name, numbering, findings, cells.index)
    table = pd.DataFrame({
        "subject": cells["subject"].tolist() if "subject" in cells.columns else sources,
        "sequence": cells["sequence"].tolist() if "sequence" in cells.columns else sources,
        "frame": numbers,
        "status": status,
        SOURCE: sources,
        SOURCE_FRAME: pd.array(positions, dtype="Int64"),
    }, index=cells.index)  # fmt: skip
    _refuse_doubles(table, name)
    return table


def _relative(text: str, root: Path, name: str, line: int) -> str:
    path = text.replace("\\", "/") if os.sep == "/" and "/" not in text else text
    if Path(path).is_absolute():
        path = os.path.relpath(path, root.absolute())
    clean = os.path.normpath(path).replace(os.sep, "/") if text else ""
    if clean in ("", ".") or leads_outside(clean):
        advice = "name a root that holds them all"
        raise bad_line(name, line, "the path of an image inside --root", repr(text), advice)
    return clean


def _frames(cells: pd.DataFrame, name: str) -> list[int] | None:
    """The column `frame` as whole numbers; None where there is none."""
    if "frame" not in cells.columns:
        return None
    bad = ~cells["frame"].str.fullmatch(r"-?\d+(\.0+)?")
    if bad.any():
        line = bad.idxmax()
        raise bad_line(name, line, "`frame` to be a whole number", repr(cells["frame"][line]))
    return [int(float(text)) for text in cells["frame"]]


def _matched(
    sources: list[str],
    numbers: list[int | None],
    root: Path,
    name: str,
    numbering: str,
    findings: Findings,
    lines: pd.Index,
) -> tuple[list[str], list[int | None]]:
    """Status and position in its video of each row, whose number counts from 0; None for both where it is an image.

    The status is `ok`, or `no_image` where there is no such file, the video is shorter, or the frame was dropped while
    recording. A missing file is reported once.
    """
    of = pd.Series(sources)
    there = {source: (root / source).is_file() for source in of.unique()}
    for source, is_there in there.items():
        if not is_there:
            findings.miss(source, f"named by {name}, line {lines[sources.index(source)]}")
    status = ["ok" if there[source] else NO_IMAGE for source in sources]
    positions = list(numbers)
    frames = pd.Series(numbers, dtype="Int64")
    for source, rows in frames[frames.notna()].groupby(of):
        places = read_places(root / source) if there[source] else None
        if places is None:  # decoding will say why
            continue
        given, length = rows.to_numpy(np.int64), places.length
        for row, position in zip(rows.index, match_numbers(given, places, source, numbering), strict=True):
            positions[row] = int(position) if position >= 0 else numbers[row]
            status[row] = "ok" if position >= 0 else NO_IMAGE
        if given.max() >= length:
            text = f"up to frame {given.max()} from 0; it has {length:,} frames"
            findings.note("labels beyond the end of a video", source, text)
        elif given.max() < length - 1:
            findings.note("frames behind the last label", source, f"{length - 1 - given.max():,} of {length:,}")
        note_dropped(places, source, findings)
    return status, positions


def _refuse_doubles(table: pd.DataFrame, name: str) -> None:
    key = ["subject", "sequence", "frame"]
    twice = table.duplicated(key)
    if twice.any():
        line = twice.idxmax()
        first = (table[key] == table.loc[line, key]).all(axis=1).idxmax()
        what = ", ".join(f"{column} {value}" for column, value in table.loc[line, key].items())
        raise DatasetLayoutError(
            f"{name}, line {line}: {what} is that of line {first} already; remove one of them, or add "
            "`sequence` and `frame`"
        )


def _kept(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    """The other columns of a manifest: the split as `fold`, times, clips and groups; empty cells are missing."""
    kept = {column: cells[column] for column in cells.columns if column in KEPT or column.startswith("group_")}
    splits = [column for column in SPLITS if column in cells.columns]
    if len(splits) > 1:
        raise DatasetLayoutError(f"{name}: columns `split` and `fold` mean the same; remove one")
    if splits:
        kept["fold"] = cells[splits[0]]
    table = pd.DataFrame(kept, index=cells.index).replace("", None)
    return table

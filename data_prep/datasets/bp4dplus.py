"""BP4D+: 140 people, four coded tasks of ten; pictures inside one archive per person, or videos."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from auformer.errors import DatasetLayoutError

from ..formats.clips import read_corrections
from ..formats.coding import Sequence, add_intensities, find_intensity, find_occurrence, read_occurrence, report_gaps
from ..formats.folds import ALL_SUBJECTS, with_folds
from ..formats.frames import (
    PICTURES,
    frame_number,
    index_frames,
    list_members,
    note_unpaired,
    pair_files,
    pair_members,
    pair_nothing,
    pair_video,
)
from ..release import Findings, Release, find_path

TASKS = ("T1", "T6", "T7", "T8")  # those that are coded (ubicomplab/rPPG-Toolbox)

# Action unit of each column after the frame: ubicomplab/rPPG-Toolbox:BP4DPlusBigSmallLoader.py, and as far as its 12 AUs go the positions
# 1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 20, 21 of forever208/FMAE-IAT:AU/BP4D_plus_preprocess.py.
COLUMNS = (*(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24), *range(27, 40))

RELEASE = Release(
    name="bp4dplus",
    title="BP4D+ (MMSE)",
    request="BP4D+ (2D+3D archives or videos, AU coding) from Lijun Yin, Binghamton University, through the university's licence agreement",
    terms="research only, signed by the institution; neither pictures nor annotations may be passed on",
    tree="""\
RawData/2D+3D/F001.zip (members F001/T1/*.jpg)  read in place; or unpacked, RawData/2D+3D/F001/T1/; or videos F001_T1.mp4
RawData/AUCoding/AU_OCC/F001_T1.csv            also without RawData/
RawData/AUCoding/AU_INT/AU06/F001_T1_AU06.csv  optional""",
    au_names=tuple(f"AU{number}" for number in COLUMNS),
    frames="the label file's number, from 1; frame n of a video is its n-th picture",
    source="ubicomplab/rPPG-Toolbox:dataset/data_loader/BP4DPlusBigSmallLoader.py; forever208/FMAE-IAT:AU/BP4D_plus_preprocess.py",
    doubts="whether the pictures in the archives are numbered from 0 or from 1: where a sequence has a picture 0, label n is paired with "
    "picture n - 1, since public code takes label n for the n-th picture; the names in the header of the occurrence tables",
)

_FOLDERS = ("RawData/2D+3D/", "2D+3D/", "", "RawData/")
_SUBJECT = "[FM][0-9][0-9][0-9]"
_MEMBER = re.compile(r"(?:^|.*/)(T\d+)/[^/]+$")
_VIDEO = re.compile(r"([FM]\d{3})_(T\d+)\.mp4", re.IGNORECASE)
MISALIGNED = "misaligned"  # status of rows whose labels and pictures are known not to belong together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare bp4dplus`."""
    parser.add_argument(
        "--source",
        choices=("auto", "images", "videos"),
        default="auto",
        help="read the pictures in the archives, or the videos (F001_T1.mp4); auto: the archives where there are any (default: auto)",
    )


def read(root: Path, findings: Findings, *, source: str = "auto", corrections: bool = True) -> pd.DataFrame:
    """One row per coded frame.

    Args:
        root: Folder of the release.
        findings: Take what is met.
        source: `images` (in archives), `videos`, or `auto`: the archives where there are any.
        corrections: Heed the known faults: labels that do not fit their video get the status `misaligned`, an entry without data is
            passed over.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels of 34 AUs (-1 for code 9), intensities of five where there are any.

    Raises:
        DatasetLayoutError: The tree or a file of it is not as expected, or an archive holds what it should not.
    """
    labels = find_occurrence(root)
    pictures = _find_pictures(root, source, {*TASKS, *(task for _, task in labels)})
    faults = _known_faults() if corrections else {}
    for where in [where for where in map("/".join, labels) if faults.get(where, ("", ""))[0] == "absent"]:
        findings.correct(RELEASE.name, where, f"passed over: {faults[where][1]}")
    labels = {
        sequence: path for sequence, path in labels.items() if faults.get("/".join(sequence), ("", ""))[0] != "absent"
    }
    report_gaps(labels, pictures, ALL_SUBJECTS[RELEASE.name], TASKS, findings)
    intensity = find_intensity(root, findings)
    tables = []
    for sequence in sorted(labels, key=lambda one: (one[0], int(one[1][1:]))):
        where = "/".join(sequence)
        rows = add_intensities(read_occurrence(labels[sequence], columns_of), intensity, sequence, findings)
        rows = _pair(rows, root, pictures.get(sequence), where, findings)
        note_unpaired(rows, where, findings)
        status, reason = faults.get(where, ("", ""))
        if status == MISALIGNED:
            rows["status"] = rows["status"].where(rows["status"] != "ok", MISALIGNED)
            findings.correct(RELEASE.name, where, f"{len(rows):,} rows get the status {MISALIGNED}: {reason}")
        rows.insert(0, "subject", sequence[0])
        rows.insert(1, "sequence", sequence[1])
        tables.append(rows)
    if not tables:
        raise DatasetLayoutError(
            f"Expected occurrence tables of coded tasks in {root}, but there are none; check the copy of the release"
        )
    return with_folds(pd.concat(tables, ignore_index=True), RELEASE.name)


def columns_of(header: list[str], path: Path) -> dict[str, int]:
    """Position of each AU.

    The header is taken by name where it names AUs, and must then agree with the table of positions; a header that only counts its columns,
    or has no numbers, is taken by position.

    Raises:
        DatasetLayoutError: Names and positions contradict each other, or there are not as many columns.

    >>> columns_of(["0", *map(str, COLUMNS)], Path("F001_T1.csv"))["AU12"], columns_of(list(map(str, range(35))), Path("x"))["AU12"]
    (10, 10)
    """
    numbers = [
        int(match.group(1)) if (match := re.fullmatch(r"(?:AU)?\s*0*(\d+)", name, re.IGNORECASE)) else None
        for name in header
    ]
    named = numbers[1 : len(COLUMNS) + 1]
    if len(named) < len(COLUMNS):
        raise DatasetLayoutError(
            f"{path}: expected {len(COLUMNS)} columns of action units after the frame, but the header has {len(named)}"
        )
    counted = named == list(range(1, len(COLUMNS) + 1))
    if named != list(COLUMNS) and not counted and any(number is not None for number in named):
        first = next(i for i, number in enumerate(named) if number != COLUMNS[i])
        raise DatasetLayoutError(
            f"{path}: expected column {first + 1} after the frame to be AU{COLUMNS[first]}, as in the known releases, "
            f"but the header calls it {header[first + 1]!r}; names and positions contradict each other: compare them with the user guide"
        )
    return {f"AU{number}": position for position, number in enumerate(COLUMNS, start=1)}


def _find_pictures(root: Path, source: str, tasks: set[str]) -> dict[Sequence, tuple[Path, dict[int, str] | None]]:
    """Sequence -> archive and its members by number, or a folder or a video and None."""
    images = [f"{folder}{_SUBJECT}.zip" for folder in _FOLDERS] + [f"{folder}{_SUBJECT}/T*" for folder in _FOLDERS]
    videos = [f"{folder}{_SUBJECT}_T*.mp4" for folder in ("", "*/", "*/*/")]
    wanted = {"images": images, "videos": videos, "auto": images + videos}[source]
    what = {"images": "archives of pictures", "videos": "videos", "auto": "archives of pictures or videos"}[source]
    first = find_path(root, *wanted, what=what)
    found: dict[Sequence, tuple[Path, dict[int, str] | None]] = {}
    if first.is_dir():
        return {
            (path.parent.name, path.name): (path, None)
            for path in sorted(first.parent.parent.glob(f"{_SUBJECT}/T*"))
            if path.is_dir()
        }
    for path in sorted(first.parent.iterdir()):
        match = _VIDEO.fullmatch(path.name)
        if first.suffix == ".zip" and re.fullmatch(r"[FM]\d{3}\.zip", path.name):
            found.update({(path.stem, task): (path, members) for task, members in _members(path, tasks).items()})
        elif first.suffix == ".mp4" and match:
            found[(match.group(1).upper(), match.group(2).upper())] = (path, None)
    return found


def _members(archive: Path, wanted: set[str]) -> dict[str, dict[int, str]]:
    """Task -> number -> member of an archive, for the tasks that are wanted.

    Raises:
        DatasetLayoutError: Two pictures of a task have one number.
    """
    tasks: dict[str, dict[int, str]] = {}
    for name in list_members(archive):
        match, number = _MEMBER.fullmatch(name), frame_number(name)
        if match is None or match.group(1) not in wanted or number is None or Path(name).suffix.lower() not in PICTURES:
            continue
        pictures = tasks.setdefault(match.group(1), {})
        if number in pictures:
            raise DatasetLayoutError(
                f"{archive}: expected one picture per frame, but {pictures[number]} and {name} are both frame {number}"
            )
        pictures[number] = name
    return tasks


def _pair(
    rows: pd.DataFrame, root: Path, pictures: tuple[Path, dict[int, str] | None] | None, where: str, findings: Findings
) -> pd.DataFrame:
    """Rows of a sequence with their pictures; see `RELEASE.doubts` for the numbers in archives."""
    if pictures is None:
        return pair_nothing(rows)
    path, members = pictures
    if members is None and not path.is_dir():
        return pair_video(rows, root, path, Findings())  # only a part of every sequence is coded: no finding
    files = index_frames(path) if members is None else {}
    shift = int(0 in (files if members is None else members))
    if shift:
        findings.note("pictures numbered from 0", where, "label n is paired with picture n - 1")
    if members is None:
        return pair_files(rows, root, {number + shift: file for number, file in files.items()})
    return pair_members(rows, root, path, {number + shift: name for number, name in members.items()})


def _known_faults() -> dict[str, tuple[str, str]]:
    """Sequence (`F041/T7`) -> what to do with its rows, and why with the source."""
    table = read_corrections(RELEASE.name)
    return {
        str(row): (value, source)
        for row, value, source in zip(table["row"], table["value"], table["source"], strict=True)
    }

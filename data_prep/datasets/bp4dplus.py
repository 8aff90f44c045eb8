"""BP4D+: 140 people, four coded tasks of ten; images inside one archive per person, or videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from auformer.errors import DatasetLayoutError

from ..formats.archives import list_members
from ..formats.coding import SUBJECT, find_occurrence, find_source, read_coding, source_option
from ..formats.corrections import read_corrections
from ..formats.folds import ALL_SUBJECTS, with_folds
from ..formats.frames import (
    Key,
    frame_number,
    index_frames,
    is_image,
    join_sequences,
    pair_files,
    pair_members,
    pair_video,
)
from ..formats.videos import numbering_option
from ..release import Findings, Release

TASKS = ("T1", "T6", "T7", "T8")  # those that are coded (ubicomplab/rPPG-Toolbox)

# Action unit of each column after the frame: ubicomplab/rPPG-Toolbox:BP4DPlusBigSmallLoader.py, and for its 12 AUs the
# positions 1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 20, 21 of forever208/FMAE-IAT:AU/BP4D_plus_preprocess.py.
COLUMNS = (*(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24), *range(27, 40))

RELEASE = Release(
    name="bp4dplus",
    title="BP4D+ (MMSE)",
    request="BP4D+ (2D+3D archives or videos, AU coding) from Lijun Yin, Binghamton University, through the "
    "university's licence agreement",
    terms="research only, signed by the institution; neither images nor annotations may be passed on",
    tree="""\
RawData/2D+3D/F001.zip (members F001/T1/*.jpg)  read in place; or unpacked, 2D+3D/F001/T1/; or videos F001_T1.mp4
RawData/AUCoding/AU_OCC/F001_T1.csv            also without RawData/
RawData/AUCoding/AU_INT/AU06/F001_T1_AU06.csv  optional""",
    au_names=tuple(f"AU{number}" for number in COLUMNS),
    frames="the label file's number, from 1; frame n of a video is its n-th image",
    source="ubicomplab/rPPG-Toolbox:dataset/data_loader/BP4DPlusBigSmallLoader.py; "
    "forever208/FMAE-IAT:AU/BP4D_plus_preprocess.py",
    doubts="whether the images in the archives are numbered from 0 or from 1: where a sequence has an image 0, label "
    "n is paired with image n - 1, since public code takes label n for the n-th image; the names in the header of the "
    "occurrence tables",
    intensity="0 to 5 as coded, in whole numbers, empty for the code 9; occurrence is coded by itself",
    options={
        "source": source_option(
            " in the archives", " (F001_T1.mp4); auto: the archives where there are any (default: auto)"
        ),
        "numbering": numbering_option(),
    },
)

_FOLDERS = ("RawData/2D+3D/", "2D+3D/", "", "RawData/")
_MEMBER = re.compile(r"(?:^|.*/)(T\d+)/[^/]+$")
_VIDEO = re.compile(r"([FM]\d{3})_(T\d+)\.mp4", re.IGNORECASE)
MISALIGNED = "misaligned"  # status of rows whose labels and images are known not to belong together
Images = tuple[Path, dict[int, str] | None]  # archive and its members by number, or a folder or a video and None


def read(
    root: Path, findings: Findings, *, source: str = "auto", numbering: str = "auto", corrections: bool = True
) -> pd.DataFrame:
    """One row per coded frame: labels of 34 AUs (-1 for code 9), intensities of five where there are any.

    Known faults: labels that do not fit their video get the status `misaligned`, an entry without data is ignored.
    """
    labels = find_occurrence(root)
    images = _find_images(root, source, {*TASKS, *(task for _, task in labels)})
    table = read_corrections(RELEASE.name)
    faults = {row.row: (row.value, row.source) for row in table.itertuples()} if corrections else {}
    for key in [key for key in labels if faults.get("/".join(key), ("", ""))[0] == "absent"]:
        findings.correct(RELEASE.name, "/".join(key), f"passed over: {faults['/'.join(key)][1]}")
        del labels[key]
    if not labels:
        raise DatasetLayoutError(
            f"Expected occurrence tables of coded tasks in {root}, but there are none; check the copy of the release"
        )
    subjects = ALL_SUBJECTS[RELEASE.name]

    def paired() -> Iterator[tuple[Key, pd.DataFrame]]:
        for key, rows in read_coding(root, labels, images, columns_of, findings, subjects=subjects, tasks=TASKS):
            rows = _pair(rows, root, images.get(key), "/".join(key), numbering, findings)
            status, reason = faults.get("/".join(key), ("", ""))
            if status == MISALIGNED:
                rows["status"] = rows["status"].where(rows["status"] != "ok", MISALIGNED)
                text = f"{len(rows):,} rows get the status {MISALIGNED}: {reason}"
                findings.correct(RELEASE.name, "/".join(key), text)
            yield key, rows

    return with_folds(join_sequences(paired(), findings), RELEASE.name)


def columns_of(header: list[str], path: Path) -> dict[str, int]:
    """Position of each AU.

    The header is taken by name where it names AUs, and must then agree with the table of positions; a header that only
    counts its columns, or has no numbers, is taken by position.

    >>> columns_of(["0", *map(str, COLUMNS)], Path("x"))["AU12"]
    10
    >>> columns_of(list(map(str, range(35))), Path("x"))["AU12"]
    10
    """
    matches = [re.fullmatch(r"(?:AU)?\s*0*(\d+)", name, re.IGNORECASE) for name in header[1 : len(COLUMNS) + 1]]
    named = [int(match.group(1)) if match else None for match in matches]
    if len(named) < len(COLUMNS):
        raise DatasetLayoutError(
            f"{path}: expected {len(COLUMNS)} columns of action units after the frame, but the header has {len(named)}"
        )
    counted = named == list(range(1, len(COLUMNS) + 1))
    if named != list(COLUMNS) and not counted and any(number is not None for number in named):
        first = next(i for i, number in enumerate(named) if number != COLUMNS[i])
        raise DatasetLayoutError(
            f"{path}: expected column {first + 1} after the frame to be AU{COLUMNS[first]}, as in the known releases, "
            f"but the header calls it {header[first + 1]!r}; names and positions contradict each other: compare them "
            "with the user guide"
        )
    return {f"AU{number}": position for position, number in enumerate(COLUMNS, start=1)}


def _find_images(root: Path, source: str, tasks: set[str]) -> dict[Key, Images]:
    images = [f"{folder}{SUBJECT}.zip" for folder in _FOLDERS] + [f"{folder}{SUBJECT}/T*" for folder in _FOLDERS]
    videos = [f"{folder}{SUBJECT}_T*.mp4" for folder in ("", "*/", "*/*/")]
    first = find_source(root, source, images, videos, "archives")
    if first.is_dir():
        below = sorted(first.parent.parent.glob(f"{SUBJECT}/T*"))
        return {(path.parent.name, path.name): (path, None) for path in below if path.is_dir()}
    found: dict[Key, Images] = {}
    for path in sorted(first.parent.iterdir()):
        if first.suffix == ".zip" and re.fullmatch(r"[FM]\d{3}\.zip", path.name):
            found.update({(path.stem, task): (path, members) for task, members in _members(path, tasks).items()})
        elif first.suffix == ".mp4" and (match := _VIDEO.fullmatch(path.name)):
            found[(match.group(1).upper(), match.group(2).upper())] = (path, None)
    return found


def _members(archive: Path, wanted: set[str]) -> dict[str, dict[int, str]]:
    """Task -> number -> member of an archive, for the tasks that are wanted."""
    tasks: dict[str, dict[int, str]] = {}
    for name in list_members(archive):
        match, number = _MEMBER.fullmatch(name), frame_number(name)
        if match is None or match.group(1) not in wanted or number is None or not is_image(Path(name)):
            continue
        images = tasks.setdefault(match.group(1), {})
        if number in images:
            raise DatasetLayoutError(
                f"{archive}: expected one image per frame, but {images[number]} and {name} are both frame {number}"
            )
        images[number] = name
    return tasks


def _pair(
    rows: pd.DataFrame, root: Path, images: Images | None, where: str, numbering: str, findings: Findings
) -> pd.DataFrame:
    """Rows of a sequence with their images; see `RELEASE.doubts` for the numbers in archives."""
    if images is None:
        return pair_files(rows, root, {})
    path, members = images
    if members is None and not path.is_dir():
        return pair_video(rows, root, path, findings, numbering=numbering, partly=True)
    files = index_frames(path) if members is None else {}
    shift = int(0 in (files if members is None else members))
    if shift:
        findings.note("images numbered from 0", where, "label n is paired with image n - 1")
    if members is None:
        return pair_files(rows, root, {number + shift: file for number, file in files.items()})
    return pair_members(rows, root, path, {number + shift: name for number, name in members.items()})

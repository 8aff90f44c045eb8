"""BP4D: 41 people, 8 tasks, about 500 coded frames of each; pictures, or the videos made of them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.coding import Sequence, add_intensities, find_intensity, find_occurrence, read_occurrence, report_gaps
from ..formats.folds import with_folds
from ..formats.frames import note_unpaired, pair_folder, pair_nothing, pair_video
from ..release import Findings, Release, find_path

SUBJECTS = tuple([f"F{i:03d}" for i in range(1, 24)] + [f"M{i:03d}" for i in range(1, 19)])
TASKS = tuple(f"T{i}" for i in range(1, 9))

RELEASE = Release(
    name="bp4d",
    title="BP4D-Spontaneous",
    request="BP4D-Spontaneous (2D pictures, AU coding) from Lijun Yin, Binghamton University, through the university's licence agreement",
    terms="research only, signed by the institution; neither pictures nor annotations may be passed on",
    tree="""\
F001/T1/2440.jpg                              or BP4D-training/F001/..., 2D+3D/F001/..., or videos 2F01_T1.avi
AUCoding/AU_OCC/F001_T1.csv                   the copy of FERA 2015 has F001_T1.csv in AUCoding/
AU-Intensity-Codes3.0/AU06/F001_T1_AU06.csv   optional; also AU Intensity Codes3.0/, AUCoding/AU_INT/""",
    au_names=AU_SETS["bp4d_coded"],
    frames="the number in the picture's name and in the label file, from 1; frame n of a video is its n-th picture",
    source="CVI-SZU/ME-GraphAU:data/BP4D; lingjivoo/OpenGraphAU:tool/dataset_process.py; TadasBaltrusaitis/FERA-2015:BP4D_baseline; "
    "forever208/FMAE-IAT:AU/BP4D_preprocess.py",
)

_PICTURE_FOLDERS = (
    "",
    "BP4D-training/",
    "2D+3D/",
    "RawData/2D+3D/",
    "BP4D/",
    "BP4D/BP4D-training/",
    "Sequences(2D+3D)/",
    "images/",
)
_VIDEO_FOLDERS = ("", "*/", "*/*/")
_SUBJECT, _TASK = "[FM][0-9][0-9][0-9]", "T[0-9]"
_VIDEO = re.compile(r"2([FM])(\d{2})_(T\d)\.avi", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare bp4d`."""
    parser.add_argument(
        "--source",
        choices=("auto", "images", "videos"),
        default="auto",
        help="read the pictures, or the videos made of them (2F01_T1.avi); auto: the pictures where there are any (default: auto)",
    )


def read(root: Path, findings: Findings, *, source: str = "auto") -> pd.DataFrame:
    """One row per coded frame.

    Args:
        root: Folder of the release.
        findings: Take what is met.
        source: `images`, `videos`, or `auto`: the pictures where there are any.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels of the 27 coded AUs (-1 for code 9), intensities of five where there are any.

    Raises:
        DatasetLayoutError: The tree or a file of it is not as expected.
    """
    labels = find_occurrence(root)
    pictures, videos = _find_pictures(root, source)
    there = pictures or videos
    report_gaps(labels, there, SUBJECTS, TASKS, findings)
    strangers = sorted({subject for subject, _ in labels} - set(SUBJECTS))
    if strangers:
        findings.note("subjects that BP4D does not have", "labels", ", ".join(strangers))
    intensity = find_intensity(root, findings)
    tables = []
    for sequence in sorted(labels):
        rows = add_intensities(read_occurrence(labels[sequence], columns_of), intensity, sequence, findings)
        if sequence in pictures:
            rows = pair_folder(rows, root, pictures[sequence])
        elif sequence in videos:
            rows = pair_video(
                rows, root, videos[sequence], Findings()
            )  # only a part of every sequence is coded: no finding
        else:
            rows = pair_nothing(rows)
        note_unpaired(rows, "/".join(sequence), findings)
        rows.insert(0, "subject", sequence[0])
        rows.insert(1, "sequence", sequence[1])
        tables.append(rows)
    return with_folds(pd.concat(tables, ignore_index=True), RELEASE.name)


def columns_of(header: list[str], path: Path) -> dict[str, int]:
    """Position of each coded AU: the header names the AUs by number, after `0` for the frame.

    Raises:
        DatasetLayoutError: A name is no number, or an AU has no column.

    >>> columns_of([str(i) for i in range(100)], Path("F001_T1.csv"))["AU12"]
    12
    """
    names = {name.lstrip("0") or "0": position for position, name in enumerate(header)}
    wanted = {au: au[2:] for au in AU_SETS["bp4d_coded"]}
    missing = [au for au, name in wanted.items() if names.get(name, 0) == 0]
    if missing:
        shown = ", ".join(header[:6]) + (" ..." if len(header) > 6 else "")
        raise DatasetLayoutError(
            f"{path}: expected a header that names the frame and then the action units by number (0, 1, 2, 3, ...), "
            f"but {', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no column; the header is {shown}"
        )
    return {au: names[name] for au, name in wanted.items()}


def _find_pictures(root: Path, source: str) -> tuple[dict[Sequence, Path], dict[Sequence, Path]]:
    """Folders of pictures, or videos, by sequence; one of the two is empty."""
    folders = [f"{folder}{_SUBJECT}/{_TASK}" for folder in _PICTURE_FOLDERS]
    videos = [f"{folder}2[FM][0-9][0-9]_{_TASK}.avi" for folder in _VIDEO_FOLDERS]
    wanted = {"images": folders, "videos": videos, "auto": folders + videos}[source]
    what = {"images": "folders of pictures", "videos": "videos", "auto": "folders of pictures or videos"}[source]
    first = find_path(root, *wanted, what=what)
    if not _VIDEO.fullmatch(first.name):
        base = first.parent.parent
        return {
            (path.parent.name, path.name): path for path in sorted(base.glob(f"{_SUBJECT}/{_TASK}")) if path.is_dir()
        }, {}
    found = {}
    for path in sorted(first.parent.iterdir()):
        match = _VIDEO.fullmatch(path.name)
        if match:
            found[(f"{match.group(1).upper()}{int(match.group(2)):03d}", match.group(3).upper())] = path
    return {}, found

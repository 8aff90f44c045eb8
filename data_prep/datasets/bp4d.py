"""BP4D: 41 people, 8 tasks, about 500 coded frames of each; images, or the videos made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.coding import SUBJECT, find_occurrence, find_source, read_coding, source_option
from ..formats.folds import with_folds
from ..formats.frames import Key, index_frames, join_sequences, pair_files, pair_video
from ..formats.videos import numbering_option
from ..release import Findings, Release

SUBJECTS = tuple([f"F{i:03d}" for i in range(1, 24)] + [f"M{i:03d}" for i in range(1, 19)])
TASKS = tuple(f"T{i}" for i in range(1, 9))

RELEASE = Release(
    name="bp4d",
    title="BP4D-Spontaneous",
    request="BP4D-Spontaneous (2D images, AU coding) from Lijun Yin, Binghamton University, through the university's "
    "licence agreement",
    terms="research only, signed by the institution; neither images nor annotations may be passed on",
    tree="""\
F001/T1/2440.jpg                              or BP4D-training/F001/..., 2D+3D/F001/..., or videos 2F01_T1.avi
AUCoding/AU_OCC/F001_T1.csv                   the copy of FERA 2015 has F001_T1.csv in AUCoding/
AU-Intensity-Codes3.0/AU06/F001_T1_AU06.csv   optional; also AU Intensity Codes3.0/, AUCoding/AU_INT/""",
    au_names=AU_SETS["bp4d_coded"],
    frames="the number in the image's name and in the label file, from 1; frame n of a video is its n-th image",
    source="CVI-SZU/ME-GraphAU:data/BP4D; lingjivoo/OpenGraphAU:tool/dataset_process.py; "
    "TadasBaltrusaitis/FERA-2015:BP4D_baseline; forever208/FMAE-IAT:AU/BP4D_preprocess.py",
    intensity="0 to 5 as coded, in whole numbers, empty for the code 9; occurrence is coded by itself",
    options={
        "source": source_option(
            "", " made of them (2F01_T1.avi); auto: the images where there are any (default: auto)"
        ),
        "numbering": numbering_option(),
    },
)

_FOLDERS = (
    "", "BP4D-training/", "2D+3D/", "RawData/2D+3D/", "BP4D/", "BP4D/BP4D-training/", "Sequences(2D+3D)/", "images/",
)  # fmt: skip
_TASK = "T[0-9]"
_VIDEO = re.compile(r"2([FM])(\d{2})_(T\d)\.avi", re.IGNORECASE)


def read(root: Path, findings: Findings, *, source: str = "auto", numbering: str = "auto") -> pd.DataFrame:
    """One row per coded frame: labels of the 27 coded AUs (-1 for code 9), intensities of five where there are any."""
    labels = find_occurrence(root)
    images = _find_images(root, source)
    if strangers := sorted({subject for subject, _ in labels} - set(SUBJECTS)):
        findings.note("subjects that BP4D does not have", "labels", ", ".join(strangers))

    def paired() -> Iterator[tuple[Key, pd.DataFrame]]:
        for key, rows in read_coding(root, labels, images, columns_of, findings, subjects=SUBJECTS, tasks=TASKS):
            path = images.get(key)
            if path is not None and not path.is_dir():
                yield key, pair_video(rows, root, path, findings, numbering=numbering, partly=True)
            else:
                yield key, pair_files(rows, root, index_frames(path) if path else {})

    return with_folds(join_sequences(paired(), findings), RELEASE.name)


def columns_of(header: list[str], path: Path) -> dict[str, int]:
    """Position of each coded AU: the header names the AUs by number, after `0` for the frame.

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


def _find_images(root: Path, source: str) -> dict[Key, Path]:
    folders = [f"{folder}{SUBJECT}/{_TASK}" for folder in _FOLDERS]
    videos = [f"{folder}2[FM][0-9][0-9]_{_TASK}.avi" for folder in ("", "*/", "*/*/")]
    first = find_source(root, source, folders, videos, "folders")
    if not _VIDEO.fullmatch(first.name):
        below = first.parent.parent.glob(f"{SUBJECT}/{_TASK}")
        return {(path.parent.name, path.name): path for path in sorted(below) if path.is_dir()}
    matches = [(_VIDEO.fullmatch(path.name), path) for path in sorted(first.parent.iterdir())]
    return {(f"{match[1].upper()}{int(match[2]):03d}", match[3].upper()): path for match, path in matches if match}

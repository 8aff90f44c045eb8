"""UNBC-McMaster Shoulder Pain: 200 videos of 25 patients as pictures, a file of FACS codes for every frame."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.codes import occurrence
from ..formats.folds import with_folds
from ..formats.frames import note_unpaired, pair_folder, pair_nothing
from ..formats.text_lines import code, index_files, number_rows
from ..release import Findings, Release, find_path

THRESHOLD = 1  # the release's pain score counts every intensity; no public reader takes another [ours]
EYES_CLOSED = "AU43"  # coded as there or not, without intensity

# OpenFace:model_training/AU_training/data extraction/find_UNBC.m
SUBJECTS = (
    "042-ll042", "043-jh043", "047-jl047", "048-aa048", "049-bm049", "052-dr052", "059-fn059", "064-ak064", "066-mg066", "080-bn080",
    "092-ch092", "095-tv095", "096-bg096", "097-gf097", "101-mg101", "103-jk103", "106-nm106", "107-hs107", "108-th108", "109-ib109",
    "115-jy115", "120-kz120", "121-vw121", "123-jh123", "124-dn124",
)  # fmt: skip

RELEASE = Release(
    name="unbc",
    title="UNBC-McMaster Shoulder Pain Expression Archive",
    request="UNBC-McMaster (Images, Frame_Labels) from Jeffrey Cohn, University of Pittsburgh; ask if it is still given out",
    terms="research only; neither pictures nor annotations may be passed on, few of the patients may be shown in print",
    tree="""\
Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt   one per frame; an empty file is a frame without any AU
Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png""",
    au_names=AU_SETS["unbc"],
    frames="the number in the picture's name, from 1",
    source="TadasBaltrusaitis/OpenFace:matlab_runners/Action Unit Experiments/helpers/extract_UNBC_labels.m; "
    "cosanlab/py-feat:scripts/extract_au_training_features.py",
    doubts="the third and fourth number of a row (not read); an action unit listed with intensity 0, which is taken as unknown; "
    "frames 1 to 7 of tv095t2aeunaff are black, as public code says, so they become rows without a face",
)

_FOLDERS = ("Frame_Labels/FACS/", "*/Frame_Labels/FACS/", "FACS/")
_IMAGES = ("Images/*-*/*", "Images/Images/*-*/*", "images/*-*/*")  # public copies have been unpacked in all three ways


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare unbc`."""
    parser.add_argument(
        "--threshold",
        type=int,
        choices=range(1, 6),
        default=THRESHOLD,
        help=f"lowest intensity that counts as active (default: {THRESHOLD}; intensities are kept in any case)",
    )


def read(root: Path, findings: Findings, *, threshold: int = THRESHOLD) -> pd.DataFrame:
    """One row per frame.

    Args:
        root: Folder of the release.
        findings: Take what is met.
        threshold: Lowest intensity that counts as active, 1 to 5.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels of 10 AUs, intensities of all but AU43.

    Raises:
        DatasetLayoutError: The tree or a file of it is not as expected.
    """
    first = find_path(
        root, *(f"{folder}*/*/*_facs.txt" for folder in _FOLDERS), what="FACS files such as ll042t1aaaff001_facs.txt"
    )
    labels = _sequences(first.parents[2])
    pictures = _sequences(
        find_path(root, *_IMAGES, what="folders of pictures such as Images/042-ll042/ll042t1aaaff").parents[1]
    )
    for sequence in sorted(set(pictures) - set(labels)):
        findings.miss(pictures[sequence].relative_to(root).as_posix(), "the FACS files of these pictures are not there")
    findings.lack(
        "subjects", [subject for subject in SUBJECTS if subject not in {one for one, _ in (*labels, *pictures)}]
    )
    tables = []
    for sequence in sorted(labels):
        rows = _read_sequence(labels[sequence], threshold, findings)
        if sequence in pictures:
            rows = pair_folder(rows, root, pictures[sequence])
        else:
            findings.miss(
                labels[sequence].relative_to(root).as_posix(), "the pictures of these FACS files are not there"
            )
            rows = pair_nothing(rows)
        note_unpaired(rows, "/".join(sequence), findings)
        rows.insert(0, "subject", sequence[0])
        rows.insert(1, "sequence", sequence[1])
        tables.append(rows)
    return with_folds(pd.concat(tables, ignore_index=True), RELEASE.name)


def _sequences(base: Path) -> dict[tuple[str, str], Path]:
    """Subject and sequence -> folder, of the folders that hold something."""
    folders = sorted(path for path in base.glob("*/*") if path.is_dir())
    return {(folder.parent.name, folder.name): folder for folder in folders if next(folder.iterdir(), None)}


def _read_sequence(folder: Path, threshold: int, findings: Findings) -> pd.DataFrame:
    """Labels of one sequence.

    Raises:
        DatasetLayoutError: Two files are for one frame, or a file is not as expected.
    """
    files = index_files(folder, "*_facs.txt")
    frames = list(files)
    coded = [_read_frame(files[frame], findings) for frame in frames]
    columns: dict[str, np.ndarray] = {"frame": np.array(frames, dtype=np.int64)}
    for au in RELEASE.au_names:
        values = np.array([intensities.get(au, 0.0) for intensities in coded], dtype=np.float64)
        columns[au] = occurrence(values, 1 if au == EYES_CLOSED else threshold)
        if au != EYES_CLOSED:
            columns[f"{au}_intensity"] = values
    return pd.DataFrame(columns)


def _read_frame(path: Path, findings: Findings) -> dict[str, float]:
    """AU -> intensity of the action units that a file lists; nan where it is listed with 0.

    Raises:
        DatasetLayoutError: A line is something else, or a code is unknown.
    """
    found: dict[str, float] = {}
    for line, values in number_rows(path):
        if not 2 <= len(values) <= 4:
            raise DatasetLayoutError(
                f"{path}, line {line}: expected an action unit, its intensity and two numbers, but got {len(values)}"
            )
        au = f"AU{code(values[0], range(1, 100), 'action unit', path, line)}"
        intensity = code(values[1], range(6), "intensity", path, line)
        if au not in RELEASE.au_names:
            findings.note("action units outside the release's list", path.name, f"{au} is left out")
            continue
        if intensity == 0:
            findings.note("action unit listed with intensity 0", path.name, f"{au} is taken as unknown")
        found[au] = max(found.get(au, 0.0), float(intensity)) or np.nan
    return found

"""DISFA+: nine people of DISFA, posed and spontaneous trials, intensities of 12 AUs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.codes import INTENSITY_CODES, THRESHOLD, add_threshold, check_threshold, join_aus
from ..formats.folds import with_folds
from ..formats.frames import frame_number, note_unpaired, pair_folder, pair_nothing
from ..release import Findings, Release, find_path

SUBJECTS = ("SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027")

RELEASE = Release(
    name="disfaplus",
    title="DISFA+",
    request="DISFA+ (Images, Labels) from Mohammad Mahoor, University of Denver, by a signed agreement",
    terms="research only; neither pictures nor annotations may be passed on",
    tree="""\
DISFAPlusDataset/Labels/SN001/<trial>/AU1.txt   one file per AU; also without DISFAPlusDataset/
DISFAPlusDataset/Images/SN001/<trial>/000.jpg""",
    au_names=AU_SETS["disfa_plus"],
    frames="the number in the picture's name",
    source="cosanlab/py-feat:feat/evaluation/datasets.py, feat/data.py",
    doubts="the nine people are people of DISFA, so DISFA and DISFA+ are never training and test set of each other",
)

_LABELS = re.compile(r"AU0*(\d+)\.txt", re.IGNORECASE)
Trial = tuple[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare disfaplus`."""
    add_threshold(parser)


def read(root: Path, findings: Findings, *, threshold: int = THRESHOLD) -> pd.DataFrame:
    """One row per labelled frame.

    Args:
        root: Folder of the release.
        findings: Take what is met.
        threshold: Lowest intensity that counts as active, 1 to 5.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels and intensities of 12 AUs.

    Raises:
        DatasetLayoutError: The tree or a file of it is not as expected.
    """
    check_threshold(threshold)
    first = find_path(
        root,
        *(f"{folder}Labels/SN*/*/*.txt" for folder in ("", "DISFAPlusDataset/")),
        what="label files such as AU1.txt",
    )
    base = first.parents[3]
    labels, pictures = _trials(base / "Labels", "*.txt"), _trials(base / "Images", "*")
    for trial in sorted(set(pictures) - set(labels)):
        findings.miss(pictures[trial].relative_to(root).as_posix(), "the label files of these pictures are not there")
    findings.lack(
        "subjects", [subject for subject in SUBJECTS if subject not in {one for one, _ in (*labels, *pictures)}]
    )
    tables = []
    for trial in sorted(labels):
        rows = _read_trial(labels[trial], "/".join(trial), threshold, findings)
        if trial in pictures:
            rows = pair_folder(rows, root, pictures[trial])
        else:
            findings.miss(labels[trial].relative_to(root).as_posix(), "the pictures of these label files are not there")
            rows = pair_nothing(rows)
        note_unpaired(rows, "/".join(trial), findings)
        rows.insert(0, "subject", trial[0])
        rows.insert(1, "sequence", trial[1])
        tables.append(rows)
    return with_folds(pd.concat(tables, ignore_index=True), RELEASE.name)


def _trials(base: Path, pattern: str) -> dict[Trial, Path]:
    """Subject and trial -> its folder, of the folders that hold something."""
    folders = sorted(path for path in base.glob("SN*/*") if path.is_dir()) if base.is_dir() else []
    return {(folder.parent.name, folder.name): folder for folder in folders if next(folder.glob(pattern), None)}


def _read_trial(folder: Path, where: str, threshold: int, findings: Findings) -> pd.DataFrame:
    """Labels of one trial; AUs without a file are counted and unknown.

    Raises:
        DatasetLayoutError: There is no file of any AU.
    """
    files = {
        f"AU{int(match.group(1))}": path for path in sorted(folder.iterdir()) if (match := _LABELS.fullmatch(path.name))
    }
    tables = {au: _read_intensities(files[au]) for au in RELEASE.au_names if au in files}
    findings.lack("label files", [f"{where}/{au}.txt" for au in RELEASE.au_names if au not in files])
    if not tables:
        raise DatasetLayoutError(
            f"{folder}: expected label files such as AU1.txt, but there is none; copy the folder again"
        )
    return join_aus(tables, RELEASE.au_names, threshold, where, findings)


def _read_intensities(path: Path) -> pd.DataFrame:
    """`frame` and `intensity` of a label file: `000.jpg 2`, and lines of remarks that begin with `#`.

    Raises:
        DatasetLayoutError: A line is no such pair, a code is unknown, or a frame is there twice.
    """
    found: dict[int, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetLayoutError(
            f"{path}: expected text, but it cannot be read as such ({error}); copy it again"
        ) from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        frame = frame_number(fields[0])
        if len(fields) != 2 or frame is None:
            raise DatasetLayoutError(
                f"{path}, line {number}: expected a picture and its intensity, as in `000.jpg 2`, but got {line!r}"
            )
        if fields[1] not in map(str, INTENSITY_CODES):
            raise DatasetLayoutError(
                f"{path}, line {number}: expected an intensity of 0 to 5, but got {fields[1]!r}; compare it with the release"
            )
        if frame in found:
            raise DatasetLayoutError(
                f"{path}, line {number}: frame {frame} is there for the second time; remove one of the lines"
            )
        found[frame] = int(fields[1])
    return pd.DataFrame({"frame": list(found), "intensity": list(found.values())}).sort_values(
        "frame", ignore_index=True
    )

"""The coding of BP4D and BP4D+: an occurrence table per sequence, and a file per sequence and AU with intensities."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.errors import DatasetLayoutError

from ..release import Findings, find_path
from .codes import read_codes

UNKNOWN = 9  # occluded or not coded
OCCURRENCE_CODES = (0, 1, UNKNOWN)
INTENSITY_CODES = (0, 1, 2, 3, 4, 5, UNKNOWN)
INTENSITY_AUS = (6, 10, 12, 14, 17)

# Spellings that public readers of either release look for (TadasBaltrusaitis/FERA-2015, ubicomplab/rPPG-Toolbox).
OCCURRENCE_FOLDERS = ("AUCoding/AU_OCC", "AUCoding", "AU_OCC", "RawData/AUCoding/AU_OCC")
INTENSITY_FOLDERS = (
    "AU-Intensity-Codes3.0", "AU Intensity Codes3.0", "AUCoding/AU_INT", "AU_INT", "RawData/AUCoding/AU_INT",
    "AUCoding/AU-Intensity-Codes3.0", "AUCoding/AU Intensity Codes3.0",
)  # fmt: skip

Sequence = tuple[str, str]  # subject and task, as in ("F001", "T1")
_SEQUENCE = re.compile(r"([FM]\d{3})_(T\d+)")


def sequence_of(name: str) -> Sequence | None:
    """Subject and task in the name of a file; None where it has none.

    >>> sequence_of("F001_T1.csv"), sequence_of("readme.csv")
    (('F001', 'T1'), None)
    """
    match = _SEQUENCE.fullmatch(name.split(".")[0])
    return (match.group(1), match.group(2)) if match else None


def header_of(path: Path) -> list[str]:
    """Names in the first line of an occurrence table.

    Raises:
        DatasetLayoutError: The file is empty or no text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetLayoutError(
            f"{path}: expected a table with commas, but it cannot be read as text ({error}); copy it again"
        ) from error
    if not names:
        raise DatasetLayoutError(f"{path}: expected a table with a header, but the file is empty; copy it again")
    return [name.strip() for name in names]


def find_occurrence(root: Path) -> dict[Sequence, Path]:
    """The occurrence tables of a release.

    Raises:
        DatasetLayoutError: There is none.
    """
    patterns = [f"{folder}/[FM][0-9][0-9][0-9]_T*.csv" for folder in OCCURRENCE_FOLDERS]
    folder = find_path(root, *patterns, what="occurrence tables such as F001_T1.csv").parent
    found = {sequence_of(path.name): path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".csv"}
    labels = {sequence: path for sequence, path in found.items() if sequence is not None}
    if not labels:
        raise DatasetLayoutError(
            f"Expected occurrence tables such as F001_T1.csv in {folder}, but no name there is like that"
        )
    return labels


def read_occurrence(path: Path, columns_of: Callable[[list[str], Path], Mapping[str, int]]) -> pd.DataFrame:
    """Labels of one sequence.

    Args:
        path: An occurrence table.
        columns_of: From the header and the path to the position of each AU; it raises where it does not understand the header.

    Returns:
        `frame` and one int8 column per AU: 1, 0, or -1 for the code 9.

    Raises:
        DatasetLayoutError: As of `read_codes`.
    """
    table = read_codes(path, columns_of(header_of(path), path), OCCURRENCE_CODES, header=True)
    for name in table.columns.drop("frame"):
        codes = table[name].to_numpy()
        table[name] = np.where(codes == UNKNOWN, -1, codes).astype(np.int8)
    return table


def find_intensity(root: Path, findings: Findings) -> Path | None:
    """The folder with a folder of intensity files per AU; its absence is noted."""
    found = [
        root / folder
        for folder in INTENSITY_FOLDERS
        if any((root / folder / f"AU{au:02d}").is_dir() for au in INTENSITY_AUS)
    ]
    if not found:
        findings.lack("kinds of labels", [f"intensity of AU {', '.join(map(str, INTENSITY_AUS))}"])
        return None
    return found[0]


def add_intensities(rows: pd.DataFrame, folder: Path | None, sequence: Sequence, findings: Findings) -> pd.DataFrame:
    """Rows of a sequence with `AU12_intensity` (0 to 5, nan where unknown) of the AUs whose intensity is coded.

    Frames of the one file that the other does not have are noted; absent files are counted.

    Raises:
        DatasetLayoutError: As of `read_codes`.
    """
    if folder is None:
        return rows
    rows = rows.copy()
    for au in INTENSITY_AUS:
        name = f"AU{au}_intensity"
        path = folder / f"AU{au:02d}" / f"{'_'.join(sequence)}_AU{au:02d}.csv"
        if not path.is_file():
            findings.lack("intensity files", [path.name])
            rows[name] = np.nan
            continue
        coded = read_codes(path, {name: 1}, INTENSITY_CODES, header=False).set_index("frame")[name]
        rows[name] = coded.where(coded != UNKNOWN).reindex(rows["frame"]).to_numpy(dtype=np.float64)
        apart = len(set(coded.index) ^ set(rows["frame"]))
        if apart:
            findings.note(
                "intensity and occurrence of other frames",
                path.name,
                f"{apart:,} frames are in one of the two files only",
            )
    return rows


def report_gaps(
    labels: Collection[Sequence],
    pictures: Collection[Sequence],
    subjects: Iterable[str],
    tasks: Collection[str],
    findings: Findings,
) -> None:
    """Report sequences of which a half is missing, and count those that are absent as a whole.

    Args:
        labels: Sequences with an occurrence table.
        pictures: Sequences with pictures.
        subjects: All subjects of the release.
        tasks: Tasks whose sequences are coded.
        findings: Take the report.
    """
    for sequence in sorted(set(labels) - set(pictures)):
        findings.miss("/".join(sequence), "the pictures of its label file are not there")
    for sequence in sorted(set(pictures) - set(labels)):
        if sequence[1] in tasks:
            findings.miss("/".join(sequence), "the label file of its pictures is not there")
    there = {subject for subject, _ in (*labels, *pictures)}
    findings.lack("subjects", [subject for subject in subjects if subject not in there])
    for subject in sorted(there):
        tasks_there = {task for name, task in (*labels, *pictures) if name == subject}
        findings.lack("sequences", [f"{subject}/{task}" for task in tasks if task not in tasks_there])

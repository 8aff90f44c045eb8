"""The coding of BP4D and BP4D+: an occurrence table per sequence, and a file per sequence and AU with intensities."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.text_table import read_text_table
from auformer.errors import DatasetLayoutError, ManifestError

from ..release import Findings, find_path
from .codes import INTENSITY_CODES, read_codes
from .frames import Key

UNKNOWN = 9  # occluded or not coded
INTENSITY_AUS = (6, 10, 12, 14, 17)
SUBJECT = "[FM][0-9][0-9][0-9]"  # pattern of folders and files

# Spellings that public readers of either release look for (TadasBaltrusaitis/FERA-2015, ubicomplab/rPPG-Toolbox).
OCCURRENCE_FOLDERS = ("AUCoding/AU_OCC", "AUCoding", "AU_OCC", "RawData/AUCoding/AU_OCC")
INTENSITY_FOLDERS = (
    "AU-Intensity-Codes3.0", "AU Intensity Codes3.0", "AUCoding/AU_INT", "AU_INT", "RawData/AUCoding/AU_INT",
    "AUCoding/AU-Intensity-Codes3.0", "AUCoding/AU Intensity Codes3.0",
)  # fmt: skip

_SEQUENCE = re.compile(r"([FM]\d{3})_(T\d+)")


def source_option(images: str, videos: str) -> dict[str, object]:
    """The option `--source`; `images` and `videos` say in which form they come."""
    text = f"read the images{images}, or the videos{videos}"
    return {"choices": ("auto", "images", "videos"), "help": text}


def find_source(root: Path, source: str, images: Sequence[str], videos: Sequence[str], holders: str) -> Path:
    """The first folder or archive of images, or video, of the patterns that `source` allows; `auto` prefers images."""
    wanted = {"images": images, "videos": videos, "auto": [*images, *videos]}[source]
    what = {"images": f"{holders} of images", "videos": "videos", "auto": f"{holders} of images or videos"}[source]
    return find_path(root, *wanted, what=what)


def _sequence(name: str) -> Key | None:
    """Subject and task in the name of a file, as in ("F001", "T1"); None where it has none."""
    match = _SEQUENCE.fullmatch(name.split(".")[0])
    return (match.group(1), match.group(2)) if match else None


def _header(path: Path) -> list[str]:
    """The names of a table's columns."""
    try:
        return read_text_table(path, None, names_only=True).names
    except ManifestError as error:
        raise DatasetLayoutError(f"{path}: expected a table with a header ({error}); copy it again") from error


def find_occurrence(root: Path) -> dict[Key, Path]:
    """The occurrence tables of a release."""
    patterns = [f"{folder}/{SUBJECT}_T*.csv" for folder in OCCURRENCE_FOLDERS]
    folder = find_path(root, *patterns, what="occurrence tables such as F001_T1.csv").parent
    found = {_sequence(path.name): path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".csv"}
    labels = {sequence: path for sequence, path in found.items() if sequence is not None}
    if not labels:
        raise DatasetLayoutError(
            f"Expected occurrence tables such as F001_T1.csv in {folder}, but no name there is like that"
        )
    return labels


def read_coding(
    root: Path,
    labels: Mapping[Key, Path],
    images: Collection[Key],
    columns_of: Callable[[list[str], Path], Mapping[str, int]],
    findings: Findings,
    *,
    subjects: Iterable[str],
    tasks: Collection[str],
) -> Iterable[tuple[Key, pd.DataFrame]]:
    """Labels and intensities of one sequence after the other; half and absent sequences are reported before.

    Yields:
        The sequence, and its rows: `frame`, an int8 column per AU (1, 0, or -1 for the code 9), and `AU12_intensity` (0
        to 5, nan where unknown) of the AUs whose intensity is coded.
    """
    _report_gaps(labels, images, subjects, tasks, findings)
    intensity = _find_intensity(root, findings)
    for key in sorted(labels, key=lambda key: (key[0], int(key[1][1:]))):
        table = read_codes(labels[key], columns_of(_header(labels[key]), labels[key]), (0, 1, UNKNOWN), header=True)
        for name in table.columns.drop("frame"):
            codes = table[name].to_numpy()
            table[name] = np.where(codes == UNKNOWN, -1, codes).astype(np.int8)
        yield key, table if intensity is None else _add_intensities(table, intensity, key, findings)


def _find_intensity(root: Path, findings: Findings) -> Path | None:
    """The folder with a folder of intensity files per AU; its absence is noted."""
    for folder in INTENSITY_FOLDERS:
        if any((root / folder / f"AU{au:02d}").is_dir() for au in INTENSITY_AUS):
            return root / folder
    findings.lack("kinds of labels", [f"intensity of AU {', '.join(map(str, INTENSITY_AUS))}"])
    return None


def _add_intensities(rows: pd.DataFrame, folder: Path, sequence: Key, findings: Findings) -> pd.DataFrame:
    """Frames of the one file that the other does not have are noted; absent files are counted."""
    for au in INTENSITY_AUS:
        name = f"AU{au}_intensity"
        path = folder / f"AU{au:02d}" / f"{'_'.join(sequence)}_AU{au:02d}.csv"
        if not path.is_file():
            findings.lack("intensity files", [path.name])
            rows[name] = np.nan
            continue
        coded = read_codes(path, {name: 1}, (*INTENSITY_CODES, UNKNOWN), header=False).set_index("frame")[name]
        rows[name] = coded.where(coded != UNKNOWN).reindex(rows["frame"]).to_numpy(dtype=np.float64)
        if apart := len(set(coded.index) ^ set(rows["frame"])):
            text = f"{apart:,} frames are in one of the two files only"
            findings.note("intensity and occurrence of other frames", path.name, text)
    return rows


def _report_gaps(
    labels: Collection[Key],
    images: Collection[Key],
    subjects: Iterable[str],
    tasks: Collection[str],
    findings: Findings,
) -> None:
    """Report sequences of which a half is missing, and count those that are absent as a whole."""
    for sequence in sorted(set(labels) - set(images)):
        findings.miss("/".join(sequence), "the images of its label file are not there")
    for sequence in sorted(set(images) - set(labels)):
        if sequence[1] in tasks:
            findings.miss("/".join(sequence), "the label file of its images is not there")
    there = {subject for subject, _ in (*labels, *images)}
    findings.lack("subjects", [subject for subject in subjects if subject not in there])
    for subject in sorted(there):
        tasks_there = {task for name, task in (*labels, *images) if name == subject}
        findings.lack("sequences", [f"{subject}/{task}" for task in tasks if task not in tasks_there])

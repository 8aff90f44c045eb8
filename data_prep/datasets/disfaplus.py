"""DISFA+: nine people of DISFA, posed and spontaneous trials, intensities of 12 AUs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.codes import INTENSITY_CODES, THRESHOLD, check_threshold, join_aus, threshold_option
from ..formats.folds import with_folds
from ..formats.frames import frame_number, index_sequences, read_sequences
from ..formats.text_lines import bad_line, read_lines, second_line
from ..release import Findings, Release, find_path

SUBJECTS = ("SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027")

RELEASE = Release(
    name="disfaplus",
    title="DISFA+",
    request="DISFA+ (Images, Labels) from Mohammad Mahoor, University of Denver, by a signed agreement",
    terms="research only; neither images nor annotations may be passed on",
    tree="""\
DISFAPlusDataset/Labels/SN001/<trial>/AU1.txt   one file per AU; also without DISFAPlusDataset/
DISFAPlusDataset/Images/SN001/<trial>/000.jpg""",
    au_names=AU_SETS["disfa_plus"],
    frames="the number in the image's name",
    source="cosanlab/py-feat:feat/evaluation/datasets.py, feat/data.py",
    doubts="the nine people are people of DISFA, so DISFA and DISFA+ are never training and test set of each other",
    intensity="0 to 5 as coded, in whole numbers; an action unit is present from `occurrence_threshold` on",
    options={"threshold": threshold_option(THRESHOLD, ", the field's")},
)

_LABELS = re.compile(r"AU0*(\d+)\.txt", re.IGNORECASE)


def read(root: Path, findings: Findings, *, threshold: int = THRESHOLD) -> pd.DataFrame:
    """One row per labelled frame: labels and intensities of 12 AUs."""
    check_threshold(threshold)
    patterns = [f"{folder}Labels/SN*/*/*.txt" for folder in ("", "DISFAPlusDataset/")]
    base = find_path(root, *patterns, what="label files such as AU1.txt").parents[3]
    rows = read_sequences(
        root,
        index_sequences(base / "Labels", "SN*/*", "*.txt"),
        index_sequences(base / "Images", "SN*/*"),
        lambda folder, where: _read_trial(folder, where, threshold, findings),
        findings,
        subjects=SUBJECTS,
        files="label files",
    )
    return with_folds(rows, RELEASE.name)


def _read_trial(folder: Path, where: str, threshold: int, findings: Findings) -> pd.DataFrame:
    matches = [(_LABELS.fullmatch(path.name), path) for path in sorted(folder.iterdir())]
    files = {f"AU{int(match.group(1))}": path for match, path in matches if match}
    tables = {au: _read_intensities(files[au]) for au in RELEASE.au_names if au in files}
    findings.lack("label files", [f"{where}/{au}.txt" for au in RELEASE.au_names if au not in files])
    if not tables:
        raise DatasetLayoutError(
            f"{folder}: expected label files such as AU1.txt, but there is none; copy the folder again"
        )
    return join_aus(tables, RELEASE.au_names, threshold, where, findings)


def _read_intensities(path: Path) -> pd.DataFrame:
    """`frame` and `intensity` of a label file: `000.jpg 2`, and lines of remarks that begin with `#`."""
    found: dict[int, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        frame = frame_number(fields[0])
        if len(fields) != 2 or frame is None:
            raise bad_line(path, number, "an image and its intensity, as in `000.jpg 2`", repr(line))
        if fields[1] not in map(str, INTENSITY_CODES):
            raise bad_line(path, number, "an intensity of 0 to 5", repr(fields[1]), "compare it with the release")
        if frame in found:
            raise second_line(path, number, f"frame {frame}")
        found[frame] = int(fields[1])
    table = pd.DataFrame({"frame": list(found), "intensity": list(found.values())})
    return table.sort_values("frame", ignore_index=True)

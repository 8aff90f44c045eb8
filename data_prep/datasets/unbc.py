"""UNBC-McMaster Shoulder Pain: 200 videos of 25 patients as images, a file of FACS codes for every frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from auformer.aus import AU_SETS

from ..formats.codes import occurrence, threshold_option
from ..formats.folds import with_folds
from ..formats.frames import index_frames, index_sequences, read_sequences
from ..formats.text_lines import bad_line, code, number_rows
from ..release import Findings, Release, find_path

THRESHOLD = 1  # the release's pain score counts every intensity; no public reader takes another [ours]
EYES_CLOSED = "AU43"  # coded as there or not, without intensity

# OpenFace:model_training/AU_training/data extraction/find_UNBC.m
SUBJECTS = (
    "042-ll042", "043-jh043", "047-jl047", "048-aa048", "049-bm049", "052-dr052", "059-fn059", "064-ak064", "066-mg066",
    "080-bn080", "092-ch092", "095-tv095", "096-bg096", "097-gf097", "101-mg101", "103-jk103", "106-nm106", "107-hs107",
    "108-th108", "109-ib109", "115-jy115", "120-kz120", "121-vw121", "123-jh123", "124-dn124",
)  # fmt: skip

RELEASE = Release(
    name="unbc",
    title="UNBC-McMaster Shoulder Pain Expression Archive",
    request="UNBC-McMaster (Images, Frame_Labels) from Jeffrey Cohn, University of Pittsburgh; ask if it is still "
    "given out",
    terms="research only; neither images nor annotations may be passed on, few of the patients may be shown in print",
    tree="""\
Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt   one per frame; an empty file: no AU
Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png""",
    au_names=AU_SETS["unbc"],
    frames="the number in the image's name, from 1",
    source="TadasBaltrusaitis/OpenFace:matlab_runners/Action Unit Experiments/helpers/extract_UNBC_labels.m; "
    "cosanlab/py-feat:scripts/extract_au_training_features.py",
    doubts="the third and fourth number of a row (not read); an action unit listed with intensity 0, which is taken "
    "as unknown; frames 1 to 7 of tv095t2aeunaff are black, as public code says, so they become rows without a face",
    intensity="1 to 5 as coded, 0 where an action unit is not listed, empty where it is listed with 0; AU43 is coded "
    "as there or not and has none; the others are present from `occurrence_threshold` on",
    options={"threshold": threshold_option(THRESHOLD)},
)

_FOLDERS = ("Frame_Labels/FACS/", "*/Frame_Labels/FACS/", "FACS/")
_IMAGES = ("Images/*-*/*", "Images/Images/*-*/*", "images/*-*/*")  # public copies have been unpacked in all three ways


def read(root: Path, findings: Findings, *, threshold: int = THRESHOLD) -> pd.DataFrame:
    """One row per frame: labels of 10 AUs, intensities of all but AU43."""
    patterns = [f"{folder}*/*/*_facs.txt" for folder in _FOLDERS]
    labels = find_path(root, *patterns, what="FACS files such as ll042t1aaaff001_facs.txt").parents[2]
    images = find_path(root, *_IMAGES, what="folders of images such as Images/042-ll042/ll042t1aaaff").parents[1]
    rows = read_sequences(
        root,
        index_sequences(labels),
        index_sequences(images),
        lambda folder, _: _read_sequence(folder, threshold, findings),
        findings,
        subjects=SUBJECTS,
        files="FACS files",
    )
    return with_folds(rows, RELEASE.name)


def _read_sequence(folder: Path, threshold: int, findings: Findings) -> pd.DataFrame:
    files = index_frames(folder, "*_facs.txt")
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
    """AU -> intensity of the action units that a file lists; nan where it is listed with 0."""
    found: dict[str, float] = {}
    for line, values in number_rows(path):
        if not 2 <= len(values) <= 4:
            raise bad_line(path, line, "an action unit, its intensity and two numbers", len(values))
        au = f"AU{code(values[0], range(1, 100), 'action unit', path, line)}"
        intensity = code(values[1], range(6), "intensity", path, line)
        if au not in RELEASE.au_names:
            findings.note("action units outside the release's list", path.name, f"{au} is left out")
            continue
        if intensity == 0:
            findings.note("action unit listed with intensity 0", path.name, f"{au} is taken as unknown")
        found[au] = max(found.get(au, 0.0), float(intensity)) or np.nan
    return found

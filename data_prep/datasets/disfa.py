"""DISFA: 27 people, one video of 4,845 frames each from two cameras, intensities of 12 AUs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.codes import INTENSITY_CODES, THRESHOLD, add_threshold, check_threshold, join_aus, read_codes
from ..formats.folds import with_folds
from ..formats.frames import note_unpaired, pair_nothing, pair_video
from ..release import Findings, Release, find_path
from ..verify.published import frames_kept

SUBJECTS = tuple(f"SN{i:03d}" for i in (*range(1, 14), 16, 17, 18, 21, *range(23, 33)))

RELEASE = Release(
    name="disfa",
    title="DISFA",
    request="DISFA (videos of the left camera, ActionUnit_Labels) from Mohammad Mahoor, University of Denver, by a signed agreement",
    terms="research only; neither videos nor annotations may be passed on",
    tree="""\
Videos_LeftCamera/LeftVideoSN001_comp.avi     with --camera right: Video_RightCamera/RightVideoSN001_comp.avi
ActionUnit_Labels/SN001/SN001_au1.txt         one file per AU""",
    au_names=AU_SETS["disfa12"],
    frames="the label file's number, from 1; frame n is the n-th picture of the video",
    source="CVI-SZU/ME-GraphAU; lkq52110/au-recognition:tool/DISFA_image_label_process.py; sharpstill/AU_R-CNN:dataset_toolkit; "
    "ihp-lab/LibreFace",
)

_LABELS = re.compile(r"SN\d{3}_au(\d+)\.txt", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare disfa`."""
    add_threshold(parser)
    parser.add_argument(
        "--camera", choices=("left", "right"), default="left", help="whose videos (default: left, which papers use)"
    )


def read(root: Path, findings: Findings, *, threshold: int = THRESHOLD, camera: str = "left") -> pd.DataFrame:
    """One row per labelled frame.

    Args:
        root: Folder of the release.
        findings: Take what is met.
        threshold: Lowest intensity that counts as active, 1 to 5.
        camera: `left` or `right`; it is the name of every sequence.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels and intensities of 12 AUs.

    Raises:
        DatasetLayoutError: The tree or a file of it is not as expected.
    """
    check_threshold(threshold)
    labels = _find_labels(root)
    videos = _find_videos(root, camera)
    for subject in sorted(set(videos) - set(labels)):
        findings.miss(videos[subject].relative_to(root).as_posix(), "the label files of this video are not there")
    findings.lack("subjects", [subject for subject in SUBJECTS if subject not in labels and subject not in videos])
    tables = []
    for subject in sorted(labels):
        rows = _read_subject(labels[subject], subject, threshold, findings)
        if subject in videos:
            rows = pair_video(rows, root, videos[subject], findings)
        else:
            findings.miss(f"ActionUnit_Labels/{subject}", f"the video of the {camera} camera is not there")
            rows = pair_nothing(rows)
        note_unpaired(rows, subject, findings)
        _note_jaanet(subject, findings)
        rows.insert(0, "subject", subject)
        rows.insert(1, "sequence", camera)
        tables.append(rows)
    return with_folds(pd.concat(tables, ignore_index=True), RELEASE.name)


def _find_labels(root: Path) -> dict[str, dict[str, Path]]:
    """Subject -> AU -> file.

    Raises:
        DatasetLayoutError: There are no label files.
    """
    patterns = ("ActionUnit_Labels/SN[0-9][0-9][0-9]/*.txt", "SN[0-9][0-9][0-9]/SN*_au*.txt")
    first = find_path(root, *patterns, what="label files such as SN001_au1.txt")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(first.parent.parent.glob("SN[0-9][0-9][0-9]/*.txt")):
        match = _LABELS.fullmatch(path.name)
        if match:
            found.setdefault(path.parent.name, {})[f"AU{int(match.group(1))}"] = path
    if not found:
        raise DatasetLayoutError(
            f"Expected label files such as SN001_au1.txt in {first.parent.parent}, but no name there is like that"
        )
    return found


def _find_videos(root: Path, camera: str) -> dict[str, Path]:
    """Subject -> video of one camera; releases spell the folders in the plural and in the singular.

    Raises:
        DatasetLayoutError: There is none.
    """
    side = camera.capitalize()
    patterns = [
        f"{folder}{side}VideoSN[0-9][0-9][0-9]*.avi"
        for folder in (f"Videos_{side}Camera/", f"Video_{side}Camera/", "", "*/")
    ]
    first = find_path(root, *patterns, what=f"videos of the {camera} camera such as {side}VideoSN001_comp.avi")
    named = re.compile(rf"{side}Video(SN\d{{3}})(_comp)?\.avi", re.IGNORECASE)
    matches = [(named.fullmatch(path.name), path) for path in sorted(first.parent.iterdir())]
    return {match.group(1).upper(): path for match, path in matches if match}


def _read_subject(files: dict[str, Path], subject: str, threshold: int, findings: Findings) -> pd.DataFrame:
    """Labels of one video; an AU whose file is missing is unknown."""
    tables = {}
    for au in RELEASE.au_names:
        if au in files:
            tables[au] = read_codes(files[au], {"intensity": 1}, INTENSITY_CODES, header=False)
        else:
            findings.miss(f"ActionUnit_Labels/{subject}/{subject}_{au.lower()}.txt", "the label file is not there")
    return join_aus(tables, RELEASE.au_names, threshold, subject, findings)


def _note_jaanet(subject: str, findings: Findings) -> None:
    """Say where JAA-Net's lists have fewer frames of a subject; here they all stay."""
    kept = frames_kept(RELEASE.name).get(subject)
    if kept is not None:
        findings.note(
            "frames that JAA-Net left out",
            subject,
            f"it kept {kept:,}; here all stay, so that its numbers are not ours",
        )

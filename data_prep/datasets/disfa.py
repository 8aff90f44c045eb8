"""DISFA: 27 people, one video of 4,845 frames each from two cameras, intensities of 12 AUs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.errors import DatasetLayoutError

from ..formats.codes import INTENSITY_CODES, THRESHOLD, check_threshold, join_aus, read_codes, threshold_option
from ..formats.folds import with_folds
from ..formats.frames import Key, join_sequences, pair_files, pair_video
from ..formats.videos import numbering_option
from ..release import Findings, Release, find_path
from ..verify.published import published

SUBJECTS = tuple(f"SN{i:03d}" for i in (*range(1, 14), 16, 17, 18, 21, *range(23, 33)))

RELEASE = Release(
    name="disfa",
    title="DISFA",
    request="DISFA (videos of the left camera, ActionUnit_Labels) from Mohammad Mahoor, University of Denver, by a "
    "signed agreement",
    terms="research only; neither videos nor annotations may be passed on",
    tree="""\
Videos_LeftCamera/LeftVideoSN001_comp.avi     with --camera right: Video_RightCamera/RightVideoSN001_comp.avi
ActionUnit_Labels/SN001/SN001_au1.txt         one file per AU""",
    au_names=AU_SETS["disfa12"],
    frames="the label file's number, from 1; frame n is the n-th image of the video",
    source="CVI-SZU/ME-GraphAU; lkq52110/au-recognition:tool/DISFA_image_label_process.py; "
    "sharpstill/AU_R-CNN:dataset_toolkit; ihp-lab/LibreFace",
    intensity="0 to 5 as coded, in whole numbers; an action unit is present from `occurrence_threshold` on",
    options={
        "threshold": threshold_option(THRESHOLD, ", the field's"),
        "camera": {"choices": ("left", "right"), "help": "whose videos (default: left, which papers use)"},
        "numbering": numbering_option(),
    },
)

_LABELS = re.compile(r"SN\d{3}_au(\d+)\.txt", re.IGNORECASE)


def read(
    root: Path, findings: Findings, *, threshold: int = THRESHOLD, camera: str = "left", numbering: str = "auto"
) -> pd.DataFrame:
    """One row per labelled frame: labels and intensities of 12 AUs; every sequence is called by its camera."""
    check_threshold(threshold)
    labels = _find_labels(root)
    videos = _find_videos(root, camera)
    for subject in sorted(set(videos) - set(labels)):
        findings.miss(videos[subject].relative_to(root).as_posix(), "the label files of this video are not there")
    findings.lack("subjects", [subject for subject in SUBJECTS if subject not in labels and subject not in videos])
    known = published(RELEASE.name)
    kept = known.kept if known else {}

    def paired() -> Iterator[tuple[Key, pd.DataFrame]]:
        for subject in sorted(labels):
            rows = _read_subject(labels[subject], subject, threshold, findings)
            if subject in videos:
                rows = pair_video(rows, root, videos[subject], findings, numbering=numbering)
            else:
                findings.miss(f"ActionUnit_Labels/{subject}", f"the video of the {camera} camera is not there")
                rows = pair_files(rows, root, {})
            yield (subject, camera), rows
            if subject in kept:
                text = f"it kept {kept[subject]:,}; here all stay, so that its numbers are not ours"
                findings.note("frames that JAA-Net left out", subject, text)

    return with_folds(join_sequences(paired(), findings, where=itemgetter(0)), RELEASE.name)


def _find_labels(root: Path) -> dict[str, dict[str, Path]]:
    patterns = ("ActionUnit_Labels/SN[0-9][0-9][0-9]/*.txt", "SN[0-9][0-9][0-9]/SN*_au*.txt")
    base = find_path(root, *patterns, what="label files such as SN001_au1.txt").parent.parent
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(base.glob("SN[0-9][0-9][0-9]/*.txt")):
        if match := _LABELS.fullmatch(path.name):
            found.setdefault(path.parent.name, {})[f"AU{int(match.group(1))}"] = path
    if not found:
        raise DatasetLayoutError(
            f"Expected label files such as SN001_au1.txt in {base}, but no name there is like that"
        )
    return found


def _find_videos(root: Path, camera: str) -> dict[str, Path]:
    """Subject -> video of one camera; releases spell the folders in the plural and in the singular."""
    side = camera.capitalize()
    folders = (f"Videos_{side}Camera/", f"Video_{side}Camera/", "", "*/")
    patterns = [f"{folder}{side}VideoSN[0-9][0-9][0-9]*.avi" for folder in folders]
    first = find_path(root, *patterns, what=f"videos of the {camera} camera such as {side}VideoSN001_comp.avi")
    named = re.compile(rf"{side}Video(SN\d{{3}})(_comp)?\.avi", re.IGNORECASE)
    matches = [(named.fullmatch(path.name), path) for path in sorted(first.parent.iterdir())]
    return {match.group(1).upper(): path for match, path in matches if match}


def _read_subject(files: dict[str, Path], subject: str, threshold: int, findings: Findings) -> pd.DataFrame:
    tables = {}
    for au in RELEASE.au_names:
        if au in files:
            tables[au] = read_codes(files[au], {"intensity": 1}, INTENSITY_CODES, header=False)
        else:
            findings.miss(f"ActionUnit_Labels/{subject}/{subject}_{au.lower()}.txt", "the label file is not there")
    return join_aus(tables, RELEASE.au_names, threshold, subject, findings)

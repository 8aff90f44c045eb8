"""Aff-Wild2 (ABAW): videos from the web, 8 or 12 AUs per frame, and the release's own crops of the faces."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.aus import AU_SETS, canonical
from auformer.errors import DatasetLayoutError

from ..formats.frames import NO_IMAGE, index_frames, pair_files
from ..formats.text_lines import bad_line
from ..release import Findings, Release, find_path

# Spellings of the release's two sets -> value of the column `fold`.
SETS = {"Train_Set": "train", "Training_Set": "train", "Validation_Set": "validation"}

RELEASE = Release(
    name="affwild2",
    title="Aff-Wild2 (ABAW challenges)",
    request="Aff-Wild2 (cropped_aligned, annotations of the AU set) from Dimitrios Kollias, Queen Mary University of "
    "London",
    terms="research only; neither videos, crops nor annotations may be passed on",
    tree="""\
annotations/AU_Set/Train_Set/video.txt        also Training_Set; newer editions: AU_Detection_Challenge, not AU_Set
annotations/AU_Set/Validation_Set/video.txt   video_left.txt and video_right.txt where a video shows two people
cropped_aligned/video/00001.jpg               112 x 112; frames without a face are not there""",
    au_names=AU_SETS["affwild2"],
    frames="line k after the header is frame k, from 1, and has the crop of that number",
    source="wtomin/Multitask-Emotion-Recognition-with-Incomplete-Labels:create_annotation_file/Aff-wild2; "
    "lingjivoo/OpenGraphAU:tool/dataset_process.py; radekd91/emoca:gdl/datasets/AffWild2Dataset.py",
    doubts="who is in more than one video: the release's lists do not say, so a video is a subject here",
)

_ANNOTATIONS = (
    "annotations/AU_Set", "AU_Set", "*/AU_Set", "*/*/AU_Set", "*/AU_Detection_Challenge", "AU_Detection_Challenge",
)  # fmt: skip
_CROPS = ("cropped_aligned", "cropped_aligned_images", "*/cropped_aligned", "*/cropped_aligned_images")
_SIDE = re.compile(r"_(left|right)$")


def read(root: Path, findings: Findings) -> pd.DataFrame:
    """One row per frame of which at least one action unit is annotated.

    The release's crops are aligned images of 112 x 112 pixels; they are cropped once more, as any image is, so that the
    face lies where the crop recipe has it.

    `fold` is the release's own set, `train` or `validation`; the subject is the video.
    """
    labels = _find_labels(root)
    crops = find_path(root, *_CROPS, what="the folder cropped_aligned")
    folders = {path.name: path for path in sorted(crops.iterdir()) if path.is_dir() and next(path.iterdir(), None)}
    findings.lack("videos without labels of AUs (the test set, other challenges)", sorted(set(folders) - set(labels)))
    tables, unlabelled = [], 0
    for video in sorted(labels):
        rows = _read_video(labels[video])
        known = (rows[[name for name in rows.columns if name != "frame"]] >= 0).any(axis=1)
        unlabelled += int((~known).sum())
        last = len(rows)
        rows = _pair(rows[known].reset_index(drop=True), root, folders.get(video), last, labels[video], findings)
        rows.insert(0, "subject", _SIDE.sub("", video))
        rows.insert(1, "sequence", video)
        tables.append(rows.assign(fold=SETS[labels[video].parent.name]))
    table = _joined(tables)
    if unlabelled:
        text = f"{unlabelled:,} frames have -1 for every action unit and no row"
        findings.note("frames without any label", crops.name, text)
    without = table["status"] == NO_IMAGE
    if without.any():
        videos = table.loc[without, "sequence"].nunique()
        text = f"{without.sum():,} of {len(table):,} frames in {videos:,} videos"
        findings.note("labels without a crop", crops.name, text)
    return table


def _find_labels(root: Path) -> dict[str, Path]:
    patterns = [f"{folder}/{name}/*.txt" for folder in _ANNOTATIONS for name in SETS]
    base = find_path(root, *patterns, what="files of labels in Train_Set or Validation_Set").parents[1]
    found: dict[str, Path] = {}
    for path in sorted(path for name in SETS for path in (base / name).glob("*.txt")):
        if path.stem in found:
            raise DatasetLayoutError(
                f"Expected every video in one set, but {found[path.stem]} and {path} are both there; remove one"
            )
        found[path.stem] = path
    return found


def _read_video(path: Path) -> pd.DataFrame:
    """`frame` and one int8 column per AU of the header."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = [canonical(name) for name in file.readline().rstrip().rstrip(",").split(",")]
        table = pd.read_csv(
            path, header=None, skiprows=1, skip_blank_lines=False, skipinitialspace=True, low_memory=False
        )
        if table.iloc[:, len(names) :].notna().any(axis=None) or table.shape[1] < len(names):
            raise ValueError(f"{len(names)} names, {table.shape[1]} values in a line")
    except ValueError as error:
        raise DatasetLayoutError(
            f"{path}: expected a header of action units such as AU1,AU2,AU4 and a line of labels per frame, but it is "
            f"none ({error}); copy it again"
        ) from error
    filled = np.flatnonzero(table.notna().any(axis=1).to_numpy())
    table = table.iloc[: int(filled[-1]) + 1 if filled.size else 0]  # blank lines at the end
    columns: dict[str, np.ndarray] = {"frame": np.arange(1, len(table) + 1)}
    for column, name in enumerate(names):
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        bad = np.flatnonzero(~np.isin(values, (-1, 0, 1)))
        if bad.size:
            value = table[column].iloc[bad[0]]
            raise bad_line(path, bad[0] + 2, f"{name} to be -1, 0 or 1", value, "compare it with the release")
        columns[name] = values.astype(np.int8)
    return pd.DataFrame(columns)


def _pair(
    rows: pd.DataFrame, root: Path, folder: Path | None, last: int, path: Path, findings: Findings
) -> pd.DataFrame:
    if folder is None:
        findings.miss(path.relative_to(root).as_posix(), "the crops of this video are not there")
        return pair_files(rows, root, {})
    crops = index_frames(folder)
    if beyond := sum(number > last for number in crops):
        findings.note("labels end before the crops", path.stem, f"{beyond:,} crops after frame {last:,} get no row")
    return pair_files(rows, root, crops)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """All rows; an AU that a video's header lacks is unknown there (the edition of 2020 has 8, later ones 12)."""
    table = pd.concat(tables, ignore_index=True)
    aus = sorted((name for name in table.columns if re.fullmatch(r"AU\d+", name)), key=lambda name: int(name[2:]))
    labels = table[aus].fillna(-1).astype(np.int8)
    key, others = ["subject", "sequence", "frame"], table.drop(columns=aus)
    return pd.concat([others[key], labels, others.drop(columns=key)], axis=1)

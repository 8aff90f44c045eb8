"""Which images a release has, found without opening one, and which label each belongs to.

Images of a folder or an archive are found by frame number, frames of a video by position. The `pair_...` functions give
rows the columns `status`, `source`, `source_frame`, `source_member` (see `release`); a label whose image is not there
keeps its row with the status `no_image`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from auformer.data.images import IMAGES
from auformer.errors import DatasetLayoutError

from ..release import SOURCE, SOURCE_FRAME, SOURCE_MEMBER, Findings
from .videos import Places, match_numbers, read_places

NO_IMAGE = "no_image"
_LAST_NUMBER = re.compile(r"(\d+)\D*$", re.ASCII)

Key = tuple[str, str]  # subject and sequence


def frame_number(name: str) -> int | None:
    """The frame number in a file's name: its last run of digits, before the suffix; None where it has none.

    >>> [frame_number(name) for name in ("reg_img46.jpg", "006_05562.jpg", "0999_aligned.png", "cover.jpg")]
    [46, 5562, 999, None]
    """
    match = _LAST_NUMBER.search(Path(name).stem)
    return int(match.group(1)) if match else None


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name; hidden ones are not."""
    return path.suffix.lower() in IMAGES and not path.name.startswith(".")


def index_frames(folder: Path, pattern: str = "") -> dict[int, Path]:
    """Files of a folder by frame number, whatever their padding and prefix.

    Args:
        folder: A folder with one image, or label file, per frame. Hidden files and those without a number are ignored.
        pattern: Of the names of label files, with `*`; images where it is empty.

    Returns:
        Frame number -> path, by rising number.

    Raises:
        DatasetLayoutError: There is no such folder, or two files have one number.
    """
    _require_folder(folder)
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(pattern or "*")):
        number = frame_number(path.name)
        if number is None or path.name.startswith(".") or not (pattern or is_image(path)) or not path.is_file():
            continue
        if number in found:
            raise DatasetLayoutError(
                f"Expected one {'label file' if pattern else 'image'} per frame in {folder}, but {found[number].name} "
                f"and {path.name} are both frame {number}; remove one"
            )
        found[number] = path
    return dict(sorted(found.items()))


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DatasetLayoutError(
            f"Expected a folder of images at {folder}, but there is none; check the copy of the release"
        )


def list_files(root: Path) -> list[PurePosixPath]:
    """Every file below a folder, by relative path; hidden files and folders are ignored, links not followed."""
    found = []
    for base, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(base).relative_to(root)
        found += [PurePosixPath((relative / name).as_posix()) for name in files if not name.startswith(".")]
    return sorted(found)


def index_sequences(base: Path, pattern: str = "*/*", holds: str = "*") -> dict[Key, Path]:
    """Subject and sequence -> folder, of the folders `pattern` below `base` that hold something of the name `holds`."""
    folders = sorted(path for path in base.glob(pattern) if path.is_dir()) if base.is_dir() else []
    return {(folder.parent.name, folder.name): folder for folder in folders if next(folder.glob(holds), None)}


def pair_files(rows: pd.DataFrame, root: Path, images: Mapping[int, Path]) -> pd.DataFrame:
    """Pair frame k with the file of that number below the root; `images` is empty where there are none."""
    sources = [images[frame].relative_to(root).as_posix() if frame in images else "" for frame in rows["frame"]]
    return _paired(rows, np.array([bool(source) for source in sources], bool), sources, None, None)


def pair_members(rows: pd.DataFrame, root: Path, archive: Path, members: Mapping[int, str]) -> pd.DataFrame:
    """Pair frame k with the member of that number in a zip archive below the root."""
    names = [members.get(frame) for frame in rows["frame"]]
    there = np.array([name is not None for name in names])
    source = archive.relative_to(root).as_posix()
    return _paired(rows, there, [source if found else "" for found in there], None, names)


def pair_video(
    rows: pd.DataFrame, root: Path, video: Path, findings: Findings, *, numbering: str = "auto", partly: bool = False
) -> pd.DataFrame:
    """Pair frame k, counted from 1, with its image in a video; see `match_numbers` for `numbering`.

    Noted are frames that were dropped, and a video that continues after the last label, unless it is coded `partly`.

    Raises:
        DatasetLayoutError: It is not clear which image a number means.
    """
    frames = rows["frame"].to_numpy()
    source, places = video.relative_to(root).as_posix(), read_places(video)
    if places is None:  # decoding will say why
        return _paired(rows, np.ones(len(rows), bool), [source] * len(rows), frames - 1, None)
    positions = match_numbers(frames - 1, places, source, numbering)
    if places.length > frames.max() and not partly:
        text = f"{places.length:,} frames, the last label is for frame {frames.max():,}"
        findings.note("labels end before the video", source, text)
    note_dropped(places, source, findings)
    there = positions >= 0
    return _paired(rows, there, [source if found else "" for found in there], positions, None)


def note_dropped(places: Places, source: str, findings: Findings) -> None:
    """Note the frames that a camera has dropped."""
    if places.slots is not None:
        text = f"{places.length - len(places.times):,} of {places.length:,} frame times have no image"
        findings.note("frames dropped while recording", source, text)


def _paired(
    rows: pd.DataFrame,
    there: np.ndarray,
    sources: list[str],
    positions: np.ndarray | None,
    members: list[str | None] | None,
) -> pd.DataFrame:
    """Rows with their image's columns; `there` says which of them have one."""
    paired = rows.copy()
    paired["status"] = np.where(there, "ok", NO_IMAGE)
    paired[SOURCE] = pd.Series(sources, index=rows.index, dtype=object)
    number = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    if positions is not None:
        number = pd.Series(positions, index=rows.index, dtype="Int64").mask(~there)
    paired[SOURCE_FRAME] = number
    paired[SOURCE_MEMBER] = pd.Series(pd.NA if members is None else members, index=rows.index, dtype=object)
    return paired


def join_sequences(
    tables: Iterable[tuple[Key, pd.DataFrame]], findings: Findings, where: Callable[[Key], str] = "/".join
) -> pd.DataFrame:
    """All rows of a release, from its sequences' rows; how many of their labels have no image is noted.

    A sequence without any image is a missing file, and reported as that by its reader.
    """
    joined = []
    for key, rows in tables:
        lost = rows.loc[rows["status"] == NO_IMAGE, "frame"]
        if 0 < len(lost) < len(rows):
            text = f"{len(lost):,} of {len(rows):,} frames, the first is {lost.iloc[0]}"
            findings.note("labels without an image", where(key), text)
        rows.insert(0, "subject", key[0])
        rows.insert(1, "sequence", key[1])
        joined.append(rows)
    return pd.concat(joined, ignore_index=True)


def read_sequences(
    root: Path,
    labels: Mapping[Key, Path],
    images: Mapping[Key, Path],
    read: Callable[[Path, str], pd.DataFrame],
    findings: Findings,
    *,
    subjects: Iterable[str],
    files: str,
) -> pd.DataFrame:
    """All rows of a release that has a folder of label files and a folder of images per sequence."""
    for key in sorted(set(images) - set(labels)):
        findings.miss(images[key].relative_to(root).as_posix(), f"the {files} of these images are not there")
    there = {subject for subject, _ in (*labels, *images)}
    findings.lack("subjects", [subject for subject in subjects if subject not in there])

    def paired(key: Key) -> pd.DataFrame:
        rows = read(labels[key], "/".join(key))
        if key not in images:
            findings.miss(labels[key].relative_to(root).as_posix(), f"the images of these {files} are not there")
        return pair_files(rows, root, index_frames(images[key]) if key in images else {})

    return join_sequences(((key, paired(key)) for key in sorted(labels)), findings)


def index_photos(folder: Path) -> dict[str, list[Path]]:
    """Images at any depth below a folder by name without suffix; links are not followed."""
    _require_folder(folder)
    found: dict[str, list[Path]] = {}
    for path in list_files(folder):
        if is_image(folder / path):
            found.setdefault(path.stem, []).append(folder / path)
    return found


def find_photo(photos: Mapping[str, Sequence[Path]], name: str) -> Path | None:
    """The image that a table means by a name or path; of several, the one whose folders agree. None where it is absent.

    Raises:
        DatasetLayoutError: Several images may be meant.
    """
    wanted = PurePosixPath(name)
    found = list(photos.get(wanted.stem, ()))
    for depth, folder in enumerate(reversed(wanted.parts[:-1]), start=2):
        if len(found) < 2:
            break
        found = [path for path in found if len(path.parts) >= depth and path.parts[-depth] == folder] or found
    if len(found) > 1:
        raise DatasetLayoutError(
            f"Expected one image for {name}, but {found[0]} and {found[1]} may both be it; remove one"
        )
    return found[0] if found else None


def pair_photos(rows: pd.DataFrame, root: Path, images: Sequence[Path | None]) -> pd.DataFrame:
    """Rows with an image each, or None."""
    by_row = {number: path for number, path in enumerate(images) if path is not None}
    return pair_files(rows.assign(frame=range(len(rows))), root, by_row).assign(frame=rows["frame"])

"""FEAFA+ (FEAFA-A, and FEAFA-B on DISFA's videos): 24 intensities from 0 to 1 for every frame, whose order has to be told."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.aus import canonical
from auformer.errors import DatasetLayoutError

from ..formats.folds import fold_of
from ..formats.frames import count_video_frames, index_frames, note_unpaired, pair_folder, pair_nothing, pair_video
from ..formats.text_lines import index_files, number_rows, read_lines
from ..release import Findings, Release, find_path

VALUES = 24
SCALE = 5  # the manifest's intensities go from 0 to 5, the release's from 0 to 1
THRESHOLD = 0.4  # intensity 2 of 5, the threshold for DISFA, whose videos FEAFA-B annotates again [ours]

RELEASE = Release(
    name="feafa",
    title="FEAFA+ (FEAFA-A, FEAFA-B)",
    request="FEAFA+ from Jian Xue, University of Chinese Academy of Sciences (www.iiplab.net/feafa+); FEAFA-B also needs DISFA's videos",
    terms="research only; neither pictures nor annotations may be passed on",
    tree="""\
FEAFA-A/PV001.output/00000001.auw              one per frame: 24 numbers from 0 to 1
FEAFA-A/PV001.output/00000001.jpg              the picture beside it
FEAFA-B/SN001.output/00000001.auw              DISFA's videos, annotated again
Videos_LeftCamera/LeftVideoSN001_comp.avi      of DISFA, copied or linked into the same folder""",
    au_names=(),
    frames="the number in the name of the label file",
    source="youknowitskyle/farapy-data-tools:FEAFA+/FEAFA_label_process.py, DISFA_label_process.py; www.iiplab.net/feafa+",
    doubts="the order of the 24 values (name it with --columns FILE), the names of FEAFA-A's pictures beyond their number, whether FEAFA-B "
    "counts frames from 0 or 1, and which five people of FEAFA-A are in two of its 127 sequences",
)

UNKNOWN_ORDER = (
    f"Expected `--columns FILE` with the names of the {VALUES} values of FEAFA's .auw files, but got none: the files have no names, and no "
    "public source says in which order the values stand. Take the order from the document that came with your copy and write a text file "
    f"with {VALUES} lines, each AU12, AU12_left or AU12_right (the person's own side), or - for a value to leave out"
)

_FOLDER = re.compile(r"((?:PV|SN)\d{3})(?:\.output)?", re.IGNORECASE)
_NAME = re.compile(r"(.+?)(?:_(left|right))?")
_VIDEOS = ("Videos_LeftCamera", "Video_LeftCamera", "*/Videos_LeftCamera", ".")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer prepare feafa`."""
    add = parser.add_argument
    add(
        "--columns",
        type=names_in,
        metavar="FILE",
        help=f"text file with the {VALUES} names of the values, one per line; needed, see above",
    )
    add(
        "--threshold",
        type=float,
        default=THRESHOLD,
        metavar="X",
        help=f"lowest value that counts as active, at most 1 (default: {THRESHOLD})",
    )
    add(
        "--first",
        type=int,
        choices=(0, 1),
        help="number of the first frame of DISFA's videos in FEAFA-B, where the files do not show it",
    )


def read(
    root: Path,
    findings: Findings,
    *,
    columns: str | None = None,
    threshold: float = THRESHOLD,
    first: int | None = None,
) -> pd.DataFrame:
    """One row per label file.

    Args:
        root: Folder of the release.
        findings: Take what is met.
        columns: Names of the 24 values with commas between them, as `names_in` reads them from a file.
        threshold: Lowest value that counts as active, in (0, 1].
        first: Number of a video's first frame; None to see it from the label files.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels, per side where the values are, and intensities from 0 to 5.

    Raises:
        DatasetLayoutError: The order of the values is not told, or the tree or a file of it is not as expected.
    """
    if columns is None:
        raise DatasetLayoutError(UNKNOWN_ORDER)
    if not 0 < threshold <= 1:
        raise ValueError(f"Expected `threshold` to be above 0 and at most 1, but got {threshold}")
    names = parse_columns(columns)
    patterns = ("FEAFA-[AB]/*/*.auw", "*.output/*.auw", "*/FEAFA-[AB]/*/*.auw")
    base = find_path(root, *patterns, what="label files such as 00000001.auw").parents[1]
    bases = sorted(base.parent.glob("FEAFA-[AB]")) if base.name.startswith("FEAFA-") else [base]
    tables = []
    for folder in sorted(path for each in bases for path in each.iterdir() if path.is_dir()):
        match = _FOLDER.fullmatch(folder.name)
        if match is None or not next(folder.glob("*.auw"), None):
            continue
        subject = match.group(1).upper()
        rows = _read_folder(folder, names, threshold)
        rows = _pair(rows, root, folder, subject, first, findings)
        note_unpaired(rows, subject, findings)
        rows.insert(0, "subject", subject)
        rows.insert(1, "sequence", "FEAFA-A" if subject.startswith("PV") else "FEAFA-B")
        tables.append(rows)
    if not tables:
        raise DatasetLayoutError(
            f"Expected folders such as PV001.output with label files in {base}, but there is none; check the copy"
        )
    table = pd.concat(tables, ignore_index=True).sort_values(
        ["subject", "sequence", "frame"], kind="stable", ignore_index=True
    )
    return table.assign(fold=table["subject"].map(_folds(table["subject"].unique().tolist())).astype(object))


def _folds(subjects: list[str]) -> dict[str, str | None]:
    """The part of each subject; people of DISFA are in DISFA's parts."""
    disfa = [subject for subject in subjects if subject.startswith("SN")]
    return fold_of(RELEASE.name, set(subjects) - set(disfa)) | fold_of("disfa", disfa)


def names_in(path: str) -> str:
    """The names in a text file, with commas between them, so that options and side files name no folder.

    Args:
        path: Text file with a name per line; blank lines and lines that begin with `#` do not count.

    Raises:
        ArgumentTypeError: The file cannot be read.
    """
    try:
        return ",".join(
            line.strip() for line in read_lines(Path(path)) if line.strip() and not line.strip().startswith("#")
        )
    except (DatasetLayoutError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_columns(columns: str) -> list[tuple[str, str] | None]:
    """Action unit and side of each of the 24 values, None for those to leave out.

    Raises:
        DatasetLayoutError: There are not 24 names, one is unknown, or an action unit is there twice or both with and without sides.
    """
    names = [name.strip() for name in columns.split(",")]
    if len(names) != VALUES:
        raise DatasetLayoutError(
            f"`--columns`: expected {VALUES} names, one per value, but got {len(names)}; write - for one to leave out"
        )
    found: list[tuple[str, str] | None] = []
    for name in names:
        match = _NAME.fullmatch(name)
        if name == "-" or match is None:
            found.append(None)
            continue
        try:
            found.append((canonical(match.group(1)), match.group(2) or ""))
        except ValueError as error:
            raise DatasetLayoutError(
                f"`--columns`: expected AU12, AU12_left, AU12_right or -, but got {name!r}"
            ) from error
    known = [one for one in found if one is not None]
    for au in dict.fromkeys(au for au, _ in known):
        sides = sorted(other for name, other in known if name == au)
        if sides not in ([""], ["left", "right"]):
            raise DatasetLayoutError(
                f"`--columns`: expected {au} once, or as {au}_left and {au}_right, but got {len(sides)} of it; give a value - instead"
            )
    if not known:
        raise DatasetLayoutError("`--columns`: expected at least one action unit, but all values are left out")
    return found


def _read_folder(folder: Path, names: list[tuple[str, str] | None], threshold: float) -> pd.DataFrame:
    """Labels of one sequence.

    Raises:
        DatasetLayoutError: Two files are for one frame, or a file has other numbers.
    """
    files = index_files(folder, "*.auw")
    frames = list(files)
    values = np.array([_read_values(files[frame]) for frame in frames])
    columns: dict[str, np.ndarray] = {"frame": np.array(frames, dtype=np.int64)}
    for au in dict.fromkeys(name[0] for name in names if name is not None):
        sides = {name[1]: values[:, at] for at, name in enumerate(names) if name is not None and name[0] == au}
        highest = np.max(list(sides.values()), axis=0)
        columns[au] = (highest >= threshold).astype(np.int8)
        columns |= {f"{au}_{side}": (one >= threshold).astype(np.int8) for side, one in sides.items() if side}
        columns[f"{au}_intensity"] = SCALE * highest
    return pd.DataFrame(columns)


def _read_values(path: Path) -> list[float]:
    """The 24 numbers of a label file.

    Raises:
        DatasetLayoutError: There are more or fewer, or one is outside 0 to 1.
    """
    rows = [values for _, values in number_rows(path)]
    if len(rows) != 1 or len(rows[0]) != VALUES:
        raise DatasetLayoutError(
            f"{path}: expected one line of {VALUES} numbers, but got {sum(map(len, rows))} in {len(rows)} lines; copy it again"
        )
    bad = next((value for value in rows[0] if not 0 <= value <= 1), None)
    if bad is not None:
        raise DatasetLayoutError(
            f"{path}: expected numbers from 0 to 1, but got {bad}; compare the file with the release"
        )
    return rows[0]


def _pair(
    rows: pd.DataFrame, root: Path, folder: Path, subject: str, first: int | None, findings: Findings
) -> pd.DataFrame:
    """Rows of a sequence with the pictures beside the label files, or with DISFA's video of the subject."""
    for pictures in (folder, folder.with_name(subject)):
        if pictures.is_dir() and index_frames(pictures):
            return pair_folder(rows, root, pictures)
    video = next((path for place in _VIDEOS for path in sorted(root.glob(f"{place}/LeftVideo{subject}*.avi"))), None)
    if video is None:
        findings.miss(
            folder.relative_to(root).as_posix(), "neither pictures nor a video of DISFA's left camera is there for them"
        )
        return pair_nothing(rows)
    shift = 1 - (_first_frame(rows["frame"].to_numpy(), video) if first is None else first)
    paired = pair_video(rows.assign(frame=rows["frame"] + shift), root, video, findings)
    return paired.assign(frame=rows["frame"])


def _first_frame(frames: np.ndarray, video: Path) -> int:
    """Number of a video's first frame, where the label files show it.

    Raises:
        DatasetLayoutError: They do not.
    """
    if 0 in frames:
        return 0
    if count_video_frames(video) == frames.max():
        return 1
    raise DatasetLayoutError(
        f"Expected the label files of {video.name} to show if frames count from 0 or 1 (a file 00000000.auw, or a last file of the "
        f"video's length), but they are {frames.min()} to {frames.max()}; compare a blink in both and say --first 0 or --first 1"
    )

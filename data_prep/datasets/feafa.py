"""FEAFA+ (FEAFA-A, and FEAFA-B on DISFA's videos): 24 intensities from 0 to 1 per frame, whose order the user names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.aus import canonical
from auformer.errors import DatasetLayoutError

from ..formats.codes import occurrence
from ..formats.folds import fold_of
from ..formats.frames import Key, index_frames, join_sequences, pair_files, pair_video
from ..formats.text_lines import number_rows, read_lines
from ..formats.videos import numbering_option, read_places
from ..release import Findings, Release, find_path

VALUES = 24
SCALE = 5  # the manifest's intensities go from 0 to 5, the release's from 0 to 1
THRESHOLD = 0.4  # intensity 2 of 5, the threshold for DISFA, whose videos FEAFA-B annotates again [ours]


EXPLLM = "expllm"
# Of the 24 values that ExpLLM (github.com/starhiking/ExpLLM-TMM, commit d34dd4a), by the group that made FEAFA, ships
# beside texts about the same faces: which words come with which high value [measured by us]. Which side is "left" is
# clear for lids and lip corners only. Names [ours]: a raised brow is AU2, sucked lips are AU28 by the lower one, and
# the sides of AU30 are where the jaw goes.
EXPLLM_ORDER = ",".join(
    (
        *("AU43_left", "AU43_right", "AU5_left", "AU5_right", "AU4_left", "AU4_right", "AU2_left", "AU2_right"),
        *("AU26", "AU30_left", "AU30_right", "AU12_left", "AU12_right", "AU20_left", "AU20_right", "-", "AU28"),
        *("AU29", "AU10", "AU16", "AU17", "AU18", "AU34", "AU9"),
    )
)
INFERRED = (
    "taken from the outputs of a predictor by the group that made FEAFA, not from a document: that .auw files have "
    "this order is an inference. Compare some frames in which one eye is closed or one lip corner is pulled"
)


def names_in(path: str) -> str:
    """The names in a text file, a line each, with commas between them, so that options and sidecars name no file.

    `expllm` stands for the names in `EXPLLM_ORDER`, where there is no such file.
    """
    if path == EXPLLM and not Path(path).exists():
        return EXPLLM_ORDER
    try:
        lines = [line.strip() for line in read_lines(Path(path))]
    except (DatasetLayoutError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return ",".join(line for line in lines if line and not line.startswith("#"))


RELEASE = Release(
    name="feafa",
    title="FEAFA+ (FEAFA-A, FEAFA-B)",
    request="FEAFA+ from Jian Xue, University of Chinese Academy of Sciences (www.iiplab.net/feafa+); FEAFA-B also "
    "needs DISFA's videos",
    terms="research only; neither images nor annotations may be passed on",
    tree="""\
FEAFA-A/PV001.output/00000001.auw              one per frame: 24 numbers from 0 to 1
FEAFA-A/PV001.output/00000001.jpg              the image beside it
FEAFA-B/SN001.output/00000001.auw              DISFA's videos, annotated again
Videos_LeftCamera/LeftVideoSN001_comp.avi      of DISFA, copied or linked into the same folder""",
    au_names=(),
    frames="the number in the name of the label file",
    source="youknowitskyle/farapy-data-tools:FEAFA+/FEAFA_label_process.py, DISFA_label_process.py; "
    "www.iiplab.net/feafa+",
    doubts="the order of the 24 values (name it with --columns FILE), the names of FEAFA-A's images beyond their "
    "number, whether FEAFA-B counts frames from 0 or 1, and which five people of FEAFA-A are in two of its 127 "
    "sequences",
    intensity="values of 0 to 1 times 5, so not in whole numbers; of an action unit with sides the higher one; an "
    "action unit is present from `occurrence_threshold` on",
    levels=SCALE,
    options={
        "columns": {
            "type": names_in,
            "metavar": "FILE",
            "help": f"text file with the {VALUES} names of the values, one per line; needed, see above. `{EXPLLM}`: an "
            "order that is inferred, not known",
        },
        "threshold": {
            "type": float,
            "metavar": "X",
            "help": f"lowest value that counts as active, at most 1 (default: {THRESHOLD})",
        },
        "first": {
            "type": int,
            "choices": (0, 1),
            "help": "number of the first frame of DISFA's videos in FEAFA-B, where the files do not show it",
        },
        "numbering": numbering_option(),
    },
)

UNKNOWN_ORDER = (
    f"Expected `--columns FILE` with the names of the {VALUES} values of FEAFA's .auw files, but got none: the files "
    "have no names, and no public source says in which order the values stand. Take the order from the document that "
    f"came with your copy and write a text file with {VALUES} lines, each AU12, AU12_left or AU12_right (the person's "
    "own side), or - for a value to leave out. "
    f"`--columns {EXPLLM}` takes an order that is inferred from another program's outputs: check it by eye"
)

_FOLDER = re.compile(r"((?:PV|SN)\d{3})(?:\.output)?", re.IGNORECASE)
_NAME = re.compile(r"(.+?)(?:_(left|right))?")
_VIDEOS = ("Videos_LeftCamera", "Video_LeftCamera", "*/Videos_LeftCamera", ".")


def read(
    root: Path,
    findings: Findings,
    *,
    columns: str | None = None,
    threshold: float = THRESHOLD,
    first: int | None = None,
    numbering: str = "auto",
) -> pd.DataFrame:
    """One row per label file: labels, per side where the values are, and intensities from 0 to 5.

    `columns` are the names of the 24 values with commas between them, as `names_in` reads them from a file; the `first`
    frame's number is seen from the label files where it is None.
    """
    if columns is None:
        raise DatasetLayoutError(UNKNOWN_ORDER)
    if not 0 < threshold <= 1:
        raise ValueError(f"Expected `threshold` to be above 0 and at most 1, but got {threshold}")
    names = parse_columns(columns)
    if columns == EXPLLM_ORDER:
        findings.note("order of values", "all .auw files", INFERRED)
    patterns = ("FEAFA-[AB]/*/*.auw", "*.output/*.auw", "*/FEAFA-[AB]/*/*.auw")
    base = find_path(root, *patterns, what="label files such as 00000001.auw").parents[1]
    bases = sorted(base.parent.glob("FEAFA-[AB]")) if base.name.startswith("FEAFA-") else [base]
    folders = sorted(path for each in bases for path in each.iterdir() if path.is_dir())
    matches = [(_FOLDER.fullmatch(folder.name), folder) for folder in folders if next(folder.glob("*.auw"), None)]
    labels = [(match.group(1).upper(), folder) for match, folder in matches if match]
    if not labels:
        raise DatasetLayoutError(
            f"Expected folders such as PV001.output with label files in {base}, but there is none; check the copy"
        )

    def paired() -> Iterator[tuple[Key, pd.DataFrame]]:
        for subject, folder in labels:
            rows = _read_folder(folder, names, threshold)
            rows = _pair(rows, root, folder, subject, first, numbering, findings)
            yield (subject, "FEAFA-A" if subject.startswith("PV") else "FEAFA-B"), rows

    table = join_sequences(paired(), findings, where=itemgetter(0))
    table = table.sort_values(["subject", "sequence", "frame"], kind="stable", ignore_index=True)
    return table.assign(fold=table["subject"].map(_folds(table["subject"].unique().tolist())).astype(object))


def _folds(subjects: list[str]) -> dict[str, str | None]:
    """The part of each subject; people of DISFA are in DISFA's parts."""
    disfa = [subject for subject in subjects if subject.startswith("SN")]
    return fold_of(RELEASE.name, set(subjects) - set(disfa)) | fold_of("disfa", disfa)


def parse_columns(columns: str) -> list[tuple[str, str] | None]:
    """Action unit and side of each of the 24 values, None for those to leave out."""
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
                f"`--columns`: expected {au} once, or as {au}_left and {au}_right, but got {len(sides)} of it; give a "
                "value - instead"
            )
    if not known:
        raise DatasetLayoutError("`--columns`: expected at least one action unit, but all values are left out")
    return found


def _read_folder(folder: Path, names: list[tuple[str, str] | None], threshold: float) -> pd.DataFrame:
    files = index_frames(folder, "*.auw")
    frames = list(files)
    values = np.array([_read_values(files[frame]) for frame in frames])
    columns: dict[str, np.ndarray] = {"frame": np.array(frames, dtype=np.int64)}
    for au in dict.fromkeys(name[0] for name in names if name is not None):
        sides = {name[1]: values[:, at] for at, name in enumerate(names) if name is not None and name[0] == au}
        highest = np.max(list(sides.values()), axis=0)
        columns[au] = occurrence(highest, threshold)
        columns |= {f"{au}_{side}": occurrence(one, threshold) for side, one in sides.items() if side}
        columns[f"{au}_intensity"] = SCALE * highest
    return pd.DataFrame(columns)


def _read_values(path: Path) -> list[float]:
    rows = [values for _, values in number_rows(path)]
    if len(rows) != 1 or len(rows[0]) != VALUES:
        raise DatasetLayoutError(
            f"{path}: expected one line of {VALUES} numbers, but got {sum(map(len, rows))} in {len(rows)} lines; copy "
            "it again"
        )
    bad = next((value for value in rows[0] if not 0 <= value <= 1), None)
    if bad is not None:
        raise DatasetLayoutError(
            f"{path}: expected numbers from 0 to 1, but got {bad}; compare the file with the release"
        )
    return rows[0]


def _pair(
    rows: pd.DataFrame, root: Path, folder: Path, subject: str, first: int | None, numbering: str, findings: Findings
) -> pd.DataFrame:
    """Rows of a sequence with the images beside the label files, or with DISFA's video of the subject."""
    for images in (folder, folder.with_name(subject)):
        if images.is_dir() and (found := index_frames(images)):
            return pair_files(rows, root, found)
    video = next((path for place in _VIDEOS for path in sorted(root.glob(f"{place}/LeftVideo{subject}*.avi"))), None)
    if video is None:
        text = "neither images nor a video of DISFA's left camera is there for them"
        findings.miss(folder.relative_to(root).as_posix(), text)
        return pair_files(rows, root, {})
    shift = 1 - (_first_frame(rows["frame"].to_numpy(), video) if first is None else first)
    paired = pair_video(rows.assign(frame=rows["frame"] + shift), root, video, findings, numbering=numbering)
    return paired.assign(frame=rows["frame"])


def _first_frame(frames: np.ndarray, video: Path) -> int:
    if 0 in frames:
        return 0
    places = read_places(video)
    if places is not None and frames.max() in (places.length, len(places.times)):
        return 1
    raise DatasetLayoutError(
        f"Expected the label files of {video.name} to show if frames count from 0 or 1 (a file 00000000.auw, or a last "
        f"file of the video's length), but they are {frames.min()} to {frames.max()}; compare a blink in both and say "
        "--first 0 or --first 1"
    )

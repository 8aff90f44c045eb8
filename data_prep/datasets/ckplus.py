"""CK+: 593 posed sequences of 123 people, FACS codes of the last frame of each, the peak."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from auformer.aus import ACTION_UNITS
from auformer.errors import DatasetLayoutError

from ..formats.au_text import AUText, Term, label_columns
from ..formats.folds import with_folds
from ..formats.frames import index_frames, index_sequences, pair_photos
from ..formats.text_lines import bad_line, code, number_rows
from ..release import Findings, Release, find_path

SEQUENCES = 593  # release notes of CK+, 28 September 2010

RELEASE = Release(
    name="ckplus",
    title="CK+ (Extended Cohn-Kanade)",
    request="CK+ (cohn-kanade-images.zip, FACS_labels.zip) from Jeffrey Cohn, University of Pittsburgh, by a signed "
    "agreement",
    terms="research only; neither images nor annotations may be passed on, few of the people may be shown in print",
    tree="""\
FACS/S005/001/S005_001_00000011_facs.txt            one per sequence, for its last frame, the peak
cohn-kanade-images/S005/001/S005_001_00000011.png   the whole sequence; only the coded frame is read""",
    # Lucey et al. 2010, table 2, as far as they are AUs of `auformer.aus`
    au_names=tuple(
        f"AU{number}" for number in (1, 2, 4, 5, 6, 7, *range(9, 19), 20, 21, *range(23, 30), 31, 34, 38, 39, 43)
    ),
    frames="the number in the image's name; of a sequence only the peak is coded, the neutral first frame has no row",
    source="lingjivoo/OpenGraphAU:tool/dataset_process.py; cosanlab/py-feat:scripts/extract_au_training_features.py; "
    "release notes of CK+",
    intensity="1 to 5 as coded, 0 where an action unit is not listed, empty where the release says 0 (present, not "
    "scored)",
    doubts="the list of action units (Lucey et al. 2010, table 2) was not checked against the paper; one of it that "
    "no file names is 0",
)

_LABELS = re.compile(r"(S\d+)_(\d+)_(\d+)_facs\.txt", re.IGNORECASE)
_FOLDERS = ("FACS/", "FACS_labels/FACS/", "FACS_labels/")
_IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")


def read(root: Path, findings: Findings) -> pd.DataFrame:
    """One row per coded frame.

    A coded AU is 1, every other one 0; the intensity is empty where the release says 0, which there means present and
    not scored.
    """
    patterns = [f"{folder}S*/*/*_facs.txt" for folder in _FOLDERS]
    first = find_path(root, *patterns, what="FACS files such as S005_001_00000011_facs.txt")
    labels = _find_labels(first.parents[2])
    folders = index_sequences(find_path(root, *_IMAGES, what="the folder cohn-kanade-images"), "S*/*")
    coded = {key[:2] for key in labels}
    for sequence in sorted(set(folders) - coded):
        findings.miss(folders[sequence].relative_to(root).as_posix(), "the FACS file of these images is not there")
    if len(coded) < SEQUENCES:
        findings.note("sequences that are not there", "FACS", f"{SEQUENCES - len(coded)} of {SEQUENCES}")
    keys = sorted(labels)
    images = [_find_image(key, folders.get(key[:2]), labels[key], root, findings) for key in keys]
    rows = pd.DataFrame(keys, columns=["subject", "sequence", "frame"])
    coding = label_columns([_read_facs(labels[key], findings) for key in keys], RELEASE.au_names)
    return with_folds(pair_photos(pd.concat([rows, coding], axis=1), root, images), RELEASE.name)


def _find_labels(folder: Path) -> dict[tuple[str, str, int], Path]:
    found: dict[tuple[str, str, int], Path] = {}
    for path in sorted(folder.glob("S*/*/*_facs.txt")):
        match = _LABELS.fullmatch(path.name)
        if match is None:
            continue
        key = (match.group(1).upper(), match.group(2), int(match.group(3)))
        if key in found:
            raise DatasetLayoutError(
                f"Expected one FACS file per frame, but {found[key]} and {path} are for the same; remove one"
            )
        found[key] = path
    return found


def _read_facs(path: Path, findings: Findings) -> AUText:
    aus: dict[str, Term] = {}
    for line, values in number_rows(path):
        if len(values) != 2:
            raise bad_line(path, line, "an action unit and its intensity", f"{len(values)} numbers")
        au = f"AU{code(values[0], range(1, 100), 'action unit', path, line)}"
        intensity = code(values[1], range(6), "intensity", path, line) or None
        if au not in ACTION_UNITS:
            findings.note("codes that are no action unit", path.name, f"{au[2:]} is left out")
            continue
        if au in aus:
            findings.note("action unit listed twice", path.name, f"{au}: the higher intensity is kept")
            intensity = max(intensity or 0, aus[au].intensity or 0) or None
        aus[au] = Term("", intensity)
    if not aus:
        findings.note("FACS file without an action unit", path.name, "all are read as absent")
    return AUText(aus)


def _find_image(
    key: tuple[str, str, int], folder: Path | None, path: Path, root: Path, findings: Findings
) -> Path | None:
    if folder is None:
        findings.miss(path.relative_to(root).as_posix(), "the images of this FACS file are not there")
        return None
    image = index_frames(folder).get(key[2])
    if image is None:
        text = f"frame {key[2]} is not among the images of its sequence"
        findings.note("labels without an image", path.name, text)
    return image

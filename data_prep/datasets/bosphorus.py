"""Bosphorus: 105 people pose action units and emotions before a 3D scanner; FACS codes with side and intensity of each picture."""

from __future__ import annotations

import argparse
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from auformer.errors import DatasetLayoutError

from ..formats.au_text import AUText, label_columns, note_terms, parse_aus
from ..formats.folds import with_folds
from ..formats.frames import find_photo, index_photos, pair_photos
from ..formats.text_lines import read_lines
from ..release import Findings, Release, find_path

SUBJECTS = tuple(
    f"bs{number:03d}" for number in range(105)
)  # 105 people by the owner's page; numbered from 0 in public code

RELEASE = Release(
    name="bosphorus",
    title="Bosphorus",
    request="Bosphorus (colour pictures, facscodes) from Lale Akarun, Boğaziçi University, by a signed agreement",
    terms="research only; neither pictures nor annotations may be passed on",
    tree="""\
facscodes/facscodes.lst                            two lines of header, then bs000_LFAU_12_0 -> 12C
BosphorusDB/BosphorusDB/bs000/bs000_LFAU_12_0.png   also BosphorusDB/bs000/ or bs000/""",
    au_names=tuple(f"AU{number}" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 43)),
    frames="the last number in the picture's name, which counts repetitions from 0",
    source="TadasBaltrusaitis/OpenFace:matlab_runners/Action Unit Experiments/helpers/extract_Bosphorus_labels.m, find_Bosphorus.m",
    doubts="pictures turned or tilted away (CR, YR, PR_U, PR_D in the name) are left out, as OpenFace does; "
    "an action unit without a letter has no intensity here, OpenFace takes 3",
)

_NAME = re.compile(r"(bs\d{3})_(\w+)_(\d+)", re.ASCII)
_TURNED = re.compile(r"_(CR|YR|PR_U|PR_D)")
_HEADER = 2  # lines


class _Line(NamedTuple):
    """One line of the list: its number, the picture's name, subject, expression, repetition, and what was coded."""

    number: int
    name: str
    subject: str
    expression: str
    repetition: int
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bosphorus has no options of its own."""


def read(root: Path, findings: Findings) -> pd.DataFrame:
    """One row per coded picture that shows the face from the front.

    Args:
        root: Folder of the release.
        findings: Take what is met.

    Returns:
        Rows as `auformer.data_prep.release` describes them: labels, sides and intensities; the sequence is the posed expression.

    Raises:
        DatasetLayoutError: The tree or the list is not as expected.
    """
    path = find_path(
        root, "facscodes/facscodes.lst", "facscodes.lst", "*/*/facscodes.lst", what="the list facscodes.lst"
    )
    patterns = ("BosphorusDB/BosphorusDB/bs*", "BosphorusDB/bs*", "bs*", "*/bs*")
    photos = index_photos(find_path(root, *patterns, what="folders of people such as bs000").parent)
    lines = [line for line in _read_list(path) if not _TURNED.search(line.name)]
    turned = len(_read_list(path)) - len(lines)
    if turned:
        findings.note(
            "pictures of turned or tilted heads", path.name, f"{turned:,} are left out (CR, YR, PR_U, PR_D in the name)"
        )
    texts = [_read_text(line, path.name, findings) for line in lines]
    rows = pd.DataFrame(
        {
            "subject": [line.subject for line in lines],
            "sequence": [line.expression for line in lines],
            "frame": [line.repetition for line in lines],
        }
    )
    rows = pair_photos(
        pd.concat([rows, label_columns(texts, RELEASE.au_names)], axis=1),
        root,
        [find_photo(photos, f"{line.name}.png") for line in lines],
    )
    _report(rows, photos, findings)
    return with_folds(
        rows.sort_values(["subject", "sequence", "frame"], kind="stable", ignore_index=True), RELEASE.name
    )


def _read_list(path: Path) -> list[_Line]:
    """The lines of the list after its header.

    Raises:
        DatasetLayoutError: A line is none of the list's, or a picture has two lines.
    """
    found: dict[str, _Line] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name, arrow, text = line.partition("->")
        stem = PurePosixPath(name.strip()).stem
        match = _NAME.fullmatch(stem) if arrow else None
        if match is None:
            if number <= _HEADER or not line.strip():
                continue
            raise DatasetLayoutError(
                f"{path}, line {number}: expected `bs000_LFAU_12_0 -> 12C` or the like, but got {line!r}"
            )
        if stem in found:
            raise DatasetLayoutError(
                f"{path}, line {number}: {stem} is there for the second time, as in line {found[stem].number}; remove one"
            )
        found[stem] = _Line(number, stem, match.group(1), match.group(2), int(match.group(3)), text.strip())
    return list(found.values())


def _read_text(line: _Line, name: str, findings: Findings) -> AUText:
    """The codes of one line; what they leave open is reported."""
    text = parse_aus(line.text)
    note_terms(text, line.text, f"{name} line {line.number}", findings)
    if not (text.complete or text.unread or text.ambiguous):
        findings.note("pictures without codes", f"{name} line {line.number}", f"{line.name}: all action units unknown")
    return text


def _report(rows: pd.DataFrame, photos: dict[str, list[Path]], findings: Findings) -> None:
    """Say whose pictures or codes are not there."""
    pictured = {name[:5] for name in photos}
    for subject, group in rows.groupby("subject", sort=True):
        lost = group[group["status"] != "ok"]
        if len(lost) == len(group):
            findings.miss(f"{subject}", "the pictures of these codes are not there")
        elif len(lost):
            first = lost.iloc[0]
            name = f"{subject}_{first['sequence']}_{first['frame']}"
            findings.note(
                "labels without a picture", str(subject), f"{len(lost):,} of {len(group):,}, the first is {name}"
            )
    coded = set(rows["subject"])
    for subject in sorted({name for name in pictured if re.fullmatch(r"bs\d{3}", name)} - coded):
        findings.miss(subject, "the codes of these pictures are not there")
    findings.lack("subjects", [subject for subject in SUBJECTS if subject not in coded | pictured])

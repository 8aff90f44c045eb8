"""Bosphorus: 105 people pose AUs and emotions before a 3D scanner; FACS codes with side and intensity of each image."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from ..formats.au_text import AUText, label_columns, note_terms, parse_aus
from ..formats.folds import with_folds
from ..formats.frames import find_photo, index_photos, pair_photos
from ..formats.text_lines import bad_line, read_lines, second_line
from ..release import Findings, Release, find_path

SUBJECTS = tuple(f"bs{number:03d}" for number in range(105))  # by the owner's page; numbered from 0 in public code

RELEASE = Release(
    name="bosphorus",
    title="Bosphorus",
    request="Bosphorus (colour images, facscodes) from Lale Akarun, Boğaziçi University, by a signed agreement",
    terms="research only; neither images nor annotations may be passed on",
    tree="""\
facscodes/facscodes.lst                            two lines of header, then bs000_LFAU_12_0 -> 12C
BosphorusDB/BosphorusDB/bs000/bs000_LFAU_12_0.png   also BosphorusDB/bs000/ or bs000/""",
    au_names=tuple(f"AU{number}" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 43)),
    frames="the last number in the image's name, which counts repetitions from 0",
    source="TadasBaltrusaitis/OpenFace:matlab_runners/Action Unit Experiments/helpers/extract_Bosphorus_labels.m, "
    "find_Bosphorus.m",
    doubts="images turned or tilted away (CR, YR, PR_U, PR_D in the name) are left out, as OpenFace does; an action "
    "unit without a letter has no intensity here, OpenFace takes 3",
)

_LISTS = ("facscodes/facscodes.lst", "facscodes.lst", "*/*/facscodes.lst")
_NAME = re.compile(r"(bs\d{3})_(\w+)_(\d+)", re.ASCII)
_TURNED = re.compile(r"_(CR|YR|PR_U|PR_D)")
_HEADER = 2  # lines


class _Line(NamedTuple):
    """One line of the list: its number, the image's name, subject, expression, repetition, and what was coded."""

    number: int
    name: str
    subject: str
    expression: str
    repetition: int
    text: str


def read(root: Path, findings: Findings) -> pd.DataFrame:
    """One row per coded frontal image: labels, sides and intensities; the sequence is the posed expression."""
    path = find_path(root, *_LISTS, what="the list facscodes.lst")
    patterns = ("BosphorusDB/BosphorusDB/bs*", "BosphorusDB/bs*", "bs*", "*/bs*")
    photos = index_photos(find_path(root, *patterns, what="folders of people such as bs000").parent)
    listed = _read_list(path)
    lines = [line for line in listed if not _TURNED.search(line.name)]
    if turned := len(listed) - len(lines):
        text = f"{turned:,} are left out (CR, YR, PR_U, PR_D in the name)"
        findings.note("images of turned or tilted heads", path.name, text)
    texts = [_read_text(line, path.name, findings) for line in lines]
    keys = [(line.subject, line.expression, line.repetition) for line in lines]
    rows = pd.DataFrame(keys, columns=["subject", "sequence", "frame"])
    images = [find_photo(photos, f"{line.name}.png") for line in lines]
    rows = pair_photos(pd.concat([rows, label_columns(texts, RELEASE.au_names)], axis=1), root, images)
    _report(rows, photos, findings)
    rows = rows.sort_values(["subject", "sequence", "frame"], kind="stable", ignore_index=True)
    return with_folds(rows, RELEASE.name)


def _read_list(path: Path) -> list[_Line]:
    found: dict[str, _Line] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name, arrow, text = line.partition("->")
        stem = PurePosixPath(name.strip()).stem
        match = _NAME.fullmatch(stem) if arrow else None
        if match is None:
            if number <= _HEADER or not line.strip():
                continue
            raise bad_line(path, number, "`bs000_LFAU_12_0 -> 12C` or the like", repr(line))
        if stem in found:
            raise second_line(path, number, stem, found[stem].number)
        found[stem] = _Line(number, stem, match.group(1), match.group(2), int(match.group(3)), text.strip())
    return list(found.values())


def _read_text(line: _Line, name: str, findings: Findings) -> AUText:
    text = parse_aus(line.text)
    note_terms(text, repr(line.text), f"{name} line {line.number}", findings)
    if not (text.complete or text.unread or text.ambiguous):
        findings.note("images without codes", f"{name} line {line.number}", f"{line.name}: all action units unknown")
    return text


def _report(rows: pd.DataFrame, photos: dict[str, list[Path]], findings: Findings) -> None:
    for subject, group in rows.groupby("subject", sort=True):
        lost = group[group["status"] != "ok"]
        if len(lost) == len(group):
            findings.miss(str(subject), "the images of these codes are not there")
        elif len(lost):
            first = lost.iloc[0]
            name = f"{subject}_{first['sequence']}_{first['frame']}"
            text = f"{len(lost):,} of {len(group):,}, the first is {name}"
            findings.note("labels without an image", str(subject), text)
    coded, shown = set(rows["subject"]), {name[:5] for name in photos}
    for subject in sorted({name for name in shown if re.fullmatch(r"bs\d{3}", name)} - coded):
        findings.miss(subject, "the codes of these images are not there")
    findings.lack("subjects", [subject for subject in SUBJECTS if subject not in coded | shown])

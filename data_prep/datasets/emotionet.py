"""EmotioNet: photos from the web with labels of up to 60 AUs, in a spreadsheet or text files with their addresses."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from auformer.aus import ACTION_UNITS, AU_SETS
from auformer.data.cells import cell_text
from auformer.errors import DatasetLayoutError

from ..formats.folds import with_folds
from ..formats.frames import find_photo, index_photos, pair_photos
from ..formats.sheets import place, read_sheet
from ..formats.text_lines import bad_line
from ..release import Findings, Release, find_path

COLUMNS = 62  # of a challenge file: two addresses, AU1 to AU60
LABELS = {"0": 0, "1": 1, "999": -1, "": -1}  # 999 and an empty cell: not annotated

RELEASE = Release(
    name="emotionet",
    title="EmotioNet",
    request="EmotioNet (labels, and the images, since most addresses are dead) from Aleix Martinez, Ohio State "
    "University",
    terms="research only; neither images nor annotations may be passed on; the images belong to their authors",
    tree="""\
emotionet_facs_24600.xlsx      the manual set, also EmotioNet_FACS_aws_2020_24600.xlsx or .csv: columns 'AU 1', ..., URL
dataFile_0001.txt              or the challenge files, with tabs and without header: address, first address, AU1 to AU60
image_list_1.csv               or lists with the columns path, AU1, ..., AU60
imgs/N_0000000001_00001.jpg    images at any depth, named as at the end of their address; see --images""",
    au_names=AU_SETS["emotionet23"],
    frames="0; the name of the image is the subject, since nothing is said about who is shown",
    source="lkq52110/au-recognition:tool/EmotioNet_image_label_process_first.py; "
    "radekd91/emoca:gdl/datasets/EmotioNetDataModule.py; cosanlab/py-feat:scripts/extract_au_training_features.py; "
    "ZhiwenShao/ADLD",
    doubts="only the first sheet of a spreadsheet is read; numbers from 1 to 60 that are no action unit are left out",
    options={
        "table": {"metavar": "NAME", "help": "table of labels below --root, * for several (default: the one there is)"},
        "images": {"metavar": "DIR", "help": "folder of the images below --root (default: anywhere below it)"},
    },
)

# Names of the three forms, the manual set first; a copy that holds several needs --table.
TABLES = ("emotionet_facs*.xlsx", "EmotioNet_FACS*.xlsx", "EmotioNet_FACS*.csv", "dataFile_*.txt", "image_list_*.csv")
_PLACES = ("", "labels/", "*/")
_ADDRESS = ("URL", "path")


# Columns of the three forms that are action units; 3, 40 and some more are not.
NUMBERS = tuple(number for number in range(1, 61) if f"AU{number}" in ACTION_UNITS)

Row = tuple[str, str, list[str | None]]  # where it stands, address of the photo, cells in the order of NUMBERS


def read(root: Path, findings: Findings, *, table: str | None = None, images: str | None = None) -> pd.DataFrame:
    """One row per photo that a table names: labels of the challenge's 23 AUs and of all others that are annotated."""
    files = _find_tables(root, table)
    photos = index_photos(root if images is None else find_path(root, images, what="the folder of --images"))
    names, coded = _read_tables(files, findings)
    found = [find_photo(photos, name) for name in names]
    where = files[0].relative_to(root).as_posix()
    lost = sum(path is None for path in found)
    if lost == len(found):
        findings.miss(where, "not one of the images that it names is there; say where they are with --images")
    elif lost:
        text = f"{lost:,} of {len(found):,} photos are known by their address only"
        findings.note("labels without an image", where, text)
    rows = pd.DataFrame({"subject": [PurePosixPath(name).stem for name in names], "sequence": "photo", "frame": 0})
    rows = pair_photos(pd.concat([rows, coded], axis=1), root, found)
    return with_folds(rows.sort_values("subject", kind="stable", ignore_index=True), RELEASE.name)


def _find_tables(root: Path, table: str | None) -> list[Path]:
    if table is not None:
        find_path(root, table, what="the table of --table")
        return sorted(root.glob(table))
    patterns = [f"{place}{name}" for name in TABLES for place in _PLACES]
    find_path(root, *patterns, what="a table of labels such as emotionet_facs_24600.xlsx")
    found = {name: sorted({path for place in _PLACES for path in root.glob(place + name)}) for name in TABLES}
    found = {name: paths for name, paths in found.items() if paths}
    if len(found) > 1:
        named = ", ".join(str(paths[0].relative_to(root)) for paths in found.values())
        raise DatasetLayoutError(
            f"Expected one kind of table in {root}, but got {named}; they may name a photo twice, so say which: "
            "--table NAME"
        )
    return next(iter(found.values()))


def _read_tables(files: list[Path], findings: Findings) -> tuple[list[str], pd.DataFrame]:
    """Names of the photos, each once, and their labels of the release's AUs and of all others that are annotated."""
    names: dict[str, str] = {}  # without suffix -> as the table has it
    codes = bytearray()  # label + 1 of one photo after the other: a million photos take 60 MB
    twice: list[str] = []
    for where, address, cells in (row for path in files for row in _rows(path, findings)):
        name = _name(address)
        stem = PurePosixPath(name).stem
        if not stem:
            raise DatasetLayoutError(
                f"{where}: expected the address or path of a photo, but got {address!r}; compare it with the release"
            )
        labels = [_label(cell, number, where) for number, cell in zip(NUMBERS, cells, strict=True)]
        if stem in names:
            twice.append(where)
            continue
        names[stem] = name
        codes += bytes(label + 1 for label in labels)
    if not names:
        raise DatasetLayoutError(f"{files[0]}: expected a row per photo, but there is none; copy the table again")
    if twice:
        text = f"{len(twice):,} rows in all; the labels of a photo's first row are kept"
        findings.note("photos named twice", twice[0], text)
    coded = np.frombuffer(codes, dtype=np.uint8).reshape(len(names), len(NUMBERS)).astype(np.int8) - 1
    table = pd.DataFrame(coded, columns=[f"AU{number}" for number in NUMBERS])
    coded_aus = [name for name in table.columns if name in RELEASE.au_names or (table[name] >= 0).any()]
    return list(names.values()), table[coded_aus]


def _rows(path: Path, findings: Findings) -> Iterator[Row]:
    if path.suffix.lower() in (".xlsx", ".xls"):
        columns = {f"AU{number}": (f"AU {number}",) for number in NUMBERS}
        sheet = read_sheet(path, columns={"photo": _ADDRESS, **columns}, optional=list(columns), findings=findings)
        for row, (address, *cells) in zip(sheet.index, sheet.itertuples(index=False), strict=True):
            yield place(sheet, row), cell_text(address), [cell_text(cell) for cell in cells]
        return
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            yield from _text_rows(path, csv.reader(file, delimiter="\t" if path.suffix.lower() == ".txt" else ","))
        except (UnicodeDecodeError, csv.Error) as error:
            text = f"{path}: expected a table, but it cannot be read as text ({error}); copy it again"
            raise DatasetLayoutError(text) from error


def _text_rows(path: Path, lines: Iterator[list[str]]) -> Iterator[Row]:
    """Rows of a text table: of a challenge file by position, of the others by the header."""
    at, first, width = 0, 1, COLUMNS
    positions: list[int | None] = [number + 1 for number in NUMBERS]
    if path.suffix.lower() != ".txt":
        header = [cell.strip().strip("'\"").replace(" ", "").lower() for cell in next(lines, [])]
        at = next((header.index(name.lower()) for name in _ADDRESS if name.lower() in header), -1)
        positions = [header.index(f"au{number}") if f"au{number}" in header else None for number in NUMBERS]
        first, width = 2, len(header)
        if at < 0 or positions == [None] * len(positions):
            raise DatasetLayoutError(
                f"{path}: expected columns URL (or path) and 'AU 1', but the header is {', '.join(header) or 'empty'}"
            )
    for number, cells in enumerate(lines, start=first):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != width:
            raise bad_line(path, number, f"{width} columns", len(cells), "copy the file again")
        labels = [None if position is None else cells[position].strip() for position in positions]
        yield f"{path.name} line {number}", cells[at], labels


def _name(address: str) -> str:
    """Path of a photo in its address, or the path itself.

    >>> _name("'http://host/emotionet/N_0000000001/N_0000000001_00001.jpg'"), _name("images/a%20b.png?size=2")
    ('emotionet/N_0000000001/N_0000000001_00001.jpg', 'images/a b.png')
    """
    return unquote(urlsplit(address.strip().strip("'\"").strip()).path).lstrip("/")


def _label(cell: str | None, number: int, where: str) -> int:
    text = "" if cell is None else cell.removesuffix(".0")
    if text not in LABELS:
        raise DatasetLayoutError(
            f"{where}: expected AU{number} to be 0, 1 or 999, but got {cell!r}; compare it with the release"
        )
    return LABELS[text]

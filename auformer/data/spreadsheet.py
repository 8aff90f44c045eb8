"""Spreadsheet files as plain values: no formula is evaluated, no link followed, no entity expanded.

`.xlsx` goes through openpyxl, after a look of defusedxml at each part; `.xls` through xlrd. The file's first bytes
decide which of the two, not its name. A cell that is merged with others gives its value to those below it, a number
also to those beside it: text beside it is a title.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

from auformer.data.cells import DateCell
from auformer.errors import ManifestError, require

_MOST_ROWS = 1_048_576  # rows of a sheet in Excel 2007 and later
_MOST_COLUMNS = 16_384
# bytes of one part of an .xlsx unpacked; EmotioNet's 24,600 rows of 62 cells take about 60 MiB [ours]
_LARGEST = 512 * 2**20
_DENSEST = 200  # unpacked by packed size; sheets of zeros and ones reach 50, a bomb 1,000 [ours]
_SMALL = 8 * 2**20  # bytes; below, no factor counts [ours]
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s")
_PIECE = 1 << 20  # bytes

_OLD = b"\xd0\xcf\x11\xe0"  # a container of Microsoft's, in which .xls and encrypted .xlsx come
# First bytes of files that are taken for tables, and what to do about them.
_OTHERS = (
    (b"$FL2", "an SPSS file: save it there as CSV"), (b"$FL3", "an SPSS file: save it there as CSV"),
    (b"<stata_dta>", "a Stata file: export it there as CSV"), (b"RDX", "a file of R: write it there with write.csv"),
    (b"MATLAB ", "a file of MATLAB: write it there with writetable"), (b"\x80\x04", "a pickle, which is program code"),
    (b"\x80\x05", "a pickle, which is program code"), (b"\x1f\x8b", "compressed (gzip): unpack it"),
    (b"%PDF", "a PDF: copy the table into a spreadsheet"), (b"SQLite format 3", "a database: export the table as CSV"),
)  # fmt: skip
_PAGES = (b"<!doctype html", b"<html", b"<table", b"<head", b"<meta")


@dataclass
class Sheet:
    """The cells of one sheet: text without blanks around it, int, float, bool, `DateCell` or None.

    Args:
        title: Its name.
        rows: From the first on, without blank rows at the end; they may differ in length.
        visible: Whether a spreadsheet program shows it.
        merged: How many groups of cells are merged.
    """

    title: str
    rows: list[tuple[Any, ...]]
    visible: bool = True
    merged: int = 0


def is_spreadsheet(path: Path) -> bool:
    """Whether a file is a spreadsheet by its first bytes, or else by its name and because it is no text.

    Raises:
        ManifestError: It is a file that is neither a spreadsheet nor text; the message says what, and what to do.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return True
    for start, what in _OTHERS:
        if head.startswith(start):
            raise ManifestError(f"{path}: this is {what}")
    plain = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if plain.startswith(_PAGES):
        raise ManifestError(
            f"{path}: this is a web page with a table: open it in a spreadsheet program, save it as CSV"
        )
    if plain.startswith(b"<?xml") and b"spreadsheet" in plain:
        raise ManifestError(f"{path}: this is an XML spreadsheet of Excel 2003: save it there as .xlsx or CSV")
    return head.startswith(_OLD) or (path.suffix.lower() == ".xls" and head[:1] == b"\t")  # 9, of its first record


def read_sheets(path: Path, *, formulas: bool = False) -> list[Sheet]:
    """All sheets; with `formulas`, their text (`=A1+1`) in place of the stored values.

    Raises:
        ManifestError: The file cannot be read as a spreadsheet or is refused.
        MissingExtraError: openpyxl, defusedxml or xlrd is not installed.
    """
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(4) == b"PK\x03\x04"
        sheets = _xlsx(path, formulas) if is_zip else _xls(path)
    except (ManifestError, ImportError):
        raise
    except Exception as error:  # damaged files come out of the parsers as errors of every kind
        cause: BaseException = error
        while cause.__cause__ is not None:  # openpyxl wraps errors in others that only name the file
            cause = cause.__cause__
        reason = f"{type(cause).__name__}: {cause}".split("\n")[0][:200]
        raise ManifestError(
            f"Expected a spreadsheet at {path}, but it cannot be read ({reason}); copy it again, or save it anew "
            "without a password"
        ) from error
    for sheet in sheets:
        while sheet.rows and all(value is None for value in sheet.rows[-1]):
            sheet.rows.pop()
    if not sheets:
        raise ManifestError(f"Expected a sheet in {path}, but it has none")
    return sheets


def _plain(value: Any, form: str = "") -> object:
    if isinstance(value, date | time | timedelta):
        return DateCell(value, form)
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | DateCell) else str(value)


def _of_cell(cell: Any) -> object:
    """The value of a cell of openpyxl."""
    return (
        _plain(cell.value, cell.number_format)
        if isinstance(cell.value, date | time | timedelta)
        else _plain(cell.value)
    )


def _rows(rows: Iterator[Iterable[Any]], path: Path) -> list[tuple]:
    kept = [tuple(itertools.islice(row, _MOST_COLUMNS)) for row in itertools.islice(rows, _MOST_ROWS + 1)]
    if len(kept) > _MOST_ROWS:
        raise ManifestError(
            f"Expected at most {_MOST_ROWS:,} rows in {path}, but it has more; this is no table of a release"
        )
    return kept


def _xlsx(path: Path, formulas: bool) -> list[Sheet]:
    openpyxl = require("openpyxl", "prepare")
    require("defusedxml", "prepare")
    if not openpyxl.DEFUSEDXML:
        raise ManifestError(
            "Expected openpyxl to use defusedxml, but OPENPYXL_DEFUSEDXML turns it off; unset that variable"
        )
    has_merged = _check_parts(path)
    book = openpyxl.load_workbook(path, read_only=True, data_only=not formulas, keep_links=False)
    sheets = []
    try:
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # the size that the file states may be wrong
            rows = _rows((map(_of_cell, row) for row in sheet.iter_rows()), path)
            sheets.append(Sheet(sheet.title, rows, sheet.sheet_state == "visible"))
    finally:
        book.close()
    if has_merged:  # which cells are merged is told by the other mode only
        whole = openpyxl.load_workbook(path, data_only=not formulas, keep_links=False)
        for sheet, full in zip(sheets, whole.worksheets, strict=True):
            for cells in full.merged_cells.ranges:
                sheet.merged += 1
                _fill(sheet.rows, cells.min_row - 1, cells.max_row - 1, cells.min_col - 1, cells.max_col - 1)
    return sheets


def _check_parts(path: Path) -> bool:
    """Whether a sheet has merged cells.

    Raises:
        ManifestError: The file is another kind of archive, or unpacks to more than a spreadsheet would.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: part for part in archive.infolist()}
        for part in parts.values():
            dense = part.file_size > _SMALL and part.file_size > _DENSEST * max(1, part.compress_size)
            if dense or part.file_size > _LARGEST:
                sizes = f"{part.compress_size:,} to {part.file_size:,} bytes"
                raise ManifestError(f"{path} is refused: its part {part.filename!r} unpacks {sizes}")
        if "mimetype" in parts and b"opendocument" in archive.read("mimetype"):
            raise ManifestError(f"{path}: this is an OpenDocument spreadsheet: save it as .xlsx or CSV")
        if "xl/workbook.bin" in parts:
            raise ManifestError(f"{path}: this is a binary spreadsheet (.xlsb): save it in Excel as .xlsx or CSV")
        if any(name.startswith("Index/") for name in parts):
            raise ManifestError(f"{path}: this is a spreadsheet of Numbers: export it there as Excel or CSV")
        for part in parts.values():
            _check_declarations(archive, part)
        return any(_has_merged(archive, part) for part in parts.values() if part.filename.startswith("xl/worksheets/"))


def _check_declarations(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Refuse a part that declares entities: openpyxl reads it with lxml where that is installed, not with defusedxml.

    Raises:
        defusedxml.EntitiesForbidden: It does; `read_sheets` says so.
    """
    if not part.filename.endswith((".xml", ".rels")):
        return
    reader = require("defusedxml.ElementTree", "prepare")
    with archive.open(part) as stream, contextlib.suppress(reader.ParseError):  # a damaged part is openpyxl's to name
        next(iter(reader.iterparse(stream, events=("start",))), None)  # up to the root: declarations stand before it


def _has_merged(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether the text of a sheet names merged cells."""
    with archive.open(part) as stream:
        before = b""
        while piece := stream.read(_PIECE):
            if _MERGED.search(before + piece):
                return True
            before = piece[-64:]
    return False


def _fill(rows: list[tuple], top: int, bottom: int, left: int, right: int) -> None:
    """Give the value of merged cells, which stands in the first of them, to those that it stands for."""
    value = rows[top][left] if top < len(rows) and left < len(rows[top]) else None
    if value is None:
        return
    right = left if isinstance(value, str) else right
    for at in range(top, min(bottom + 1, len(rows))):
        row = list(rows[at]) + [None] * (right + 1 - len(rows[at]))
        row[left : right + 1] = [value] * (right + 1 - left)
        rows[at] = tuple(row)


def _xls(path: Path) -> list[Sheet]:
    """The sheets of an `.xls`, which keeps the formulas' values only."""
    xlrd = require("xlrd", "prepare")
    with xlrd.open_workbook(str(path), logfile=io.StringIO(), formatting_info=True) as book:

        def plain(cell: Any) -> object:
            if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
                return None
            if cell.ctype == xlrd.XL_CELL_NUMBER:
                return int(cell.value) if float(cell.value).is_integer() else _plain(cell.value)
            if cell.ctype == xlrd.XL_CELL_DATE:
                form = book.format_map[book.xf_list[cell.xf_index].format_key].format_str
                return _old_date(xlrd, cell.value, book.datemode, form)
            if cell.ctype == xlrd.XL_CELL_ERROR:
                return xlrd.error_text_from_code.get(cell.value, "#ERROR!")
            return bool(cell.value) if cell.ctype == xlrd.XL_CELL_BOOLEAN else _plain(str(cell.value))

        sheets = []
        for sheet in book.sheets():
            rows = _rows((map(plain, sheet.row(row)) for row in range(sheet.nrows)), path)
            for top, below, left, beside in sheet.merged_cells:
                _fill(rows, top, below - 1, left, beside - 1)
            sheets.append(Sheet(sheet.name, rows, not sheet.visibility, len(sheet.merged_cells)))
        return sheets


def _old_date(xlrd: Any, value: float, datemode: int, form: str) -> object:
    """A date of an `.xls`; a time of day alone where it has no day."""
    try:
        return DateCell(xlrd.xldate_as_datetime(value, datemode), form)
    except (ValueError, xlrd.XLDateError):
        return f"{value:g} (a date)"

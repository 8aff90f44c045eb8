"""Spreadsheet files as plain values: no formula is evaluated, no link followed, no entity expanded.

`.xlsx` goes through openpyxl in its read-only mode, with defusedxml under it; `.xls` through xlrd. Which of the two is decided by the
file's first bytes, not by its name.
"""

from __future__ import annotations

import io
import itertools
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auformer.errors import DatasetLayoutError, require

_MOST_ROWS = 1_048_576  # rows of a sheet in Excel 2007 and later
_MOST_COLUMNS = 16_384
_LARGEST = 512 * 2**20  # bytes of one part of an .xlsx unpacked; EmotioNet's 24,600 rows of 62 cells take about 60 MiB [ours]
_DENSEST = 200  # unpacked by packed size; sheets of zeros and ones reach 50, a bomb 1,000 [ours]
_SMALL = 8 * 2**20  # bytes; below, no factor counts [ours]


def read_cells(path: Path, sheet: str | None, *, formulas: bool) -> tuple[str, list[tuple]]:
    """One sheet, cell by cell.

    Args:
        path: `.xlsx` or `.xls`.
        sheet: name of the sheet; the first one where None.
        formulas: give the text of formulas (`=A1+1`) in place of the values that were stored with them.

    Returns:
        Title of the sheet, and its rows from the first one, without blank rows at the end. Cells are text without blanks around it,
        int, float, bool or None; rows may differ in length.

    Raises:
        DatasetLayoutError: The file cannot be read as a spreadsheet or is refused, or has no such sheet.
        MissingExtraError: openpyxl, defusedxml or xlrd is not installed.
    """
    if not path.is_file():
        raise DatasetLayoutError(f"Expected a spreadsheet at {path}, but there is none; check the copy of the release")
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(4) == b"PK\x03\x04"
        title, rows = (_xlsx if is_zip else _xls)(path, sheet, formulas)
    except (DatasetLayoutError, ImportError):
        raise
    except Exception as error:  # damaged files come out of the parsers as errors of every kind
        reason = _reason(error)
        raise DatasetLayoutError(
            f"Expected a spreadsheet at {path}, but it cannot be read ({reason}); copy it again, or save it anew without a password"
        ) from error
    while rows and all(value is None for value in rows[-1]):
        rows.pop()
    return title, rows


def _reason(error: BaseException) -> str:
    """What went wrong at the bottom, in a line; openpyxl wraps errors in others that only name the file."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".split("\n")[0][:200]


def _plain(value: Any) -> object:
    """A cell's value: text without blanks around it, a number, or None."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _rows(rows: Iterator[Sequence[Any]], path: Path) -> list[tuple]:
    """Rows as tuples, no more than a spreadsheet can have."""
    kept = [tuple(_plain(value) for value in row[:_MOST_COLUMNS]) for row in itertools.islice(rows, _MOST_ROWS + 1)]
    if len(kept) > _MOST_ROWS:
        raise DatasetLayoutError(f"Expected at most {_MOST_ROWS:,} rows in {path}, but it has more; this is no table of a release")
    return kept


def _pick(names: list[str], sheet: str | None, path: Path) -> int:
    """Which of the sheets."""
    if not names:
        raise DatasetLayoutError(f"Expected a sheet in {path}, but it has none")
    if sheet is None:
        return 0
    plain = [name.strip().lower() for name in names]
    if sheet.strip().lower() not in plain:
        raise DatasetLayoutError(
            f"Expected a sheet {sheet!r} in {path}, but it has {', '.join(map(repr, names))}; check that this is the release's own table"
        )
    return plain.index(sheet.strip().lower())


def _xlsx(path: Path, sheet: str | None, formulas: bool) -> tuple[str, list[tuple]]:
    """A sheet of an `.xlsx`."""
    openpyxl = require("openpyxl", "prepare")
    require("defusedxml", "prepare")
    if not openpyxl.DEFUSEDXML:
        raise DatasetLayoutError("Expected openpyxl to use defusedxml, but OPENPYXL_DEFUSEDXML turns it off; unset that variable")
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            dense = part.file_size > _SMALL and part.file_size > _DENSEST * max(1, part.compress_size)
            if dense or part.file_size > _LARGEST:
                raise DatasetLayoutError(
                    f"{path} is refused: its part {part.filename!r} unpacks {part.compress_size:,} to {part.file_size:,} bytes"
                )
    book = openpyxl.load_workbook(path, read_only=True, data_only=not formulas, keep_links=False)
    try:
        sheets = book.worksheets
        chosen = sheets[_pick([each.title for each in sheets], sheet, path)]
        chosen.reset_dimensions()  # the size that the file states may be wrong
        return chosen.title, _rows(chosen.iter_rows(values_only=True), path)
    finally:
        book.close()


def _xls(path: Path, sheet: str | None, formulas: bool) -> tuple[str, list[tuple]]:
    """A sheet of an `.xls`, which keeps the formulas' values only; `formulas` makes no difference."""
    xlrd = require("xlrd", "prepare")
    with xlrd.open_workbook(str(path), logfile=io.StringIO(), on_demand=True) as book:
        names = book.sheet_names()
        chosen = book.sheet_by_index(_pick(names, sheet, path))
        number = {xlrd.XL_CELL_NUMBER: lambda value: int(value) if float(value).is_integer() else value, xlrd.XL_CELL_BOOLEAN: bool}
        empty = (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK, xlrd.XL_CELL_ERROR)
        rows = (
            [None if cell.ctype in empty else number.get(cell.ctype, str)(cell.value) for cell in chosen.row(row)]
            for row in range(chosen.nrows)
        )
        return chosen.name, _rows(rows, path)

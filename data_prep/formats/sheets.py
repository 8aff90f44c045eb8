"""Spreadsheet files as plain values: no formula is evaluated, no link followed, no entity expanded.

`.xlsx` goes through openpyxl in its read-only mode, with defusedxml under it; `.xls` through xlrd. The file's first
bytes decide which of the two, not its name.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.errors import DatasetLayoutError, require

from ..release import Findings

_MOST_ROWS = 1_048_576  # rows of a sheet in Excel 2007 and later
_MOST_COLUMNS = 16_384
# bytes of one part of an .xlsx unpacked; EmotioNet's 24,600 rows of 62 cells take about 60 MiB [ours]
_LARGEST = 512 * 2**20
_DENSEST = 200  # unpacked by packed size; sheets of zeros and ones reach 50, a bomb 1,000 [ours]
_SMALL = 8 * 2**20  # bytes; below, no factor counts [ours]
_NOTES = 30  # rows of notes that may stand above a header (SAMM: 13, or none in an older table) [ours]
_OWN = "check that this is the release's own table"

Place = str | int


def read_cells(path: Path, sheet: str | None, *, formulas: bool) -> tuple[str, list[tuple]]:
    """One sheet, or the first, cell by cell; with `formulas`, their text (`=A1+1`) in place of the stored values.

    Returns:
        Title of the sheet, and its rows from the first one, without blank rows at the end. Cells are text without
        blanks around it, int, float, bool or None; rows may differ in length.

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
        cause: BaseException = error
        while cause.__cause__ is not None:  # openpyxl wraps errors in others that only name the file
            cause = cause.__cause__
        reason = f"{type(cause).__name__}: {cause}".split("\n")[0][:200]
        raise DatasetLayoutError(
            f"Expected a spreadsheet at {path}, but it cannot be read ({reason}); copy it again, or save it anew "
            "without a password"
        ) from error
    while rows and all(value is None for value in rows[-1]):
        rows.pop()
    return title, rows


def _plain(value: Any) -> object:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _rows(rows: Iterator[Sequence[Any]], path: Path) -> list[tuple]:
    kept = [tuple(_plain(value) for value in row[:_MOST_COLUMNS]) for row in itertools.islice(rows, _MOST_ROWS + 1)]
    if len(kept) > _MOST_ROWS:
        raise DatasetLayoutError(
            f"Expected at most {_MOST_ROWS:,} rows in {path}, but it has more; this is no table of a release"
        )
    return kept


def _pick(names: list[str], sheet: str | None, path: Path) -> int:
    if not names:
        raise DatasetLayoutError(f"Expected a sheet in {path}, but it has none")
    if sheet is None:
        return 0
    plain = [name.strip().lower() for name in names]
    if sheet.strip().lower() not in plain:
        raise DatasetLayoutError(
            f"Expected a sheet {sheet!r} in {path}, but it has {', '.join(map(repr, names))}; {_OWN}"
        )
    return plain.index(sheet.strip().lower())


def _xlsx(path: Path, sheet: str | None, formulas: bool) -> tuple[str, list[tuple]]:
    openpyxl = require("openpyxl", "prepare")
    require("defusedxml", "prepare")
    if not openpyxl.DEFUSEDXML:
        raise DatasetLayoutError(
            "Expected openpyxl to use defusedxml, but OPENPYXL_DEFUSEDXML turns it off; unset that variable"
        )
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            dense = part.file_size > _SMALL and part.file_size > _DENSEST * max(1, part.compress_size)
            if dense or part.file_size > _LARGEST:
                sizes = f"{part.compress_size:,} to {part.file_size:,} bytes"
                raise DatasetLayoutError(f"{path} is refused: its part {part.filename!r} unpacks {sizes}")
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
        chosen = book.sheet_by_index(_pick(book.sheet_names(), sheet, path))
        number = {
            xlrd.XL_CELL_NUMBER: lambda value: int(value) if float(value).is_integer() else value,
            xlrd.XL_CELL_BOOLEAN: bool,
        }
        empty = (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK, xlrd.XL_CELL_ERROR)
        rows = (
            [None if cell.ctype in empty else number.get(cell.ctype, str)(cell.value) for cell in chosen.row(row)]
            for row in range(chosen.nrows)
        )
        return chosen.name, _rows(rows, path)


def read_sheet(
    path: Path,
    *,
    columns: Mapping[str, Sequence[Place]],
    sheet: str | None = None,
    header: int | None = 0,
    optional: Collection[str] = (),
    findings: Findings | None = None,
) -> pd.DataFrame:
    """Some columns of one sheet.

    Args:
        path: `.xlsx` or `.xls`.
        columns: Name in the result -> the spellings of the header that are accepted (blanks around them, quotes and
            case do not count), or positions from 0 where there is no header.
        sheet: Name of the sheet; the first one where None.
        header: Row of the header from 0, or another of the first 30 where that one lacks a column; None where there is
            none.
        optional: Names whose column may be missing; their cells are then None.
        findings: Takes note of formulas without a stored value, which are read as empty.

    Returns:
        The columns as objects (text without blanks around it, int, float, bool or None), without the rows in which all
        are None. The index is the 0-based row after the header, as pandas counts it; `attrs` holds `file`, `sheet` and
        `first_row` for `place`.

    Raises:
        DatasetLayoutError: The file cannot be read as a spreadsheet or is refused, or the sheet or a column is missing;
            the message names those that are there.
        MissingExtraError: openpyxl, defusedxml or xlrd is not installed.
    """
    title, cells = read_cells(path, sheet, formulas=False)
    where = f"{path.name}, sheet {title!r}"
    if header is None:
        positions = _given_positions(cells, columns, optional, where)
    else:
        header = _header_row(cells, columns, header, optional)
        positions = _named_positions(cells, columns, header, optional, where)
    first = 0 if header is None else header + 1
    values = {name: [_cell(row, at) for row in cells[first:]] for name, at in positions.items()}
    frame = pd.DataFrame(values, dtype=object, index=pd.RangeIndex(max(0, len(cells) - first), name="row"))
    frame.attrs.update(file=path.name, sheet=title, first_row=first + 1)
    if findings is not None and frame.isna().to_numpy().any():
        _, formulas = read_cells(path, sheet, formulas=True)
        for name, at in positions.items():
            for row in frame.index[frame[name].isna()]:
                held = _cell(formulas[first + row], at) if first + row < len(formulas) else None
                if isinstance(held, str) and held.startswith("="):
                    text = f"{name} is read as empty; save the table in a spreadsheet program"
                    findings.note("formula without a stored value", place(frame, row), text)
    return frame[frame.notna().any(axis=1)]


def _cell(row: tuple, at: int | None) -> Any:
    return None if at is None or at >= len(row) else row[at]


def place(frame: pd.DataFrame, row: int) -> str:
    """Where a row of `read_sheet` is, as a spreadsheet program counts: `CASME2-coding.xlsx row 62`."""
    return f"{frame.attrs['file']} row {row + frame.attrs['first_row']}"


def cell_text(value: object) -> str:
    """The text of a cell; whole numbers without a decimal point, an empty cell as `""`.

    >>> cell_text(4.0), cell_text("R14A "), cell_text(None)
    ('4', 'R14A', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def cell_number(value: object) -> int | None:
    """The whole number in a cell, None where there is none (`/`, empty, text, 3.5).

    >>> cell_number("46"), cell_number(59.0), cell_number("/")
    (46, 59, None)
    """
    match = re.fullmatch(r"(-?\d{1,9})(?:\.0+)?", cell_text(value), re.ASCII)
    return int(match[1]) if match and not isinstance(value, bool) else None


def _spelling(value: object) -> str:
    """A header as it is compared: lower case, without blanks, underscores and quotes."""
    return re.sub(r"[\s_'\"’‘]+", "", cell_text(value)).lower()


def _given_positions(
    cells: list[tuple], columns: Mapping[str, Sequence[Place]], optional: Collection[str], where: str
) -> dict[str, int | None]:
    width = max((len(row) for row in cells), default=0)
    positions = {name: int(accepted[0]) for name, accepted in columns.items()}
    needed = 1 + max(at for name, at in positions.items() if name not in optional)
    if width < needed:
        raise DatasetLayoutError(f"Expected at least {needed} columns in {where}, but it has {width}; {_OWN}")
    return {name: at if at < width else None for name, at in positions.items()}


def _found_columns(heads: tuple, columns: Mapping[str, Sequence[Place]]) -> dict[str, int | None]:
    """Name -> position of the first column with one of its spellings."""
    found = {_spelling(head): at for at, head in reversed(list(enumerate(heads))) if cell_text(head)}
    spellings = {name: [_spelling(each) for each in accepted] for name, accepted in columns.items()}
    return {name: next((found[each] for each in some if each in found), None) for name, some in spellings.items()}


def _header_row(
    cells: list[tuple], columns: Mapping[str, Sequence[Place]], header: int, optional: Collection[str]
) -> int:
    """The row that has all needed columns: the stated one, or else the first; the stated one where none has."""
    for row in (header, *range(min(_NOTES, len(cells)))):
        found = _found_columns(cells[row], columns) if row < len(cells) else {}
        if found and all(at is not None for name, at in found.items() if name not in optional):
            return row
    return header


def _named_positions(
    cells: list[tuple], columns: Mapping[str, Sequence[Place]], header: int, optional: Collection[str], where: str
) -> dict[str, int | None]:
    heads = cells[header] if header < len(cells) else ()
    positions = _found_columns(heads, columns)
    missing = [str(columns[name][0]) for name, at in positions.items() if at is None and name not in optional]
    if missing:
        held = ", ".join(repr(cell_text(head)) for head in heads if cell_text(head)) or "nothing"
        raise DatasetLayoutError(
            f"Expected a column {', '.join(map(repr, missing))} in row {header + 1} of {where}, but that row holds "
            f"{held}; {_OWN}"
        )
    return positions

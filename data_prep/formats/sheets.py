"""Columns of annotation tables by their headings or places, from a spreadsheet or from text saved out of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.cells import DateCell, cell_text
from auformer.data.spreadsheet import Sheet, is_spreadsheet, read_sheets
from auformer.data.table_file import pick_sheet
from auformer.data.text_table import NOTES, read_text_table
from auformer.errors import DatasetLayoutError, ManifestError

from ..release import Findings

_OWN = "check that this is the release's own table"

Place = str | int


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
        path: `.xlsx`, `.xls`, or text with any separator.
        columns: Name in the result -> the spellings of the header that are accepted (blanks around them, quotes and
            case do not count), or positions from 0 where there is no header.
        sheet: Name of the sheet; where None, the one that has the columns.
        header: Row of the header from 0, or another of the first 30 where that one lacks a column; None where there is
            none.
        optional: Names whose column may be missing; their cells are then None.
        findings: Takes note of formulas without a stored value, which are read as empty, and of merged cells.

    Returns:
        The columns as objects (text without blanks around it, int, float, bool, `DateCell` or None), without the rows
        in which all are None. The index is the 0-based row after the header, as pandas counts it; `attrs` holds
        `file`, `sheet` and `first_row` for `place`.

    Raises:
        DatasetLayoutError: The file cannot be read as a table or is refused, the sheet or a column is missing (the
            message names those that are there), or two sheets have the columns.
        MissingExtraError: openpyxl, defusedxml or xlrd is not installed.
    """
    needed = {name: accepted for name, accepted in columns.items() if name not in optional}
    chosen, book = _choose(path, sheet, needed, by_name=header is not None)
    cells, where = chosen.rows, f"{path.name}, sheet {chosen.title!r}"
    if header is None:
        positions = _given_positions(cells, columns, optional, where)
    else:
        header = _header_row(cells, needed, header)
        positions = _named_positions(cells, columns, header, optional, where)
    first = 0 if header is None else header + 1
    values = {name: [_cell(row, at) for row in cells[first:]] for name, at in positions.items()}
    frame = pd.DataFrame(values, dtype=object, index=pd.RangeIndex(max(0, len(cells) - first), name="row"))
    frame.attrs.update(file=path.name, sheet=chosen.title, first_row=first + 1)
    if findings is not None:
        if len(book) > 1 and sheet is None and header is not None:
            findings.note(
                "sheets of a table", path.name, f"{chosen.title!r} of {len(book)} has the columns and is read"
            )
        if chosen.merged:
            text = f"{chosen.merged:,} in sheet {chosen.title!r}; each row has their value"
            findings.note("merged cells", path.name, text)
        _note_formulas(path, chosen.title, frame, positions, first, findings)
    return frame[frame.notna().any(axis=1)]


def _choose(
    path: Path, sheet: str | None, needed: Mapping[str, Sequence[Place]], *, by_name: bool
) -> tuple[Sheet, list[Sheet]]:
    """The sheet that is meant, and all sheets."""
    if not path.is_file():
        raise DatasetLayoutError(f"Expected a spreadsheet at {path}, but there is none; check the copy of the release")

    def is_header(names: Sequence[str]) -> bool:
        return all(at is not None for at in _found_columns(names, needed).values())

    def is_wide(names: Sequence[str]) -> bool:
        return len(names) > max(int(accepted[0]) for accepted in needed.values())

    try:
        if not is_spreadsheet(path):
            return _text_sheet(path, is_header if by_name else None), []
        book = read_sheets(path)
        if sheet is None:
            return pick_sheet(path, book, is_header if by_name else is_wide)[0], book
    except ManifestError as error:
        raise DatasetLayoutError(str(error)) from error
    named = [each for each in book if each.title.strip().lower() == sheet.strip().lower()]
    if not named:
        held = ", ".join(repr(each.title) for each in book)
        raise DatasetLayoutError(f"Expected a sheet {sheet!r} in {path}, but it has {held}; {_OWN}")
    return named[0], book


def _text_sheet(path: Path, is_header: Callable[[Sequence[str]], bool] | None) -> Sheet:
    """A text file as a sheet: line n is row n, an empty cell None."""
    table = read_text_table(path, is_header, named=is_header is not None)
    rows: list[tuple[Any, ...]] = [()] * max([table.first, *table.lines], default=0)
    if table.names:
        rows[table.first - 1] = tuple(table.names)
    for line, row in zip(table.lines, zip(*table.columns, strict=True), strict=True):
        rows[line - 1] = tuple(cell or None for cell in row)
    return Sheet(path.stem, rows)


def _note_formulas(
    path: Path, title: str, frame: pd.DataFrame, positions: Mapping[str, int | None], first: int, findings: Findings
) -> None:
    """Note the cells that are empty because no program has computed their formula yet."""
    if not frame.isna().to_numpy().any() or not is_spreadsheet(path):
        return
    formulas = next(each.rows for each in read_sheets(path, formulas=True) if each.title == title)
    for name, at in positions.items():
        for row in frame.index[frame[name].isna()]:
            held = _cell(formulas[first + row], at) if first + row < len(formulas) else None
            if isinstance(held, str) and held.startswith("="):
                text = f"{name} is read as empty; save the table in a spreadsheet program"
                findings.note("formula without a stored value", place(frame, row), text)


def _cell(row: tuple, at: int | None) -> Any:
    return None if at is None or at >= len(row) else row[at]


def place(frame: pd.DataFrame, row: int) -> str:
    """Where a row of `read_sheet` is, as a spreadsheet program counts: `CASME2-coding.xlsx row 62`."""
    return f"{frame.attrs['file']} row {row + frame.attrs['first_row']}"


def cell_number(value: object) -> int | None:
    """The whole number in a cell, None where there is none (`/`, empty, text, 3.5).

    >>> cell_number("46"), cell_number(59.0), cell_number("/")
    (46, 59, None)
    """
    match = re.fullmatch(r"(-?\d{1,9})(?:\.0+)?", cell_text(value), re.ASCII)
    return int(match[1]) if match and not isinstance(value, bool) else None


def au_code(value: object, where: str) -> str:
    """The AU text of a cell; of a date the codes that a spreadsheet program made it of, where they are certain.

    Raises:
        DatasetLayoutError: The date may be made of other codes.

    >>> import datetime
    >>> au_code(DateCell(datetime.datetime(2014, 5, 4), "d-mmm"), "a.xlsx row 2")
    '4+5'
    """
    if not isinstance(value, DateCell):
        return cell_text(value)
    numbers = value.numbers()
    if numbers is None:
        raise DatasetLayoutError(
            f"{where}: expected action units, but got the date {value}, which a spreadsheet program makes of codes "
            "such as 4-5; enter the codes there as text"
        )
    return "+".join(map(str, sorted(numbers)))


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


def _found_columns(heads: Sequence[object], columns: Mapping[str, Sequence[Place]]) -> dict[str, int | None]:
    """Name -> position of the first column with one of its spellings."""
    found = {_spelling(head): at for at, head in reversed(list(enumerate(heads))) if cell_text(head)}
    spellings = {name: [_spelling(each) for each in accepted] for name, accepted in columns.items()}
    return {name: next((found[each] for each in some if each in found), None) for name, some in spellings.items()}


def _header_row(cells: list[tuple], needed: Mapping[str, Sequence[Place]], header: int) -> int:
    """The row that has all needed columns: the stated one, or else the first; the stated one where none has."""
    for row in (header, *range(min(NOTES, len(cells)))):
        found = _found_columns(cells[row], needed) if row < len(cells) else {}
        if found and all(at is not None for at in found.values()):
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

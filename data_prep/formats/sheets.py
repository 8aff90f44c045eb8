"""Tables in the spreadsheets of a release: some columns of one sheet, found by the names in its header."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from auformer.errors import DatasetLayoutError

from ..release import Findings
from .sheet_files import read_cells

_NOTES = 30  # rows of notes that may stand above a header (SAMM: 13, or none in an older table) [ours]

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
        path: `.xlsx` or `.xls`.
        columns: name in the result -> the spellings of the header that are accepted (blanks around them, quotes and case do not count),
            or positions from 0 where there is no header.
        sheet: name of the sheet; the first one where None.
        header: row of the header from 0, or another of the first 30 where that one lacks a column; None where there is none.
        optional: names whose column may be missing; their cells are then None.
        findings: takes note of formulas without a stored value, which are read as empty.

    Returns:
        The columns as objects (text without blanks around it, int, float, bool or None), without the rows in which all are None. The
        index is the 0-based row after the header, as pandas counts it; `attrs` holds `file`, `sheet` and `first_row` for `place`.

    Raises:
        DatasetLayoutError: The file cannot be read as a spreadsheet or is refused, or the sheet or a column is missing; the message
            names those that are there.
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
    values = {name: [None if at is None or at >= len(row) else row[at] for row in cells[first:]] for name, at in positions.items()}
    frame = pd.DataFrame(values, dtype=object, index=pd.RangeIndex(max(0, len(cells) - first), name="row"))
    frame.attrs.update(file=path.name, sheet=title, first_row=first + 1)
    if findings is not None and frame.isna().to_numpy().any():
        _note_formulas(path, sheet, frame, positions, first, findings)
    return frame[frame.notna().any(axis=1)]


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
    text = cell_text(value)
    match = re.fullmatch(r"(-?\d{1,9})(?:\.0+)?", text, re.ASCII)
    return int(match[1]) if match and not isinstance(value, bool) else None


def _spelling(value: object) -> str:
    """A header as it is compared: lower case, without blanks, underscores and quotes."""
    return re.sub(r"[\s_'\"’‘]+", "", cell_text(value)).lower()


def _given_positions(
    cells: list[tuple], columns: Mapping[str, Sequence[Place]], optional: Collection[str], where: str
) -> dict[str, int | None]:
    """Name -> position of its column, where there is no header."""
    width = max((len(row) for row in cells), default=0)
    positions = {name: int(accepted[0]) for name, accepted in columns.items()}
    needed = 1 + max(at for name, at in positions.items() if name not in optional)
    if width < needed:
        raise DatasetLayoutError(
            f"Expected at least {needed} columns in {where}, but it has {width}; check that this is the release's own table"
        )
    return {name: at if at < width else None for name, at in positions.items()}


def _found_columns(heads: tuple, columns: Mapping[str, Sequence[Place]]) -> dict[str, int | None]:
    """Name -> position of the first column with one of its spellings."""
    found = {_spelling(head): at for at, head in reversed(list(enumerate(heads))) if cell_text(head)}
    return {
        name: next((found[_spelling(each)] for each in accepted if _spelling(each) in found), None) for name, accepted in columns.items()
    }


def _header_row(cells: list[tuple], columns: Mapping[str, Sequence[Place]], header: int, optional: Collection[str]) -> int:
    """The row that has all needed columns: the stated one, or else the first; the stated one where none has."""
    for row in (header, *range(min(_NOTES, len(cells)))):
        found = _found_columns(cells[row], columns) if row < len(cells) else {}
        if found and all(at is not None for name, at in found.items() if name not in optional):
            return row
    return header


def _named_positions(
    cells: list[tuple], columns: Mapping[str, Sequence[Place]], header: int, optional: Collection[str], where: str
) -> dict[str, int | None]:
    """Name -> position of its column, by the header."""
    heads = cells[header] if header < len(cells) else ()
    positions = _found_columns(heads, columns)
    missing = [str(columns[name][0]) for name, at in positions.items() if at is None and name not in optional]
    if missing:
        held = ", ".join(repr(cell_text(head)) for head in heads if cell_text(head)) or "nothing"
        raise DatasetLayoutError(
            f"Expected a column {', '.join(map(repr, missing))} in row {header + 1} of {where}, but that row holds {held}; "
            "check that this is the release's own table"
        )
    return positions


def _note_formulas(
    path: Path, sheet: str | None, frame: pd.DataFrame, positions: dict[str, int | None], first: int, findings: Findings
) -> None:
    """Take note of the empty cells that hold a formula."""
    _, cells = read_cells(path, sheet, formulas=True)
    for name, at in positions.items():
        for row in frame.index[frame[name].isna()]:
            held = cells[first + row] if first + row < len(cells) else ()
            if at is not None and at < len(held) and isinstance(held[at], str) and held[at].startswith("="):
                findings.note(
                    "formula without a stored value", place(frame, row), f"{name} is read as empty; save the table in a spreadsheet program"
                )

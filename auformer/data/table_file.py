"""Tables on disk: anybody's are opened, ours are read and written, with the JSON sidecar beside each.

`open_table` is the one way in for tables of any making: text with any separator, decimal sign and encoding, `.xlsx`,
`.xls`, Parquet. What cannot be decided is refused with both readings; what is not plain is told in `attrs["notes"]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.cells import LABEL, NUMBER, cell_text, read_numbers
from auformer.data.plain_csv import read_plain
from auformer.data.schema import CLIP_FRAMES, NUMBERS, parse_column
from auformer.data.spreadsheet import Sheet, is_spreadsheet, read_sheets
from auformer.data.text_table import NOTES, Header, read_text_table
from auformer.errors import ManifestError
from auformer.files import atomic_path, write_text

FORMAT_VERSION = 1
_LABELS = ("", "left", "right", "true", "active")  # kinds of columns about an AU in which TRUE may stand
Kinds = Callable[[str], str]


def sidecar_path(path: str | Path) -> Path:
    """Where the sidecar of a table lies.

    >>> sidecar_path("runs/m.onnx.csv").name
    'm.onnx.json'
    """
    return Path(path).with_suffix(".json")


def faces_path(path: str | Path) -> Path:
    """Where the boxes and landmarks of a manifest's faces lie.

    >>> faces_path("data/bp4d.csv").name
    'bp4d.faces.parquet'
    """
    return Path(path).with_name(f"{Path(path).stem}.faces.parquet")


def _suffix(path: Path) -> str:
    """`.csv` or `.parquet`."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ManifestError(f"Expected a table whose name ends in .csv or .parquet, but got {path}")
    return suffix


def open_table(
    path: str | Path,
    *,
    header: Header | None = None,
    kinds: Kinds = lambda name: "",
    keep: Callable[[str], bool] | None = None,
    missing: Collection[str] = (),
    strict: bool = True,
) -> pd.DataFrame:
    """Open a table of anybody's making.

    Args:
        path: Text with any separator, `.xlsx`, `.xls` or Parquet; the content decides, not the name.
        header: Whether a row of names is the header; the first such row counts, and in a spreadsheet the only sheet
            that has one. None takes the first row that is not empty, and the only sheet that holds anything.
        kinds: `NUMBER`, `LABEL` or `INTENSITY` of `data.cells` by a column's name; `""` is text.
        keep: Whether a column is wanted, by its name; all by default.
        missing: Words for a missing number besides the usual ones, in small letters.
        strict: Raise for a cell that is no number in a column of numbers; else the column stays text.

    Returns:
        The columns with a name, blanks around names and cells taken off: numbers as float64 (nan: missing), the others
        as text (empty: `""`). The index is the number of each row's line (of a sheet, of its row) in the file. `attrs`
        holds `path`, `place` (what `place_of` makes of a row), and `notes` about what is not plain.

    Raises:
        ManifestError: There is no such file, it cannot be read as a table, a name occurs twice, or a number may mean
            two.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"Expected a table at {path}, but there is no such file; check the path")
    try:
        return _opened(path, header, kinds, keep, missing, strict)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error


def table_names(path: str | Path, header: Header) -> list[str]:
    """The names of the columns of a table, without reading it as a whole; arguments and errors as of `open_table`."""
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"Expected a table at {path}, but there is no such file; check the path")
    if _is_parquet(path):
        return [str(name).strip() for name in _parquet(path).columns]
    if is_spreadsheet(path):
        sheet, top, _ = pick_sheet(path, read_sheets(path), header)
        return [cell_text(cell) for cell in sheet.rows[top] if cell_text(cell)]
    return [name for name in read_text_table(path, header, names_only=True).names if name]


def place_of(table: pd.DataFrame, row: int) -> str:
    """Where the row at a position of an open table stands: `labels.csv, line 3`."""
    return f"{table.attrs['place']} {table.index[row]}"


def _opened(
    path: Path, header: Header | None, kinds: Kinds, keep: Callable[[str], bool] | None, missing: Collection[str],
    strict: bool,
) -> pd.DataFrame:  # fmt: skip
    """The table of a file that is there."""
    columns: dict[str, Sequence[Any]]
    notes: list[str] = []
    if _is_parquet(path):
        frame = _parquet(path).rename(columns=lambda name: str(name).strip())
        names, place, lines = list(frame.columns), f"{path}, row", list(range(1, len(frame) + 1))
        _refuse_doubles(path, names)
        columns = {name: _objects(frame[name]) for name in names if keep is None or keep(name)}
    elif is_spreadsheet(path):
        sheet, top, notes = pick_sheet(path, read_sheets(path), header)
        names = [cell_text(cell) for cell in sheet.rows[top]]
        place = f"{path}, sheet {sheet.title!r}, row"
        _refuse_doubles(path, names)
        body = [
            (at + 1, row) for at, row in enumerate(sheet.rows) if at > top and any(cell is not None for cell in row)
        ]
        kept = [(at, row) for at, row in body if [cell_text(cell) for cell in row] != names]
        if again := len(body) - len(kept):
            notes.append(f"the header stands {again:,} more time{'s' if again > 1 else ''} among the rows")
        lines = [at for at, _ in kept]
        wanted = {name: at for at, name in enumerate(names) if name and (keep is None or keep(name))}
        columns = {name: [row[at] if at < len(row) else None for _, row in kept] for name, at in wanted.items()}
    elif header and (plain := read_plain(path, header, lambda name: kinds(name) != "", keep)) is not None:
        plain.index = pd.RangeIndex(2, len(plain) + 2)
        plain.attrs.update(path=str(path), place=f"{path}, line", notes=[])
        return plain
    else:
        text = read_text_table(path, header, keep=keep)
        names, place, lines, notes = text.names, f"{path}, line", text.lines, text.notes
        _refuse_doubles(path, names)
        columns = dict(zip(names, text.columns, strict=True))
    chosen = {name: kind for name in columns if (kind := kinds(name))}
    numbers, said = read_numbers(
        {name: columns[name] for name in chosen}, chosen, lambda row: f"{place} {lines[row]}", missing=missing,
        strict=strict,
    )  # fmt: skip
    values = {name: numbers.get(name, _text(cells)) for name, cells in columns.items()}
    table = pd.DataFrame(values, index=pd.Index(lines, dtype=np.int64))
    table.attrs.update(path=str(path), place=place, notes=[*notes, *said])
    return table


def _text(cells: Sequence[Any]) -> np.ndarray:
    """Cells as text."""
    return np.array([cell if type(cell) is str else cell_text(cell) for cell in cells], dtype=object)


def _objects(column: pd.Series) -> list[Any]:
    """The cells of a Parquet column, None where it has none."""
    return column.astype(object).where(column.notna(), None).tolist()


def _is_parquet(path: Path) -> bool:
    """Whether a file is a Parquet file by its first bytes or its name."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1" or path.suffix.lower() == ".parquet"


def _parquet(path: Path) -> pd.DataFrame:
    """A Parquet file."""
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pandas, pyarrow and the operating system each have their own
        raise ManifestError(f"{path}: cannot be read as a parquet table ({error}); write it again") from error


def _refuse_doubles(path: Path, names: Sequence[str]) -> None:
    """Raise if a name occurs twice."""
    twice = sorted({name for name in names if name and list(names).count(name) > 1})
    if twice:
        raise ManifestError(
            f"{path}: expected every column once, but got {', '.join(twice)} more than once; remove one of them"
        )


def pick_sheet(path: Path, sheets: Sequence[Sheet], header: Header | None) -> tuple[Sheet, int, list[str]]:
    """The sheet with the table, the place of its header from 0, and notes.

    Raises:
        ManifestError: Several sheets may be it, or the book is empty.
    """
    filled = [sheet for sheet in sheets if sheet.rows]
    if not filled:
        raise ManifestError(f"{path}: the file is empty; write it again")
    found = [(sheet, row) for sheet in filled if (row := _header_row(sheet, header)) is not None]
    found = [each for each in found if each[0].visible] or found
    if len(found) > 1:
        named = " and ".join(repr(sheet.title) for sheet, _ in found)
        raise ManifestError(
            f"{path}: the sheets {named} both hold such a table; save the one that is meant as CSV, or "
            "remove the others"
        )
    if not found:  # the caller says what is missing
        return filled[0], next(at for at, row in enumerate(filled[0].rows) if any(cell is not None for cell in row)), []
    sheet, top = found[0]
    notes = [f"sheet {sheet.title!r} of {len(filled)} is read"] if len(filled) > 1 else []
    return sheet, top, notes


def _header_row(sheet: Sheet, header: Header | None) -> int | None:
    """The first of the upper rows of a sheet that is a header."""
    for at, row in enumerate(sheet.rows[:NOTES]):
        names = [cell_text(cell) for cell in row]
        if any(names) and (header is None or header(names)):
            return at
    return None


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a manifest or a predictions file: CSV, Parquet, or either saved by a spreadsheet program.

    Args:
        path: The file. In text, columns without a meaning in the contracts are text, so that `007` stays `007`.

    Raises:
        ManifestError: There is no such file, or it cannot be read as a table.
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet" and path.is_file():
        return _parquet(path)
    table = open_table(path, header=_is_ours, kinds=_kind, strict=False).reset_index(drop=True)
    for name, column in table.items():
        if not pd.api.types.is_float_dtype(column):
            table[name] = column.astype("str").replace("", np.nan)
        elif (column == column.round()).all():
            table[name] = column.astype(np.int64)
    return table


def _is_ours(names: Sequence[str]) -> bool:
    """Whether names are those of a manifest or a predictions file."""
    return {"subject", "sequence", "frame"} <= set(names)


def _kind(name: str) -> str:
    """The kind of a column of the contracts."""
    if name in ("frame", "face", *CLIP_FRAMES, *NUMBERS):
        return NUMBER
    try:
        parsed = parse_column(name)
    except ValueError:  # its name is refused later
        return NUMBER
    return "" if parsed is None else LABEL if parsed[1] in _LABELS else NUMBER


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """The sidecar of a table, empty where there is none.

    Raises:
        ManifestError: The sidecar is not a JSON object.
    """
    side = sidecar_path(path)
    if not side.is_file():
        return {}
    try:
        content = json.loads(side.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{side}: cannot be read as JSON ({error}); correct or remove it") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{side}: expected a JSON object, but got {type(content).__name__}; correct or remove it")
    return content


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a CSV or Parquet file; it appears under its name when it is complete.

    Args:
        frame: The table; its index and `attrs` (which may name folders of this machine) are not written.
        path: The file; an existing one is replaced.
    """
    path = Path(path)
    suffix = _suffix(path)
    bare = frame.reset_index(drop=True)
    bare.attrs = {}
    with atomic_path(path) as temporary:
        if suffix == ".csv":
            bare.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
        else:
            bare.to_parquet(temporary, index=False)


def write_pieces(pieces: Iterable[pd.DataFrame], path: str | Path) -> None:
    """Write a CSV file whose rows come in pieces, one in memory at a time; it appears when it is complete.

    Args:
        pieces: Tables of the same columns and types, one or more.
        path: The file; an existing one is replaced.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate(pieces):
            piece.to_csv(file, index=False, header=not number, lineterminator="\n")


def write_sidecar(side: dict[str, Any], path: str | Path) -> None:
    """Write the sidecar of the table at `path`, with the version of the format in it.

    Raises:
        ValueError: `side` holds what JSON cannot.
    """
    try:
        text = json.dumps({"format_version": FORMAT_VERSION, **side}, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected `side` to hold plain JSON values, but got one that is not: {error}") from error
    write_text(sidecar_path(path), text + "\n")

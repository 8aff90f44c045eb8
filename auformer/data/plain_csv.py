"""The plain case of a CSV file, as this package writes it, read many times as fast as a table of anybody's making.

Plain: UTF-8, commas, names in the first line, as many cells in every row, numbers with a point. Anything else is left
to `auformer.data.table_file.open_table`, so that one reader decides what it means.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

_LONGEST = 1 << 20  # bytes of a first line that is a header [ours]


def read_plain(
    path: Path,
    is_header: Callable[[Sequence[str]], bool],
    is_number: Callable[[str], bool],
    keep: Callable[[str], bool] | None = None,
) -> pd.DataFrame | None:
    """Read a plain CSV file.

    Args:
        path: The file.
        is_header: Whether names are those of a table that is wanted.
        is_number: Whether a column holds numbers, by its name.
        keep: Whether a column is wanted, by its name; all by default.

    Returns:
        Numbers as float64 (nan where empty), other columns as text without outer blanks; None where it is not plain.
    """
    names = _names(path)
    if names is None or not is_header(names):
        return None
    given, names = names, [name for name in names if keep is None or keep(name)]
    if not names:
        return None
    numbers = {name: is_number(name) for name in names}
    if not any(numbers.values()):  # nothing would tell a row from a header that is repeated
        return None
    types = {name: pa.float64() if number else pa.string() for name, number in numbers.items()}
    options = pa.csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=False, include_columns=names
    )
    lines = pa.csv.ParseOptions(ignore_empty_lines=False)  # by the number of a line, a message names its row
    reading = pa.csv.ReadOptions(column_names=given, skip_rows=1)
    parts: dict[str, list[Any]] = {name: [] for name in names}
    try:
        with pa.csv.open_csv(path, reading, lines, options) as batches:  # piece by piece: little more than the result
            if batches.schema.names != names:
                return None
            for batch in batches:
                for name, column in zip(names, batch.columns, strict=True):
                    parts[name].append(column.to_numpy(zero_copy_only=False) if numbers[name] else _trimmed(column))
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError):
        return None
    if not parts[names[0]]:
        return None
    columns: dict[str, Any] = {}
    for name in names:
        pieces = parts.pop(name)
        columns[name] = np.concatenate(pieces) if numbers[name] else pa.chunked_array(pieces).to_pandas()
    frame = pd.DataFrame(columns, copy=False)
    frame = _without_empty_end(frame)
    if frame is None:
        return None
    return None if not len(frame) or any(np.isinf(frame[name]).any() for name in names if numbers[name]) else frame


def _without_empty_end(frame: pd.DataFrame) -> pd.DataFrame | None:
    """A table without empty lines at its end; None where there is one before, after which rows and lines differ."""
    first = frame.iloc[:, 0]
    suspects = frame[(first.isna() | (first == "")).to_numpy(bool)]
    empty = suspects.index[(suspects.isna() | (suspects == "")).all(axis=1).to_numpy(bool)]
    kept = len(frame) - len(empty)
    return frame.iloc[:kept] if (empty >= kept).all() else None


def _trimmed(column: pa.Array) -> pa.Array:
    """Text without outer blanks."""
    return pc.utf8_trim_whitespace(column)


def _names(path: Path) -> list[str] | None:
    """The names in the first line of a file; None where it is no plain header."""
    with open(path, "rb") as file:
        line = file.readline(_LONGEST)
    try:
        names = next(csv.reader([line.decode("ascii")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return None
    plain = all(name and name == name.strip() for name in names) and len(set(names)) == len(names)
    return names if names and plain else None

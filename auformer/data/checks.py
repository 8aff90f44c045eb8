"""Checks of single columns, whole columns at a time; each returns the column in the type of the contract.

An error says what is wrong, where (file, row, column) and what to do. Rows are counted from 1 as in a list of faces; the line of a
CSV file is one more, because of its header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from auformer.errors import ManifestError

# absolute in POSIX or Windows style, a backslash, a drive letter, or a `..` part
_OUTSIDE = r"^/|\\|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)"


def row_name(row: int) -> str:
    """How a message names a row.

    >>> row_name(0)
    'row 1 (line 2 of a CSV)'
    """
    return f"row {row + 1} (line {row + 2} of a CSV)"


def fail(where: str, bad: np.ndarray, message: str, todo: str) -> None:
    """Raise for the first bad row, if there is one.

    Args:
        where: File, or another name of the table.
        bad: `(rows,)` bool.
        message: What is wrong; `{row}` stands for the index of the first bad row.
        todo: What to do about it.

    Raises:
        ManifestError: Some row is bad.
    """
    rows = np.flatnonzero(bad)
    if rows.size:
        more = f" (and {rows.size - 1:,} more row{'s' if rows.size > 2 else ''})" if rows.size > 1 else ""
        raise ManifestError(f"{where}, {row_name(int(rows[0]))}: {message}{more}; {todo}")


def require_columns(frame: pd.DataFrame, names: Iterable[str], where: str, what: str) -> None:
    """Raise unless all columns are there.

    Raises:
        ManifestError: A column is missing.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        has = ", ".join(map(str, frame.columns[:20]))
        listed = ", ".join(f"`{name}`" for name in missing)
        raise ManifestError(f"{where}: missing column {listed}; {what} needs it; the columns found are {has}")


def text_column(column: pd.Series, where: str, *, required: bool) -> pd.Series:
    """A column of text; whole numbers become text, empty cells stay missing.

    Args:
        column: The column.
        where: What messages call the table.
        required: Whether an empty cell is an error.

    Raises:
        ManifestError: It holds decimal numbers, or a required cell is empty.
    """
    name = str(column.name)
    if pd.api.types.is_float_dtype(column.dtype) and column.notna().any():
        raise ManifestError(f"{where}: column `{name}` holds decimal numbers where text is expected; write it as text")
    missing = column.isna()
    text = column.astype(str).where(~missing) if missing.any() else column.astype(str)
    empty = (missing | (text == "")).to_numpy(bool)
    if required:
        fail(where, empty, f"column `{name}` is empty", "fill it in, it is part of every row's key")
    return text


def number_column(column: pd.Series, where: str) -> np.ndarray:
    """A column of numbers as float64, nan where empty."""
    values = pd.to_numeric(column, errors="coerce")
    bad = (values.isna() & column.notna()).to_numpy(bool)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = bad | np.isinf(numbers)
    if bad.any():
        fail(where, bad, f"column `{column.name}` should be a number, but is {_first(column, bad)!r}", "correct it")
    return numbers


def _first(column: pd.Series, bad: np.ndarray) -> object:
    """The first bad value, as plain Python."""
    value = column.iloc[int(np.flatnonzero(bad)[0])]
    return value.item() if isinstance(value, np.generic) else value


def whole_column(column: pd.Series, where: str) -> pd.Series:
    """A column of whole numbers, without empty cells, as int64."""
    numbers = number_column(column, where)
    bad = ~(np.isfinite(numbers) & (numbers == np.round(numbers)))
    if bad.any():
        fail(where, bad, f"column `{column.name}` should be a whole number, but is {_first(column, bad)!r}", "correct it")
    return pd.Series(numbers.astype(np.int64), index=column.index, name=column.name)


def label_column(column: pd.Series, where: str, *, allowed: Sequence[int] = (0, 1, -1)) -> pd.Series:
    """A column of labels as int8, -1 where empty.

    Args:
        column: The column.
        where: What messages call the table.
        allowed: Values a cell may have beside empty.

    Raises:
        ManifestError: A cell has another value.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    empty = column.isna().to_numpy(bool)
    bad = ~(empty | np.isin(numbers, allowed))
    if bad.any():
        listed = ", ".join(map(str, allowed))
        hint = "9 and 999 of the releases mean -1, not annotated" if _first(column, bad) in (9, 999) else "correct the label"
        fail(where, bad, f"`{column.name}` should be {listed} or empty, but is {_first(column, bad)!r}", hint)
    return pd.Series(np.where(empty, -1, numbers).astype(np.int8), index=column.index, name=column.name)


def range_column(column: pd.Series, where: str, low: float, high: float) -> pd.Series:
    """A column of numbers in `[low, high]` or empty."""
    numbers = number_column(column, where)
    bad = (numbers < low) | (numbers > high)
    if bad.any():
        fail(where, bad, f"`{column.name}` should be in {low:g} to {high:g}, but is {_first(column, bad)!r}", "correct it")
    return pd.Series(numbers, index=column.index, name=column.name)


def image_column(column: pd.Series, ok: np.ndarray, where: str) -> pd.Series:
    """A column of image paths: relative, `/` between the parts, inside the manifest's folder; empty where a row is not `ok`."""
    text = text_column(column, where, required=False)
    missing = (text.isna() | (text == "")).to_numpy(bool)
    fail(where, ok & missing, "`image` is empty in a row whose `status` is `ok`", "name the image, or the reason in `status`")
    bad = text.str.contains(re.compile(_OUTSIDE), na=False).to_numpy(bool)
    if bad.any():
        message = f"`image` should be a path inside the manifest's folder, relative to it and with `/`, but is {_first(text, bad)!r}"
        fail(where, bad, message, "move the images beside the manifest, or the manifest above them")
    return text


def unique_key(frame: pd.DataFrame, key: list[str], where: str) -> None:
    """Raise if two rows have one key.

    Raises:
        ManifestError: Two rows have the same key; both are named.
    """
    twice = frame.duplicated(key).to_numpy(bool)
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        values = frame.iloc[row][key]
        first = int(np.flatnonzero((frame[key] == values).all(axis=1).to_numpy(bool))[0])
        named = ", ".join(f"{name} {values[name]}" for name in key)
        fail(where, twice, f"same key as {row_name(first)}: {named}", "keep one row per face, or number the faces in `face`")

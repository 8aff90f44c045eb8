"""Tables of numbers, read with what can be wrong with them said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def read_table(path: str) -> pd.DataFrame:
    """A CSV or Parquet file, names without spaces around them."""
    if Path(path).suffix.lower() != ".parquet":
        return read_csv(path)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected {path} to be a Parquet file, but it cannot be read: {error}") from error


def read_csv(path: str, nrows: int | None = None) -> pd.DataFrame:
    """A CSV file, names without spaces around them.

    Raises:
        ValueError: it cannot be read as one.
    """
    try:
        text = {"file": str, "subject": str, "sequence": str}
        table = pd.read_csv(path, nrows=nrows, skipinitialspace=True, encoding="utf-8", dtype=text)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"Expected {path} to be a table of comma-separated values, but it cannot be read: {error}") from error
    return table.rename(columns=lambda name: str(name).strip())


def read_numbers(column: pd.Series, path: str) -> np.ndarray:
    """A column as float64, empty cells nan."""
    values = pd.to_numeric(column, errors="coerce")
    wrong = column[values.isna() & column.notna() & (column.astype(str).str.strip() != "")]
    if len(wrong):
        raise ValueError(f"Expected numbers in column {column.name} of {path}, but got {wrong.iloc[0]!r} in row {wrong.index[0] + 1}.")
    return values.to_numpy(np.float64)

"""Tables on disk: CSV or Parquet by suffix, and the JSON sidecar beside each."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.schema import CLIP_FRAMES, NUMBERS, parse_column
from auformer.errors import ManifestError
from auformer.files import atomic_path, write_text

FORMAT_VERSION = 1
_INFERRED = {"frame", "face", *CLIP_FRAMES, *NUMBERS}


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


def _header(path: Path) -> list[str]:
    """Column names of a CSV file, each once."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    if not header:
        raise ManifestError(f"{path}: the file is empty; write it again")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ManifestError(
            f"{path}: expected every column once, but got {', '.join(twice)} more than once; remove one of them"
        )
    return header


def _read_csv(path: Path) -> pd.DataFrame:
    """A CSV file: numbers in the columns that hold numbers, text as it stands everywhere else."""
    dtype: dict[str, Any] = {name: str for name in _header(path) if name not in _INFERRED and not _is_au(name)}
    return pd.read_csv(path, dtype=dtype, encoding="utf-8-sig", keep_default_na=False, na_values=[""], low_memory=False)


def _is_au(name: str) -> bool:
    """Whether a column is about an action unit, be its name good or bad."""
    try:
        return parse_column(name) is not None
    except ValueError:
        return True


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Args:
        path: The file. In CSV, columns without a meaning in the contracts are text, so that `007` stays `007`.

    Raises:
        ManifestError: There is no such file, or it cannot be read as a table.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise ManifestError(f"Expected a table at {path}, but there is no such file; check the path")
    try:
        return _read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    except ManifestError:
        raise
    except Exception as error:  # pandas, pyarrow and the operating system each have their own
        raise ManifestError(f"{path}: cannot be read as a {suffix[1:]} table ({error}); write it again") from error


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

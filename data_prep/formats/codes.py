"""Tables of codes per frame, and intensities with occurrence by a threshold as DISFA and DISFA+ have them."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.errors import DatasetLayoutError

from ..release import Findings


def read_codes(path: Path, columns: Mapping[str, int], allowed: Collection[int], *, header: bool) -> pd.DataFrame:
    """Read frame numbers and codes from a text file with commas.

    Args:
        path: The file; its first column is the frame number.
        columns: Name in the result -> position in the file, from 1 (0 is the frame number).
        allowed: Codes that the release uses.
        header: Whether the first line holds names.

    Returns:
        `frame` (int64, rising) and one int16 column per name.

    Raises:
        DatasetLayoutError: The file is empty or no such table, a frame number is no whole number from 1 on or is there twice, or a code
            is unknown; the message names file, line and value.
    """
    positions = [0, *columns.values()]
    try:
        table = pd.read_csv(
            path,
            header=None,
            skiprows=int(header),
            usecols=sorted(set(positions)),
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
            low_memory=False,
        )
    except (
        ValueError,
        pd.errors.ParserError,
    ) as error:  # an empty file, missing columns and wrong bytes are ValueErrors too
        raise DatasetLayoutError(
            f"{path}: expected a table of frame numbers and codes with commas and at least {max(positions) + 1} columns, "
            f"but it cannot be read as one ({error}); copy it again"
        ) from error
    table = table.dropna(how="all")
    lines = table.index.to_numpy() + 1 + int(header)
    if table.empty:
        raise DatasetLayoutError(f"{path}: expected a line per frame, but there is none; copy it again")
    read = {"frame": _frames(table[0], lines, path)}
    for name, position in columns.items():
        read[name] = _codes(table[position], lines, path, name, allowed)
    return pd.DataFrame(read).sort_values("frame", kind="stable", ignore_index=True)


def _frames(column: pd.Series, lines: np.ndarray, path: Path) -> np.ndarray:
    """Frame numbers as int64, each once."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~((numbers >= 1) & (numbers == np.round(numbers)))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DatasetLayoutError(
            f"{path}, line {lines[first]}: expected a frame number from 1 on, but got {_plain(column.iloc[first])!r}"
        )
    frames = numbers.astype(np.int64)
    twice = pd.Series(frames).duplicated().to_numpy()
    if twice.any():
        first = int(np.flatnonzero(twice)[0])
        raise DatasetLayoutError(
            f"{path}, line {lines[first]}: frame {frames[first]} is there for the second time; remove one of the lines"
        )
    return frames


def _codes(column: pd.Series, lines: np.ndarray, path: Path, name: str, allowed: Collection[int]) -> np.ndarray:
    """Codes as int16, all of them known."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isin(numbers, list(allowed))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        known = ", ".join(map(str, sorted(allowed)))
        raise DatasetLayoutError(
            f"{path}, line {lines[first]}: expected {name} to be one of the codes {known}, but got {_plain(column.iloc[first])!r}; "
            "compare the file with the release"
        )
    return numbers.astype(np.int16)


def _plain(value: object) -> object:
    """A cell as a message shows it: whole numbers without a decimal point, an empty cell as an empty text."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else int(value) if float(value).is_integer() else float(value)
    return value.item() if isinstance(value, np.generic) else value


def occurrence(intensity: np.ndarray, threshold: int) -> np.ndarray:
    """Occurrence from intensity.

    Args:
        intensity: (N,) 0 to 5, nan where it is not coded.
        threshold: lowest intensity that counts as active, 1 to 5.

    Returns:
        (N,) int8: 1, 0, or -1 where the intensity is not coded.

    >>> occurrence(np.array([0, 1, 2, np.nan]), 2).tolist()
    [0, 0, 1, -1]
    """
    return np.where(np.isnan(intensity), -1, intensity >= threshold).astype(np.int8)


INTENSITY_CODES = (0, 1, 2, 3, 4, 5)
THRESHOLD = 2  # ME-GraphAU, MDHR, FG-Net, FMAE-IAT, Py-Feat's benchmark; OpenGraphAU and AU_R-CNN take 1


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Define `--threshold`."""
    parser.add_argument(
        "--threshold",
        type=int,
        choices=range(1, 6),
        default=THRESHOLD,
        help=f"lowest intensity that counts as active (default: {THRESHOLD}, the field's; intensities are kept in any case)",
    )


def join_aus(
    tables: Mapping[str, pd.DataFrame], au_names: Sequence[str], threshold: int, where: str, findings: Findings
) -> pd.DataFrame:
    """Put the files of one sequence beside each other.

    Args:
        tables: AU -> `frame` and `intensity`.
        au_names: All AUs of the release; those without a file are unknown in every frame.
        threshold: Lowest intensity that counts as active.
        where: Name of the sequence, for findings.
        findings: Take files that are shorter than the others.

    Returns:
        `frame` (every one that some file has), labels, intensities.
    """
    frames = np.unique(np.concatenate([table["frame"].to_numpy(dtype=np.int64) for table in tables.values()]))
    joined: dict[str, np.ndarray] = {"frame": frames}
    for au in au_names:
        if au in tables:
            values = tables[au].set_index("frame")["intensity"].reindex(frames).to_numpy(dtype=np.float64)
        else:
            values = np.full(len(frames), np.nan)
        lost = int(np.isnan(values).sum())
        if lost and au in tables:
            findings.note(
                "label file shorter than the others",
                f"{where} {au}",
                f"{lost:,} of {len(frames):,} frames have no label",
            )
        joined[au] = occurrence(values, threshold)
        joined[f"{au}_intensity"] = values
    return pd.DataFrame(joined)


def check_threshold(threshold: int) -> None:
    """Raise unless a threshold is one.

    Raises:
        ValueError: It is not.
    """
    if not 1 <= threshold <= 5:
        raise ValueError(f"Expected `threshold` to be 1 to 5, but got {threshold}")

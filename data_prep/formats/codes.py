"""Tables of codes per frame, and intensities with occurrence by a threshold as DISFA and DISFA+ have them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.cells import NUMBER, read_numbers
from auformer.data.text_table import read_text_table
from auformer.errors import DatasetLayoutError, ManifestError

from ..release import Findings
from .text_lines import bad_line, second_line

INTENSITY_CODES = (0, 1, 2, 3, 4, 5)
THRESHOLD = 2  # ME-GraphAU, MDHR, FG-Net, FMAE-IAT, Py-Feat's benchmark; OpenGraphAU and AU_R-CNN take 1


def threshold_option(default: int, whose: str = "") -> dict[str, object]:
    """The option `--threshold` of a release with intensities."""
    text = f"lowest intensity that counts as active (default: {default}{whose}; intensities are kept in any case)"
    return {"type": int, "choices": range(1, 6), "help": text}


def check_threshold(threshold: int) -> None:
    """Raise unless a threshold is one."""
    if not 1 <= threshold <= 5:
        raise ValueError(f"Expected `threshold` to be 1 to 5, but got {threshold}")


def read_codes(path: Path, columns: Mapping[str, int], allowed: Collection[int], *, header: bool) -> pd.DataFrame:
    """Read frame numbers and codes from a text file; `columns` are names with positions, 0 is the frame's.

    Returns:
        `frame` (int64, rising) and one int16 column per name.

    Raises:
        DatasetLayoutError: The file is empty or no such table, a frame number is no whole number from 1 on or occurs
            twice, or a code is unknown; the message names file, line and value.
    """
    try:
        table = read_text_table(path, None, named=header)
    except (ManifestError, OSError) as error:
        raise DatasetLayoutError(
            f"{path}: expected a table of frame numbers and codes, but it cannot be read as one ({error}); copy it "
            "again"
        ) from error
    lines, wide = table.lines, 1 + max(0, *columns.values())
    if not lines:
        raise DatasetLayoutError(f"{path}: expected a line per frame, but there is none; copy it again")
    if len(table.columns) < wide:
        raise DatasetLayoutError(
            f"{path}: expected a table of frame numbers and codes with at least {wide} columns, but it cannot be read "
            f"as one: it has {len(table.columns)}; copy it again"
        )

    def numbers(position: int, good: Callable[[np.ndarray], np.ndarray], expected: str, advice: str = "") -> np.ndarray:
        cells = table.columns[position]
        read, _ = read_numbers({"": cells}, {"": NUMBER}, lambda row: f"{path}, line {lines[row]}", strict=False)
        values = read.get("", pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy(np.float64))
        bad = np.flatnonzero(~good(values))
        if bad.size:
            value = values[bad[0]]
            shown = cells[bad[0]] if np.isnan(value) else int(value) if value == int(value) else float(value)
            raise bad_line(path, lines[bad[0]], expected, repr(shown), advice)
        return values

    frames = numbers(0, lambda values: (values >= 1) & (values == np.round(values)), "a frame number from 1 on")
    read = {"frame": frames.astype(np.int64)}
    twice = np.flatnonzero(pd.Series(read["frame"]).duplicated())
    if twice.size:
        raise second_line(path, lines[twice[0]], f"frame {read['frame'][twice[0]]}")
    known = ", ".join(map(str, sorted(allowed)))
    for name, position in columns.items():
        expected = f"{name} to be one of the codes {known}"
        codes = numbers(
            position, lambda values: np.isin(values, list(allowed)), expected, "compare the file with the release"
        )
        read[name] = codes.astype(np.int16)
    return pd.DataFrame(read).sort_values("frame", kind="stable", ignore_index=True)


def occurrence(intensity: np.ndarray, threshold: float) -> np.ndarray:
    """Occurrence (N,) int8 from intensity (N,) by a threshold; -1 where the intensity is nan, so not coded.

    >>> occurrence(np.array([0, 1, 2, np.nan]), 2).tolist()
    [0, 0, 1, -1]
    """
    return np.where(np.isnan(intensity), -1, intensity >= threshold).astype(np.int8)


def join_aus(
    tables: Mapping[str, pd.DataFrame], au_names: Sequence[str], threshold: int, where: str, findings: Findings
) -> pd.DataFrame:
    """Put the files of one sequence beside each other.

    Returns:
        `frame` (every one that some file has), labels, intensities.
    """
    frames = np.unique(np.concatenate([table["frame"].to_numpy(dtype=np.int64) for table in tables.values()]))
    joined: dict[str, np.ndarray] = {"frame": frames}
    for au in au_names:
        values = np.full(len(frames), np.nan)
        if au in tables:
            values = tables[au].set_index("frame")["intensity"].reindex(frames).to_numpy(dtype=np.float64)
            if lost := int(np.isnan(values).sum()):
                text = f"{lost:,} of {len(frames):,} frames have no label"
                findings.note("label file shorter than the others", f"{where} {au}", text)
        joined[au] = occurrence(values, threshold)
        joined[f"{au}_intensity"] = values
    return pd.DataFrame(joined)

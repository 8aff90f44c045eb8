"""What DISFA and DISFA+ share: one file of intensities per AU, occurrence by a threshold."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..release import Findings
from .codes import occurrence

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


def join_aus(tables: Mapping[str, pd.DataFrame], au_names: Sequence[str], threshold: int, where: str, findings: Findings) -> pd.DataFrame:
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
            findings.note("label file shorter than the others", f"{where} {au}", f"{lost:,} of {len(frames):,} frames have no label")
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

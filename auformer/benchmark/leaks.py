"""What must not be on both sides of a test: a person, a video, a picture."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.splits import check_disjoint, dataset_id
from auformer.errors import ManifestError

SHOWN = 3  # examples in a message
FILE, PICTURE, FIRST = "@file", "@picture", "@first"  # marks of a row's recording
WHAT = {FILE: "the video", PICTURE: "the picture", FIRST: "the first picture"}


def with_marks(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with marks of the recording that each is from, empty where there is none to know it by.

    Args:
        rows: Usable rows of `join_manifests`, with the column `@manifest`.

    Returns:
        A copy with `@file` (data set and source file), `@picture` (the picture's path) and `@first` (digest of the first picture of the
        row's sequence, on that row: a copy of a video under another name begins with the same one).
    """
    marked = rows.copy()
    marked[FILE] = marked[PICTURE] = marked[FIRST] = ""
    if "file" in rows.columns:
        known = rows["file"].notna() & (rows["file"] != "")
        sets = rows["dataset"].map({name: dataset_id(name) for name in rows["dataset"].unique()})
        marked[FILE] = (sets + ": " + rows["file"].astype(str)).where(known, "")
    if "image" in rows.columns:
        folders = {path: Path(path).resolve().parent.as_posix() for path in rows["@manifest"].astype(str).unique()}
        marked[PICTURE] = rows["@manifest"].astype(str).map(folders) + "/" + rows["image"].astype(str)
        first = marked.sort_values("frame").drop_duplicates(["dataset", "subject", "sequence"])[PICTURE]
        marked.loc[first.index, FIRST] = [_digest(Path(path)) for path in first]
    return marked


def _digest(path: Path) -> str:
    """SHA-256 of a picture; empty where it is missing, which is the data set's to report."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def check_leaks(train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Refuse training and test rows that show the same person or the same recording.

    Args:
        train: Rows to train and validate on, of `with_marks`.
        test: Rows to test on, of `with_marks`.

    Raises:
        ManifestError: A person, a video (`file` of a data set), a picture, or the first picture of a sequence is on both sides.
    """
    check_disjoint({"training": train, "test": test})
    for mark, what in WHAT.items():
        both = [value for value in np.intersect1d(train[mark].unique(), test[mark].unique()) if value]
        if both:
            told = "; ".join(f"{_row(train, mark, value)} (training) and {_row(test, mark, value)} (test)" for value in both[:SHOWN])
            more = f" and {len(both) - SHOWN:,} more" if len(both) > SHOWN else ""
            raise ManifestError(
                f"Expected no recording in training and in test, but {what} of these is the same: {told}{more}; one recording under two "
                "subjects is a leak, so correct the manifest"
            )


def _row(rows: pd.DataFrame, mark: str, value: str) -> str:
    """The first row with a mark, in words."""
    row = rows[rows[mark] == value].iloc[0]
    source = f", file {row['file']}" if mark == FILE else f", {row['image']}"
    return f"{row['dataset']} {row['subject']} {row['sequence']} frame {row['frame']}{source}"

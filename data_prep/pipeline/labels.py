"""A reader's table on its way to a manifest: the form that every reader keeps to, and counts of its labels."""

from __future__ import annotations

from typing import Any

import pandas as pd

from auformer.data.manifest import au_columns
from auformer.errors import DatasetLayoutError

from ..release import SOURCE, SOURCE_FRAME, SOURCE_MEMBER

_KEY = ["subject", "sequence", "frame"]
_WHERE = [SOURCE, SOURCE_FRAME, SOURCE_MEMBER]


def checked(table: pd.DataFrame, name: str, root: str) -> pd.DataFrame:
    """A reader's table with the columns that the pipeline relies on.

    Args:
        table: as `read` of a data set gives it.
        name: of the data set.
        root: folder that was read, for messages.

    Returns:
        A copy with a fresh index, `subject`, `sequence`, `clip` as text, `status` filled in.

    Raises:
        DatasetLayoutError: There is no row, or two rows have one key.
    """
    if not len(table):
        raise DatasetLayoutError(f"Expected labels of {name} in {root}, but found not one row; `auformer prepare --list` shows the tree")
    table = table.reset_index(drop=True)
    if "status" not in table.columns:
        table["status"] = "ok"
    if SOURCE not in table.columns:
        table[SOURCE] = ""
    for column in [column for column in ("subject", "sequence", "clip") if column in table.columns]:
        table[column] = table[column].astype(object).where(table[column].isna(), table[column].astype(str))
    twice = table.duplicated(_KEY)
    if twice.any():
        key = ", ".join(f"{column} {value}" for column, value in table.loc[twice.idxmax(), _KEY].items())
        raise DatasetLayoutError(f"Expected one row per frame in {root}, but {key} has {1 + int(twice.sum())} or fewer; correct the labels")
    return table


def first_with_picture(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The first rows that have a picture; all rows where there is no limit.

    Raises:
        ValueError: The limit is less than 1.
    """
    if limit is None:
        return table
    if limit < 1:
        raise ValueError(f"Expected `--limit` to be at least 1, but got {limit}")
    has = (table["status"] == "ok") & table[SOURCE].astype(object).notna() & (table[SOURCE] != "")
    return table[has].head(limit).reset_index(drop=True)


def to_manifest(table: pd.DataFrame, name: str, files: list[str], images: list[str], status: list[str]) -> pd.DataFrame:
    """The manifest of a reader's table.

    Args:
        table: as `checked` gives it.
        name: of the data set.
        files: value of the column `file` for each row.
        images: path of the crop for each row, relative to the manifest.
        status: of each row; those that are not `ok` get no image.
    """
    first = {"dataset": name, **{column: table[column] for column in _KEY}, "face": 0}
    first["image"] = [image if good == "ok" else None for image, good in zip(images, status, strict=True)]
    first |= {"status": status, "file": files}
    rest = table.drop(columns=[column for column in (*first, *_WHERE) if column in table.columns])
    return pd.concat([pd.DataFrame(first, index=table.index), rest], axis=1)


def label_rates(manifest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per AU: rows labelled present, rows with a label, and the share.

    >>> label_rates(pd.DataFrame({"AU12": [1, 0, -1, 0]}))
    {'AU12': {'positives': 1, 'known': 3, 'measured': 0.3333}}
    """
    rates = {}
    for au in au_columns(manifest):
        positives, known = int((manifest[au] == 1).sum()), int(manifest[au].isin([0, 1]).sum())
        rates[au] = {"positives": positives, "known": known, "measured": round(positives / known, 4) if known else None}
    return rates

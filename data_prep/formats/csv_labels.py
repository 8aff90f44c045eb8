"""Label columns of anybody's table (`AU1`, `AU01`, `AU01_c`, `AU12_left`, `AU12_r`) as those of a manifest."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from auformer.aus import ACTION_UNITS, MAX_INTENSITY
from auformer.data.cells import INTENSITY, LABEL
from auformer.data.schema import check_intensity_scale
from auformer.errors import DatasetLayoutError, ManifestError

from ..release import Findings
from .codes import occurrence
from .text_lines import bad_line

#: Ending of a column's name -> kind in a manifest. `_c` and `_r` are OpenFace's presence and regression (intensity).
_KINDS = {"": "", "c": "", "left": "left", "right": "right", "r": "intensity", "intensity": "intensity"}
_COLUMN = re.compile(r"AU\s?0*(\d+)(?:_(\w+))?", re.IGNORECASE)


class LabelColumn(NamedTuple):
    """A column with labels: its name in the table, the AU's canonical name, and the kind of a manifest's column.

    The kind is `""`, `left`, `right` or `intensity`.
    """

    name: str
    au: str
    kind: str


def label_columns(names: Sequence[str], where: str) -> list[LabelColumn]:
    """Columns that hold labels, by number of the action unit; unknown AUs and columns that mean the same are errors.

    >>> [tuple(column) for column in label_columns(["path", "AU12_r", "AU01_c"], "labels.csv")]
    [('AU01_c', 'AU1', ''), ('AU12_r', 'AU12', 'intensity')]
    """
    found: dict[tuple[str, str], LabelColumn] = {}
    for name in names:
        match = _COLUMN.fullmatch(name)
        if match is None or (match.group(2) or "").lower() not in _KINDS:
            continue
        au, kind = f"AU{match.group(1)}", _KINDS[(match.group(2) or "").lower()]
        if au not in ACTION_UNITS:
            raise DatasetLayoutError(
                f"{where}: column `{name}` names an unknown action unit; correct its number or rename the column"
            )
        if (au, kind) in found:
            raise DatasetLayoutError(
                f"{where}: columns `{found[au, kind].name}` and `{name}` mean the same; remove one"
            )
        found[au, kind] = LabelColumn(name, au, kind)
    return sorted(found.values(), key=lambda column: (int(column.au[2:]), column.kind))


def label_kind(name: str) -> str:
    """What the cells of a column may be, for `open_table`: numbers of labels or intensities; empty for other columns.

    >>> [label_kind(name) for name in ("AU01_c", "AU12_r", "path")]
    ['label', 'intensity', '']
    """
    match = _COLUMN.fullmatch(name)
    kind = _KINDS.get((match.group(2) or "").lower()) if match else None
    return "" if kind is None else INTENSITY if kind == "intensity" else LABEL


def is_openface(names: Sequence[str]) -> bool:
    """Whether a table is one of OpenFace's, whose `success` says in which rows a face was followed."""
    return "success" in names and any(label_kind(name) and name.lower().endswith(("_c", "_r")) for name in names)


def read_labels(
    table: pd.DataFrame, *, missing: Collection[float], threshold: float, where: str, findings: Findings,
    scale: float | None = None,
) -> pd.DataFrame:  # fmt: skip
    """The labels of a table as columns of a manifest.

    Args:
        table: As `open_table` gives it with `label_kind`.
        missing: Numbers that mean not annotated, besides an empty cell.
        threshold: An action unit that has an intensity only is present from there on, on the manifest's scale.
        where: What messages call the table.
        findings: Takes a note for each number that was read as not annotated, for rows in which OpenFace followed no
            face, and for occurrence that follows from an intensity.
        scale: Highest intensity of the table's scale, which becomes 5; None: 5, unless they look like fractions.

    Raises:
        DatasetLayoutError: A column or a cell cannot be understood, or the intensities look like fractions of 0 to 1.
    """
    labels: dict[str, np.ndarray] = {}
    columns = label_columns(list(table.columns), where)
    lost = np.zeros(len(table), bool)
    if is_openface(table.columns):
        lost = ~(table["success"] == 1).to_numpy(bool)
        if lost.any():
            text = f"{int(lost.sum()):,} of {len(table):,} rows have `success` 0"
            findings.note("no face was followed, so nothing is annotated", where, text)
    for column in columns:
        values = table[column.name].to_numpy(np.float64, copy=True)
        unknown = np.isin(values, list(missing))
        for value in sorted(set(values[unknown])):
            text = f"{value:g} in {int((values == value).sum()):,} rows of {column.name}"
            findings.note("read as not annotated", where, text)
        values[unknown] = np.nan
        if column.kind == "intensity":
            highest = scale or MAX_INTENSITY
            advice = (
                "correct it, name values that mean not annotated with --missing-values, or the highest value of the "
                "table's scale with --intensity-scale"
            )
            wanted = f"an intensity of 0 to {highest:g}"
            _refuse(table[column.name], (values < 0) | (values > highest), where, wanted, advice)
            labels[f"{column.au}_intensity"] = np.where(lost, np.nan, values * (MAX_INTENSITY / highest))
        else:
            _refuse(table[column.name], ~np.isnan(values) & (values != 0) & (values != 1), where, "0, 1 or empty")
            name = f"{column.au}_{column.kind}" if column.kind else column.au
            labels[name] = np.where(np.isnan(values) | lost, -1, values).astype(np.int8)
    _check_scale(labels, scale, where)
    for au in dict.fromkeys(column.au for column in columns):
        if _complete(labels, au, threshold):
            text = f"{au}: present from an intensity of {threshold:g} on"
            findings.note("occurrence from intensity", where, text)
    return pd.DataFrame({name: labels[name] for name in sorted(labels, key=_order)}, index=table.index)


def _check_scale(labels: dict[str, np.ndarray], scale: float | None, where: str) -> None:
    """Refuse what looks like fractions of 0 to 1 unless the scale is named."""
    if scale is not None:
        return
    try:
        check_intensity_scale({name: each for name, each in labels.items() if name.endswith("_intensity")}, where)
    except ManifestError as error:
        raise DatasetLayoutError(
            f"{where}: expected intensities of 0 to 5, but they are not whole numbers and none is above 1, as on a "
            "scale of 0 to 1; name the highest value of the scale: --intensity-scale 1, or 5 where they are levels all "
            "the same"
        ) from error


def _complete(labels: dict[str, np.ndarray], au: str, threshold: float) -> bool:
    """Add what a manifest needs beside the columns of an action unit: both sides, and whether it is present at all.

    Returns:
        Whether its occurrence is that of an intensity.
    """
    left, right = f"{au}_left", f"{au}_right"
    if left in labels or right in labels:
        one = labels.get(left, labels.get(right))
        assert one is not None
        for side in (left, right):
            labels.setdefault(side, np.full(len(one), -1, np.int8))
        low, high = np.minimum(labels[left], labels[right]), np.maximum(labels[left], labels[right])
        labels.setdefault(au, np.where((high == 1) | (low >= 0), high, -1).astype(np.int8))
    intensity = labels.get(f"{au}_intensity")
    if au in labels or intensity is None:
        return False
    labels[au] = occurrence(intensity, threshold)
    return True


def _order(name: str) -> tuple[int, str]:
    au, _, kind = name.partition("_")
    return int(au[2:]), kind


def _refuse(
    column: pd.Series, bad: np.ndarray, where: str, expected: str,
    advice: str = "correct it, or name values that mean not annotated: --missing-values",
) -> None:  # fmt: skip
    rows = np.flatnonzero(bad)
    if rows.size:
        got = f"'{column.iloc[rows[0]]:g}'" + (f" (and {rows.size - 1:,} more)" if rows.size > 1 else "")
        raise bad_line(where, column.index[rows[0]], f"`{column.name}` to be {expected}", got, advice)

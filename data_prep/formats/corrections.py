"""Known faults of annotation tables, kept as data: one CSV file per release in `assets/corrections/`.

Its columns: `row` (0-based, after the header, as pandas counts; or a name, in tables that are indexed by one), `column` (name in the
reader's table), `value` (what the cell should hold; `row N` takes the cell of row N before any correction), `when` (empty: always;
`missing`: only where the cell holds no number; `ambiguous`: only where the AU text leaves alternatives open), `source` (who says so).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..release import Findings
from .au_text import parse_aus
from .sheets import cell_number, cell_text

_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "corrections"
_ROW = "row "  # start of a value that is another row's


def read_corrections(name: str) -> pd.DataFrame:
    """The table of one release: `row` (int or a name), `column`, `value`, `when`, `source` (text); empty where no fault is known."""
    path = _FOLDER / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["row", "column", "value", "when", "source"])
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    table["row"] = [int(row) if row.isdecimal() else row for row in table["row"]]
    return table if "when" in table.columns else table.assign(when="")


def apply_corrections(frame: pd.DataFrame, name: str, findings: Findings) -> pd.DataFrame:
    """Put the known faults of a release right.

    Args:
        frame: its table; the index is the row after the header, as `auformer.data_prep.formats.sheets.read_sheet` gives it.
        name: of the release, and of the table in `assets/corrections/`.
        findings: every changed cell is listed; corrections whose row or column is not there, or that find the cell right, are not.

    Returns:
        A copy in which the named cells, and no others, are changed. Numbers are int.
    """
    corrected = frame.copy()
    for each in read_corrections(name).itertuples():
        rows = {each.row, int(str(each.value).removeprefix(_ROW)) if str(each.value).startswith(_ROW) else each.row}
        if not rows <= set(frame.index) or each.column not in frame.columns:
            continue
        old, value = frame.at[each.row, each.column], _value(str(each.value), str(each.column), frame)
        if cell_text(old) == cell_text(value) or not _is_due(str(each.when), old):
            continue
        corrected.at[each.row, each.column] = value
        findings.correct(name, each.row, f"{each.column} {cell_text(old) or 'empty'} -> {cell_text(value) or 'empty'} ({each.source})")
    return corrected


def _value(text: str, column: str, frame: pd.DataFrame) -> object:
    """What the cell should hold."""
    if text.startswith(_ROW):
        return frame.at[int(text.removeprefix(_ROW)), column]
    number = cell_number(text)
    return text if number is None else number


def _is_due(when: str, old: object) -> bool:
    """Whether a correction applies to what the cell holds."""
    if when == "missing":
        return cell_number(old) is None
    if when == "ambiguous":
        return bool(parse_aus(cell_text(old)).ambiguous or parse_aus(cell_text(old)).unread)
    return True

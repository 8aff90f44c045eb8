"""Known faults of annotation tables, which are put right only where the table shows them.

They are data, one CSV file per release in `assets/corrections/`: `row` (0-based, after the header, as pandas counts; or
a name, in tables that are indexed by one), `column` (name in the reader's table), `value` (what the cell should hold;
`row N` takes the cell of row N before any correction), `when`, `source` (who says so).

A row's number says little: a table may be sorted in another way, or be of another edition. So `when` says what the
table itself has to say [ours]:

* empty: the row's own numbers contradict each other or its images, and the corrected ones do not;
* `missing`: the cell holds no number, the value lies between onset and offset, and no other row lacks one;
* `ambiguous`: the AU text leaves alternatives open, and names the action units that are decided for;
* `N rows in order`: the table has N rows, in the order of subjects and clips.

What is not taken is noted.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.cells import cell_text

from ..release import Findings
from .au_text import parse_aus
from .sheets import cell_number, place

#: Columns of an annotation table that corrections are about; `apex` may be missing.
ONSET, APEX, OFFSET, AU = "onset", "apex", "offset", "au"

#: Key of a corrected table's `attrs`: (row, column) -> who says so, of the numbers that the images have to confirm.
PENDING = "pending"

_CORRECTIONS = Path(__file__).resolve().parents[1] / "assets" / "corrections"
_ROW = "row "  # start of a value that is another row's
_IN_ORDER = re.compile(r"(\d+) rows in order")
_SHOWN = 3  # rows that a note names [ours]


def read_corrections(name: str) -> pd.DataFrame:
    """The table of one release: `row` (int or a name), `column`, `value`, `when`, `source`; maybe empty."""
    path = _CORRECTIONS / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["row", "column", "value", "when", "source"])
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    table["row"] = [int(row) if row.isdecimal() else row for row in table["row"]]
    return table if "when" in table.columns else table.assign(when="")


def apply_corrections(frame: pd.DataFrame, name: str, findings: Findings) -> pd.DataFrame:
    """A copy of a table in which the cells whose faults it shows, and no others, are changed.

    Changed texts are listed here. Changed numbers are kept in `attrs[PENDING]` with their source, since only the images
    can say whether they are right.
    """
    corrected, pending = frame.copy(), {}
    corrections = read_corrections(name)
    refused = _refused(frame, corrections, findings)
    for row, group in corrections[corrections["row"].isin(frame.index)].groupby("row", sort=False):
        changes = {}
        for each in group.itertuples():
            column, when = str(each.column), str(each.when)
            if column not in frame.columns or (column, when) in refused:
                continue
            value = _value(str(each.value), frame, column)
            if not _is_due(when, frame.at[row, column], value):
                continue
            if value is not None and cell_text(frame.at[row, column]) != cell_text(value):
                changes[column] = (value, str(each.source))
        numbers = {column: value for column, (value, _) in changes.items() if column != AU}
        if numbers and not in_order({**_numbers(frame, row), **numbers}):
            said = ", ".join(f"{column} {value}" for column, value in numbers.items())
            text = f"{said} does not fit the row's other numbers"
            findings.note("known fault that the table does not show", place(frame, row), text)
            changes = {column: change for column, change in changes.items() if column == AU}
        for column, (value, source) in changes.items():
            corrected.at[row, column] = value
            if column == AU:
                list_correction(findings, name, row, column, frame.at[row, column], value, source)
            else:
                pending[row, column] = source
    corrected.attrs = {**frame.attrs, PENDING: pending, "corrections": name}
    return corrected


def list_correction(findings: Findings, name: str, row: Any, column: str, old: Any, new: Any, source: str) -> None:
    """List a cell that was changed."""
    findings.correct(name, row, f"{column} {cell_text(old) or 'empty'} -> {cell_text(new) or 'empty'} ({source})")


def _refused(frame: pd.DataFrame, corrections: pd.DataFrame, findings: Findings) -> set[tuple[str, str]]:
    """Columns and conditions of the corrections that are of another table than this one, as its rows say."""
    refused = set()
    for (column, when), group in corrections.groupby(["column", "when"], sort=False):
        if column not in frame.columns:
            continue
        if when == "missing":
            others = [row for row in _named(frame) if cell_number(frame.at[row, column]) is None]
            others = [row for row in others if row not in set(group["row"])]
            if not others:
                continue
            rows = ", ".join(place(frame, row).rpartition(" ")[2] for row in others[:_SHOWN])
            text = f"{column} is missing in rows that the list of known faults does not have (row {rows})"
        elif (match := _IN_ORDER.fullmatch(when)) is not None:
            if len(frame) == int(match[1]) and _is_sorted(frame):
                continue
            text = f"they were found in a table of {match[1]} rows by subject and clip, and this one has {len(frame):,}"
            text += "" if len(frame) != int(match[1]) else " in another order"
        else:
            continue
        refused.add((str(column), str(when)))
        text += f"; {len(group)} cells of {column} keep what the table says"
        findings.note("known faults of another edition are not corrected", frame.attrs.get("file", "the table"), text)
    return refused


def _value(text: str, frame: pd.DataFrame, column: str) -> object:
    """What a cell should hold; None where it is that of a row that is not there."""
    if text.startswith(_ROW):
        origin = int(text.removeprefix(_ROW))
        return frame.at[origin, column] if origin in frame.index else None
    number = cell_number(text)
    return text if number is None else number


def _is_due(when: str, old: object, new: object) -> bool:
    """Whether a cell shows the fault of a correction, as far as it can by itself."""
    if when == "missing":
        return cell_number(old) is None
    if when == "ambiguous":
        text = parse_aus(cell_text(old))
        return bool(text.ambiguous) and set(parse_aus(str(new)).aus) <= {*text.aus, *text.ambiguous}
    return True


def _named(frame: pd.DataFrame) -> list[Any]:
    """The rows that name a subject and a clip."""
    return [row for row in frame.index if cell_text(frame.at[row, "subject"]) and cell_text(frame.at[row, "name"])]


def _is_sorted(frame: pd.DataFrame) -> bool:
    """Whether rows are in the order of subjects and clips, numbers as such."""
    names = zip(frame["subject"], frame["name"], strict=True)
    keys = [[_natural(cell_text(value)) for value in pair] for pair in names]
    return all(one <= two for one, two in itertools.pairwise(keys))


def _natural(text: str) -> list[tuple[int, str, int]]:
    """A key by which `S2` comes before `S10`."""
    return [(1, "", int(part)) if part.isdecimal() else (0, part.casefold(), 0) for part in re.split(r"(\d+)", text)]


def _numbers(frame: pd.DataFrame, row: Any) -> dict[str, object]:
    """Onset, apex and offset of a row, as far as the table has them."""
    return {name: frame.at[row, name] for name in (ONSET, APEX, OFFSET) if name in frame.columns}


def in_order(numbers: Mapping[str, object]) -> bool:
    """Whether the onset comes first and the offset last, as far as they are numbers.

    >>> in_order({"onset": 46, "apex": "/", "offset": 49}), in_order({"onset": 76, "apex": 78, "offset": 51})
    (True, False)
    """
    known = [number for name in (ONSET, APEX, OFFSET) if (number := cell_number(numbers.get(name))) is not None]
    return known == sorted(known)

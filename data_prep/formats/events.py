"""Tables of events: BORIS (tabular and aggregated), The Observer (Noldus), BIDS, `episodes.csv`, and others like them.

Columns: `boris/export_observation.py` and `export_events.py` of boris-behav-obs 8.27 and 10.0; The Observer XT's
`Time_Relative_sf`, `Duration_sf`, `Behavior`, `Event_Type` as public scripts read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.cells import MISSING, NUMBER
from auformer.data.table_file import open_table, place_of
from auformer.errors import DatasetLayoutError, ManifestError

from .marks import Coding, Mark

_NAMES = {
    "what": ("behavior", "behaviour", "trial_type", "au", "action unit", "code", "label", "tier", "event"),
    "begin": ("start (s)", "start", "begin_s", "begin (s)", "begin", "onset", "onset (s)", "time_relative_sf", "time"),
    "end": ("stop (s)", "stop", "end_s", "end (s)", "end"),
    "length": ("duration (s)", "duration_s", "duration", "duration_sf"),
    "kind": ("behavior type", "behaviour type", "event_type", "event type", "status"),
    "person": ("person", "subject", "participant"),
    "observation": ("observation id", "observation", "file"),
    "media": ("media file name", "media file path", "media file", "file"),
    "offset": ("time offset (s)",),
}
_SECONDS = ("begin", "end", "length", "offset")
_TEXTS = ("modifier", "intensity", "value", "peak_intensity")  # beginnings of columns that say how a behaviour was
_FROM_FIRST = frozenset({"trial_type", "begin_s"})  # columns of tables whose times begin with the first frame


def read_events(path: Path, observation: str | None) -> Coding:
    """The events of a table.

    Args:
        path: Text with any separator, or a spreadsheet.
        observation: Which one of several observations.

    Raises:
        DatasetLayoutError: Columns are missing, a state has no end, or there are several observations.
    """
    kinds = {name: NUMBER for key in _SECONDS for name in _NAMES[key]}
    try:
        table = open_table(path, header=_is_header, kinds=lambda name: kinds.get(name.lower(), ""))
    except ManifestError as error:
        raise DatasetLayoutError(str(error)) from error
    columns = {key: column for key, names in _NAMES.items() if (column := _column(table, names)) is not None}
    if "what" not in columns or "begin" not in columns:
        raise DatasetLayoutError(
            f"{path.name}: expected columns with what was seen (`Behavior`) and when (`Start (s)`, `Time`, `onset`), "
            f"but its columns are {', '.join(map(str, table.columns[:12]))}"
        )
    table = _one_observation(table, columns, observation, path)
    offset = table[columns["offset"]].dropna().unique() if "offset" in columns else np.array([])
    media = [str(name) for name in table[columns["media"]].unique() if name] if "media" in columns else []
    marks = _marks(table, columns)
    tiers = list(dict.fromkeys((mark.tier, mark.person) for mark in marks))
    player = not _FROM_FIRST & {str(name).lower() for name in table.columns}
    return Coding(marks, tiers, media, -float(offset[0]) if len(offset) else 0.0, player)


def _is_header(names: Sequence[str]) -> bool:
    found = {name.lower() for name in names}
    return bool(found & set(_NAMES["what"]) and found & set(_NAMES["begin"]))


def _column(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The first of some spellings that a table has."""
    there = {str(name).lower(): str(name) for name in table.columns}
    return next((there[name] for name in names if name in there), None)


def _one_observation(table: pd.DataFrame, columns: dict[str, str], wanted: str | None, path: Path) -> pd.DataFrame:
    if "observation" not in columns:
        if wanted is not None:
            raise DatasetLayoutError(
                f"{path.name}: expected a column of observations for --observation, but it has none"
            )
        return table
    names = table[columns["observation"]].astype(str)
    there = sorted(set(names))
    if wanted is None and len(there) > 1:
        raise DatasetLayoutError(
            f"{path.name}: expected one observation, but it holds {len(there)} ({', '.join(there[:5])}); name one with "
            "--observation, and prepare each on its own"
        )
    if wanted is not None and wanted not in there:
        raise DatasetLayoutError(f"{path.name}: expected the observation {wanted}, but it holds {', '.join(there[:5])}")
    return table if wanted is None else table[(names == wanted).to_numpy()]


def _marks(table: pd.DataFrame, columns: dict[str, str]) -> list[Mark]:
    """A mark per event: to its end, by its duration, or from a row that starts it to one that stops it."""
    marks: list[Mark] = []
    begun: dict[tuple[str, str], tuple[int, float, str]] = {}
    texts = [str(name) for name in table.columns if str(name).lower().startswith(_TEXTS)]
    for row in range(len(table)):
        cells = table.iloc[row]
        what = str(cells[columns["what"]]).strip()
        begin = float(cells[columns["begin"]])
        where = place_of(table, row)
        if not what:
            continue
        if np.isnan(begin):
            raise DatasetLayoutError(f"{where}: expected a time in `{columns['begin']}`, but it is empty")
        person = str(cells[columns["person"]]).strip() if "person" in columns else ""
        person = "" if person.lower() in ("no focal subject", "na") else person
        text = next((said for name in texts if (said := _said(cells[name]))), "")
        kind = str(cells[columns["kind"]]).strip().lower() if "kind" in columns else ""
        end = _end(cells, columns, begin, kind)
        if kind.endswith("stop"):
            if (what, person) in begun:
                _, first, said = begun.pop((what, person))
                marks.append(Mark(what, person, said or text, first, begin, where))
        elif end is None and kind.endswith("start"):
            if (what, person) in begun:
                raise DatasetLayoutError(
                    f"{where}: {what} starts, but it has not stopped since {begun[what, person][1]:g} s"
                )
            begun[what, person] = (row, begin, text)
        else:
            marks.append(Mark(what, person, text, begin, begin if end is None else end, where))
    for (what, _), (row, begin, _) in begun.items():
        raise DatasetLayoutError(f"{place_of(table, row)}: {what} starts at {begin:g} s and never stops; correct it")
    return marks


def _said(cell: object) -> str:
    """What a cell says of a behaviour; a word for a missing value says nothing."""
    text = str(cell).strip()
    return "" if text.lower() in MISSING else text


def _end(cells: pd.Series, columns: dict[str, str], begin: float, kind: str) -> float | None:
    """When an event ends, by its own row; None where the row does not say."""
    if kind.endswith("point"):
        return begin
    if "end" in columns and not np.isnan(end := float(cells[columns["end"]])):
        return end
    if "length" in columns and not np.isnan(length := float(cells[columns["length"]])):
        return begin + length
    return None

"""Names, types and checks of the columns of a manifest and of a predictions file.

Checks of single columns, whole columns at a time; each returns the column in the type of the contract.

An error says what is wrong, where (file, row, column) and what to do. Rows are counted from 1 as in a list of faces;
the line of a CSV file is one more, because of its header.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import ACTION_UNITS, MAX_INTENSITY, canonical
from auformer.data.cells import level_of_letter
from auformer.errors import ManifestError
from auformer.files import OUTSIDE

KEY = ["dataset", "subject", "sequence", "frame", "face"]
TEXT_KEY = ["dataset", "subject", "sequence"]
CLIP_FRAMES = ["onset", "apex", "offset"]
NUMBERS = ["time_s", "x", "y", "w", "h", "score"]
SIDES = ("left", "right")  # the person's own sides, as in FACS
PREDICTION_KINDS = ("true", "prob", "active", "intensity_pred", "intensity_true")
MANIFEST_KINDS = ("", "left", "right", "intensity")

SCALE, THRESHOLD = "intensity_scale", "occurrence_threshold"  # keys of a manifest's sidecar
DEFAULT_THRESHOLD = 1.0  # level A, as BP4D's coders count an AU as present; the literature on DISFA starts from 2

_KINDS = "left|right|intensity_pred|intensity_true|intensity|true|prob|active"
_COLUMN = re.compile(rf"AU(\d+)(?:_({_KINDS}))?", re.IGNORECASE)


def parse_column(name: object) -> tuple[str, str] | None:
    """Take the name of an action unit column apart.

    Returns:
        Canonical AU and kind: `""` for the label, `left`, `right`, `intensity`, or `true`, `prob`, `active`,
        `intensity_pred`, `intensity_true` of a prediction; None for a column that is not about an AU.

    Raises:
        ValueError: The column is about an AU that does not exist, or its spelling is not the canonical one.

    >>> parse_column("AU12"), parse_column("AU4_prob"), parse_column("frame")
    (('AU12', ''), ('AU4', 'prob'), None)
    """
    match = _COLUMN.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return None
    number, kind = match.group(1), (match.group(2) or "").lower()
    if f"AU{int(number)}" not in ACTION_UNITS:
        raise ValueError(f"column `{name}` names an unknown action unit; correct its number or rename the column")
    au = canonical(f"AU{number}")
    spelling = f"{au}_{kind}" if kind else au
    if name != spelling:
        raise ValueError(f"column `{name}` should be spelled `{spelling}`; rename it")
    return au, kind


def aus_with(names: Iterable[object], kind: str) -> list[str]:
    """Action units that have a column of one kind (see `parse_column`), by number.

    >>> aus_with(["AU12_prob", "frame", "AU4_prob", "AU1"], "prob")
    ['AU4', 'AU12']
    """
    found = {parsed[0] for name in names if (parsed := parse_column(name)) is not None and parsed[1] == kind}
    return sorted(found, key=lambda au: int(au[2:]))


def row_name(row: int) -> str:
    """How a message names a row.

    >>> row_name(0)
    'row 1 (line 2 of a CSV)'
    """
    return f"row {row + 1} (line {row + 2} of a CSV)"


def fail(where: str, bad: np.ndarray, message: str, todo: str) -> None:
    """Raise for the first bad row, if there is one.

    Args:
        where: File, or another name of the table.
        bad: `(rows,)` bool.
        message: What is wrong; `{row}` stands for the index of the first bad row.
        todo: What to do about it.

    Raises:
        ManifestError: Some row is bad.
    """
    rows = np.flatnonzero(bad)
    if rows.size:
        more = f" (and {rows.size - 1:,} more row{'s' if rows.size > 2 else ''})" if rows.size > 1 else ""
        raise ManifestError(f"{where}, {row_name(int(rows[0]))}: {message}{more}; {todo}")


def require_columns(frame: pd.DataFrame, names: Iterable[str], where: str, what: str) -> None:
    """Raise unless all columns are there.

    Raises:
        ManifestError: A column is missing.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        has = ", ".join(map(str, frame.columns[:20]))
        listed = ", ".join(f"`{name}`" for name in missing)
        raise ManifestError(f"{where}: missing column {listed}; {what} needs it; the columns found are {has}")


def text_column(column: pd.Series, where: str, *, required: bool) -> pd.Series:
    """A column of text; whole numbers become text, empty cells stay missing.

    Raises:
        ManifestError: It holds decimal numbers, or a required cell is empty.
    """
    name = str(column.name)
    if pd.api.types.is_float_dtype(column.dtype) and column.notna().any():
        raise ManifestError(f"{where}: column `{name}` holds decimal numbers where text is expected; write it as text")
    missing = column.isna()
    text = column.astype(str).where(~missing) if missing.any() else column.astype(str)
    empty = (missing | (text == "")).to_numpy(bool)
    if required:
        fail(where, empty, f"column `{name}` is empty", "fill it in, it is part of every row's key")
    return text


def number_column(column: pd.Series, where: str, *, wanted: str = "a number") -> np.ndarray:
    """A column of numbers as float64, nan where empty; `wanted` is what messages ask for."""
    values = pd.to_numeric(column, errors="coerce")
    bad = (values.isna() & column.notna()).to_numpy(bool)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = bad | np.isinf(numbers)
    if bad.any():
        fail(where, bad, f"column `{column.name}` should be {wanted}, but is {_first(column, bad)!r}", "correct it")
    return numbers


def _first(column: pd.Series, bad: np.ndarray) -> object:
    """The first bad value, as plain Python."""
    value = column.iloc[int(np.flatnonzero(bad)[0])]
    return value.item() if isinstance(value, np.generic) else value


def whole_column(column: pd.Series, where: str) -> pd.Series:
    """A column of whole numbers, without empty cells, as int64."""
    numbers = number_column(column, where)
    bad = ~(np.isfinite(numbers) & (numbers == np.round(numbers)))
    if bad.any():
        message = f"column `{column.name}` should be a whole number, but is {_first(column, bad)!r}"
        fail(where, bad, message, "correct it")
    return pd.Series(numbers.astype(np.int64), index=column.index, name=column.name)


def label_column(column: pd.Series, where: str, *, allowed: Sequence[int] = (0, 1, -1)) -> pd.Series:
    """A column of labels as int8, -1 where empty.

    Raises:
        ManifestError: A cell is neither empty nor `allowed`.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    empty = column.isna().to_numpy(bool)
    bad = ~(empty | np.isin(numbers, allowed))
    if bad.any():
        listed = ", ".join(map(str, allowed))
        value = _first(column, bad)
        hint = "9 and 999 of the releases mean -1, not annotated" if value in (9, 999) else "correct the label"
        fail(where, bad, f"`{column.name}` should be {listed} or empty, but is {value!r}", hint)
    return pd.Series(np.where(empty, -1, numbers).astype(np.int8), index=column.index, name=column.name)


def range_column(column: pd.Series, where: str, low: float, high: float) -> pd.Series:
    """A column of numbers in `[low, high]` or empty."""
    numbers = number_column(column, where)
    bad = (numbers < low) | (numbers > high)
    if bad.any():
        message = f"`{column.name}` should be in {low:g} to {high:g}, but is {_first(column, bad)!r}"
        fail(where, bad, message, "correct it")
    return pd.Series(numbers, index=column.index, name=column.name)


def intensity_column(column: pd.Series, where: str, *, highest: float = MAX_INTENSITY) -> pd.Series:
    """A column of intensities as float64 in `[0, highest]`, nan where empty; letters A to E of FACS are 1 to 5.

    Raises:
        ManifestError: A cell is neither empty nor such a number or letter.

    >>> intensity_column(pd.Series(["A", "", 3, None, "e"]).replace("", None), "here").tolist()
    [1.0, nan, 3.0, nan, 5.0]
    """
    if has_letters(column):
        text = column.astype(object)
        column = text.map(lambda cell: level_of_letter(str(cell)) or cell).rename(column.name)
    numbers = number_column(column, where, wanted=f"a number of 0 to {highest:g}, a letter A to E, or empty")
    bad = (numbers < 0) | (numbers > highest)
    if bad.any():
        told = f" (the sidecar says `{SCALE}`: {highest:g})" if highest != MAX_INTENSITY else ""
        message = f"`{column.name}` should be in 0 to {highest:g}{told}, but is {_first(column, bad)!r}"
        fail(where, bad, message, "correct it, or bring the column to 0 to 5")
    return pd.Series(numbers, index=column.index, name=column.name)


def has_letters(column: pd.Series) -> bool:
    """Whether intensities are written in the letters of FACS, at least in part."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    return any(level_of_letter(str(cell)) is not None for cell in column.dropna().unique())


def check_intensity_scale(intensities: Mapping[str, Any], where: str) -> None:
    """Refuse intensities that look like fractions of 0 to 1 in the place of levels of 0 to 5.

    They do where some are not whole numbers and none is above 1, in all columns together: one column of a rare action
    unit may well hold nothing but weak ones.

    Args:
        intensities: Column name -> numbers `(rows,)`, nan where empty.
        where: What the message calls the table.

    Raises:
        ManifestError: Says which column it is and what to set.
    """
    values = {name: np.asarray(column, dtype=np.float64) for name, column in intensities.items()}
    known = {name: column[~np.isnan(column)] for name, column in values.items()}
    broken = {name: column[column != np.round(column)] for name, column in known.items()}
    odd = next((name for name, column in broken.items() if column.size), None)
    if odd is not None and not any((column > 1).any() for column in known.values()):
        raise ManifestError(
            f"{where}: intensities are levels of 0 to 5, but those here are not whole numbers and none is above 1 "
            f'(`{odd}`, {broken[odd][0]:g}), as on a scale of 0 to 1; multiply them by 5, or write `"{SCALE}": 1` into '
            f"the sidecar, or 5 where they are levels all the same"
        )


def image_column(column: pd.Series, ok: np.ndarray, where: str) -> pd.Series:
    """A column of image paths: relative, `/` between the parts, inside the manifest's folder.

    Empty where a row is not `ok`.
    """
    text = text_column(column, where, required=False)
    missing = (text.isna() | (text == "")).to_numpy(bool)
    todo = "name the image, or the reason in `status`"
    fail(where, ok & missing, "`image` is empty in a row whose `status` is `ok`", todo)
    bad = text.str.contains(re.compile(OUTSIDE), na=False).to_numpy(bool)
    if bad.any():
        wanted = "a path inside the manifest's folder, relative to it and with `/`"
        todo = "move the images beside the manifest, or the manifest above them"
        fail(where, bad, f"`image` should be {wanted}, but is {_first(text, bad)!r}", todo)
    return text


def unique_key(frame: pd.DataFrame, key: list[str], where: str) -> None:
    """Raise if two rows have one key.

    Raises:
        ManifestError: Two rows have the same key; both are named.
    """
    twice = frame.duplicated(key).to_numpy(bool)
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        values = frame.iloc[row][key]
        first = int(np.flatnonzero((frame[key] == values).all(axis=1).to_numpy(bool))[0])
        named = ", ".join(f"{name} {values[name]}" for name in key)
        todo = "keep one row per face, or number the faces in `face`"
        fail(where, twice, f"same key as {row_name(first)}: {named}", todo)


def au_kinds(frame: pd.DataFrame, where: str) -> dict[str, tuple[str, str]]:
    """Column -> (AU, kind) of the columns that are about an AU.

    Raises:
        ManifestError: A column names an unknown AU, or spells its name in another way.
    """
    kinds = {}
    for name in frame.columns:
        try:
            parsed = parse_column(name)
        except ValueError as error:
            raise ManifestError(f"{where}: {error}") from error
        if parsed is not None:
            kinds[str(name)] = parsed
    return kinds


def keyed(frame: pd.DataFrame, where: str, what: str) -> pd.DataFrame:
    """A copy of a table with key, status and the other columns of both contracts in their types.

    Raises:
        ManifestError: A column is missing, a value breaks the contract, or a key occurs twice.
    """
    require_columns(frame, KEY[:-1], where, what)
    if not len(frame):
        raise ManifestError(f"{where}: the table has no rows; write it again with at least one")
    frame = frame.reset_index(drop=True)
    if "face" not in frame.columns:
        frame.insert(frame.columns.get_loc("frame") + 1, "face", 0)
    frame["face"] = frame["face"].fillna(0)
    if "status" not in frame.columns:
        frame["status"] = "ok"
    for name in TEXT_KEY:
        frame[name] = text_column(frame[name], where, required=True)
    for name in ("frame", "face"):
        frame[name] = whole_column(frame[name], where)
    frame["status"] = text_column(frame["status"], where, required=False).fillna("ok").replace("", "ok")
    for name in [name for name in ("fold", "clip", "file") if name in frame.columns]:
        frame[name] = text_column(frame[name], where, required=False)
    for name in [name for name in (*NUMBERS, *CLIP_FRAMES) if name in frame.columns]:
        frame[name] = number_column(frame[name], where)
    unique_key(frame, KEY, where)
    return frame


def check_sides(frame: pd.DataFrame, kinds: dict[str, tuple[str, str]], where: str) -> None:
    """`AU12` is the maximum of its sides, as far as they are annotated.

    Raises:
        ManifestError: It is not, or one of the three columns is missing.
    """
    for au in sorted({au for au, kind in kinds.values() if kind in SIDES}):
        sides = [f"{au}_{side}" for side in SIDES]
        require_columns(frame, [au, *sides], where, f"a manifest with sides of {au}")
        left, right, label = (frame[name].to_numpy() for name in (*sides, au))
        highest = np.maximum(left, right)
        known = (left >= 0) & (right >= 0)
        bad = (label >= 0) & np.where(known, label != highest, label < highest)
        message = f"`{au}` is not the maximum of `{sides[0]}` and `{sides[1]}`"
        fail(where, bad, message, "correct the label or the sides")


def check_clips(frame: pd.DataFrame, where: str) -> None:
    """Frame numbers and labels of a clip are equal on all its rows, and onset, apex and offset are in order.

    Raises:
        ManifestError: They are not.
    """
    if "clip" not in frame.columns:
        return
    named = [name for name in CLIP_FRAMES if name in frame.columns]
    shared = [*named, *aus_with(frame.columns, "")]
    rows = frame[[*TEXT_KEY, "clip", *shared]].reset_index(names="row").dropna(subset="clip")
    distinct = rows.drop_duplicates([*TEXT_KEY, "clip", *shared])
    differing = distinct.duplicated([*TEXT_KEY, "clip"]).to_numpy(bool)
    bad = np.zeros(len(frame), bool)
    bad[distinct["row"].to_numpy()[differing]] = True
    message = "frame numbers or labels differ from those of the clip's first row"
    fail(where, bad, message, "a clip has one label and one set of frames")
    for early, late in itertools.combinations(named, 2):
        bad = frame["clip"].notna().to_numpy(bool) & (frame[early] > frame[late]).to_numpy(bool)
        fail(where, bad, f"`{early}` comes after `{late}`", "correct the frame numbers of the clip")

"""What the cells of anybody's table say: numbers in any locale, truths, FACS letters, dates, nothing.

A cell is text, or what a spreadsheet keeps: int, float, bool, a date, None. What may mean two things is decided by the
other cells of the table (`0,5` in one column makes `1,234` of another a decimal), or refused with both readings.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auformer.errors import ManifestError

#: Kinds of columns: numbers; numbers where TRUE is 1; numbers where the letters A to E are the FACS intensities 1 to 5.
NUMBER, LABEL, INTENSITY = "number", "label", "intensity"

LETTERS = "ABCDE"  # trace, slight, marked, severe, maximum (FACS 2002): 1 to 5

# Words for a missing number: R and pandas, Excel, SAS and SPSS, coders, C# and Java; compared in small letters.
MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "<na>", "null", "#null!", "none", "nil", ".", "-", "--", "\u2013", "\u2014"}
)
# What C writes for a number that is none: `-nan(ind)` (OpenFace on Windows), `-1.#IND`, rounded to `-1.#J` or `-1.#IO`.
_NOT_A_NUMBER = re.compile(r"[+-]?(?:nan(?:\([a-z0-9_]*\))?|1\.#(?!INF)[A-Z]+0*)", re.IGNORECASE)
_TRUTHS = {"true": 1.0, "false": 0.0, "wahr": 1.0, "falsch": 0.0, "vrai": 1.0, "faux": 0.0}  # Excel's, by locale

_EXPONENT = r"(?:[eE][+-]?\d+)?"
_POINT = re.compile(rf"[+-]?(?:\d+\.?\d*|\.\d+){_EXPONENT}", re.ASCII)
_COMMA = re.compile(rf"[+-]?\d*,\d+{_EXPONENT}", re.ASCII)
_THOUSANDS_COMMA = re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:,\d{{3}})+(\.\d*)?{_EXPONENT}", re.ASCII)
_THOUSANDS_POINT = re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:\.\d{{3}})+(,\d*)?{_EXPONENT}", re.ASCII)
_THOUSANDS_BLANK = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f](?=\d{3}(?!\d))", re.ASCII)

_MONTHS = "jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_DATE = re.compile(
    rf"\d{{1,2}}[.\- /]+(?:{_MONTHS})[a-z]*\.?(?:[- /]+\d{{2,4}})?|(?:{_MONTHS})[a-z]*\.?[- /]+\d{{1,4}}"
    r"|\d{4}-\d{2}-\d{2}(?:[ T].*)?|\d{1,2}([./-])\d{1,2}\1\d{2,4}",
    re.IGNORECASE,
)
_SHOWN = 3  # words that a note lists [ours]


@dataclass(frozen=True)
class DateCell:
    """A date in a spreadsheet.

    Args:
        value: The date.
        form: How the program shows it (`d-mmm`).
    """

    value: datetime.date | datetime.time | datetime.timedelta
    form: str

    def __str__(self) -> str:
        """The date, without a time of 0:00."""
        return str(self.value).removesuffix(" 00:00:00")

    def numbers(self) -> tuple[int, ...] | None:
        """The numbers of which the date was made, in some order; None where the form does not say which.

        A program shows what was entered: `4-5` as `5-Apr` (day and month), `4-25` as `Apr-25` (month and year).

        >>> DateCell(datetime.datetime(2014, 5, 4), "d-mmm").numbers()
        (4, 5)
        >>> DateCell(datetime.datetime(2025, 4, 1), "mmm-yy").numbers()
        (4, 25)
        >>> DateCell(datetime.datetime(2014, 5, 4), "yyyy-mm-dd").numbers() is None
        True
        """
        shown = set(re.sub(r'\[[^\]]*\]|"[^"]*"|\\.|[^a-z]', "", self.form.lower()))
        if not isinstance(self.value, datetime.date):
            return None
        if shown == {"d", "m"}:
            return self.value.day, self.value.month
        return (self.value.month, self.value.year % 100) if shown == {"m", "y"} and self.value.day == 1 else None


def is_missing(text: str, more: Collection[str] = ()) -> bool:
    """Whether a text stands for a number that is not there; `more` are further words, in small letters.

    >>> [is_missing(text) for text in ("NA", "-nan(ind)", "-1.#IND", " . ", "0", "inf")]
    [True, True, True, True, False, False]
    """
    word = text.strip().lower()
    return word in MISSING or word in more or _NOT_A_NUMBER.fullmatch(word) is not None


def level_of_letter(text: str) -> int | None:
    """The level 1 to 5 of a FACS intensity A to E; None where the text is none.

    >>> level_of_letter("B"), level_of_letter("e"), level_of_letter("F")
    (2, 5, None)
    """
    letter = text.strip().upper()
    return LETTERS.index(letter) + 1 if len(letter) == 1 and letter in LETTERS else None


def is_date(value: object) -> bool:
    """Whether a cell is a date, as spreadsheet programs make of codes such as `4-5` and `1.2`.

    >>> is_date("5-Apr"), is_date("04.05.2026"), is_date(DateCell(datetime.date(2026, 4, 5), "d-mmm")), is_date("4+5")
    (True, True, True, False)
    """
    if isinstance(value, str):
        return _DATE.fullmatch(value.strip()) is not None
    return isinstance(value, DateCell)


def cell_text(value: object) -> str:
    """The text of a cell; whole numbers without a decimal point, an empty cell as `""`.

    >>> cell_text(4.0), cell_text("R14A "), cell_text(None)
    ('4', 'R14A', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_numbers(
    columns: Mapping[str, Sequence[Any]],
    kinds: Mapping[str, str],
    place: Callable[[int], str],
    *,
    missing: Collection[str] = (),
    strict: bool = True,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The number columns of one table, all at once, since they share one decimal sign.

    Args:
        columns: Cells by name, the columns of equal length.
        kinds: `NUMBER`, `LABEL` or `INTENSITY` by name.
        place: What a message calls a row.
        missing: Further words for a missing number, in small letters.
        strict: Raise for a cell that is no number; else its column is left out.

    Returns:
        Each column as float64 `(rows,)`, nan where nothing stands; and notes about what was read in a way that is not
        plain.

    Raises:
        ManifestError: A cell is no number, or may be two.
    """
    read, slow = {}, []
    for name, cells in columns.items():
        values = _plain_numbers(cells)
        if values is None:
            slow.append(name)
        else:
            read[name] = values
    if not slow:
        return read, []
    notes: Counter[str] = Counter()
    decimal = _decimal_sign(columns, place, notes)
    for name in slow:
        cells = columns[name]
        known = {cell: _number(cell, kinds[name], decimal, missing) for cell in dict.fromkeys(map(_key, cells))}
        bad = {cell for cell, value in known.items() if value is None}
        if bad and not strict:
            continue
        for row, cell in enumerate(cells):
            if bad and _key(cell) in bad:
                raise _refusal(name, cell, kinds[name], place(row), decimal)
        numbers = (known[_key(cell)] for cell in cells)
        read[name] = np.fromiter((math.nan if value is None else value for value in numbers), float, len(cells))
        _count_words(cells, name, kinds[name], missing, notes)
    return {name: read[name] for name in columns if name in read}, _told(notes)


def _key(cell: Any) -> tuple[type, Any]:
    """By what a cell is looked up: 1 and True are not the same."""
    return type(cell), cell


def _plain_numbers(cells: Sequence[Any]) -> np.ndarray | None:
    """Cells as numbers where all are plain ones or empty; None where one needs a closer look."""
    if any(isinstance(cell, bool) or not isinstance(cell, str | int | float) for cell in cells if cell is not None):
        return None
    try:
        values = np.fromiter((math.nan if cell in ("", None) else float(cell) for cell in cells), float, len(cells))
    except (ValueError, OverflowError):
        return None
    filled = sum(1 for cell in cells if cell not in ("", None) and cell == cell)
    if int(np.isfinite(values).sum()) != filled or any("_" in cell for cell in cells if isinstance(cell, str)):
        return None  # words such as nan and inf, and 1_000, which Python takes for numbers
    return values


def _plain(text: str) -> str:
    """A text without blanks around it or between groups of three digits, with a hyphen for a minus sign."""
    return _THOUSANDS_BLANK.sub("", text.strip().replace("\u2212", "-"))


_Found = tuple[str, str, str]  # name of the column, cell, its plain text


def _signs(columns: Mapping[str, Sequence[Any]]) -> tuple[_Found | None, ...]:
    """The first cell with a decimal comma, with a point, with a point or a comma that may stand between thousands."""
    commas = points = weak = groups = None
    for name, cells in columns.items():
        for cell in dict.fromkeys(cell for cell in cells if isinstance(cell, str)):
            text = _plain(cell)
            here = (name, cell, text)
            if "," in text:
                if (match := _THOUSANDS_COMMA.fullmatch(text)) is not None:
                    points = points or (here if match[1] or text.count(",") > 1 else None)
                    groups = groups or here
                elif _COMMA.fullmatch(text) or ((match := _THOUSANDS_POINT.fullmatch(text)) and match[1]):
                    commas = commas or here
            elif "." in text and points is None and _POINT.fullmatch(text):
                if _THOUSANDS_POINT.fullmatch(text):
                    weak = weak or here
                else:
                    points = here
    return commas, points, weak, groups


def _decimal_sign(columns: Mapping[str, Sequence[Any]], place: Callable[[int], str], notes: Counter[str]) -> str:
    """The decimal sign of the numbers that are kept as text, `.` or `,`.

    Raises:
        ManifestError: Both are used, or numbers such as `1,234` may be read in both ways.
    """
    commas, points, weak, groups = _signs(columns)

    def at(found: _Found) -> str:
        return place(list(columns[found[0]]).index(found[1]))

    if commas and points:
        raise ManifestError(
            f"{at(commas)}: `{commas[2]}` in {commas[0]} has a decimal comma and `{points[2]}` ({at(points)}, "
            f"{points[0]}) a decimal point; write all numbers of the table in one way"
        )
    unclear = weak if commas else groups if groups and not points else None
    if unclear is not None:
        name, _, text = unclear
        plain = text.replace(",", "."), text.replace(",", "").replace(".", "")
        raise ManifestError(
            f"{at(unclear)}: `{text}` in {name} may be {plain[0]} or {plain[1]}, and the table does not say which; "
            "write all its numbers with a decimal point, or all with a decimal comma, without a sign for thousands"
        )
    if commas:
        notes["numbers have decimal commas"] += 1
    elif groups:
        notes["commas between the thousands of numbers"] += 1
    return "," if commas else "."


def _number(key: tuple[type, Any], kind: str, decimal: str, missing: Collection[str]) -> float | None:
    """The number in a cell, nan where nothing stands, None where it is no number."""
    cell = key[1]
    if cell is None:
        return math.nan
    if isinstance(cell, bool):
        return float(cell) if kind == LABEL else None
    if isinstance(cell, int | float):
        return float(cell) if math.isfinite(cell) or math.isnan(cell) else None
    if not isinstance(cell, str):
        return None
    text = _plain(cell)
    if is_missing(text, missing):
        return math.nan
    if kind == LABEL and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    if kind == INTENSITY and (level := level_of_letter(text)) is not None:
        return float(level)
    if decimal == "," and "," in text:
        text = text.replace(".", "") if _THOUSANDS_POINT.fullmatch(text) else text
        text = text.replace(",", ".") if _COMMA.fullmatch(text) else text
    elif _THOUSANDS_COMMA.fullmatch(text):
        text = text.replace(",", "")
    if not _POINT.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _refusal(name: str, cell: Any, kind: str, where: str, decimal: str) -> ManifestError:
    """The error about a cell that is no number."""
    todo = "correct it"
    if is_date(cell):
        todo = (
            "a spreadsheet program makes dates of numbers and codes such as 4-5 and 1.2: mark the column as text there "
            "and enter what was meant"
        )
    elif isinstance(cell, str) and level_of_letter(cell) is not None and kind == LABEL:
        todo = "letters are intensities: call the column `AU.._intensity`"
    elif isinstance(cell, bool) or (isinstance(cell, str) and cell.strip().lower() in _TRUTHS):
        todo = "TRUE and FALSE are labels: write a number here"
    shown = repr(cell) if isinstance(cell, str) else str(cell)
    return ManifestError(f"{where}: expected `{name}` to be a number or empty, but got {shown}; {todo}")


def _count_words(cells: Sequence[Any], name: str, kind: str, missing: Collection[str], notes: Counter[str]) -> None:
    """Count the words of a column that were read as missing, as truths or as intensities."""
    for (_, cell), count in Counter(map(_key, cells)).items():
        if isinstance(cell, bool):
            notes["TRUE and FALSE read as 1 and 0"] += count
        elif isinstance(cell, str) and (text := cell.strip()):
            if is_missing(text, missing):
                notes[f"`{text}` read as missing"] += count
            elif kind == LABEL and text.lower() in _TRUTHS:
                notes["TRUE and FALSE read as 1 and 0"] += count
            elif kind == INTENSITY and level_of_letter(text) is not None:
                notes["the letters A to E read as the FACS intensities 1 to 5"] += count


def _told(notes: Counter[str]) -> list[str]:
    """Notes as lines, with their counts."""
    return [text if count == 1 else f"{text} ({count:,} cells)" for text, count in notes.items()]

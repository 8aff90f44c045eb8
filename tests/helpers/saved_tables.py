"""Tables as people's programs save them: one content, written in many ways that say the same."""

from __future__ import annotations

import csv
import io
import itertools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd

NAMES = ("path", "frame", "AU12_r", "AU4_r", "AU1_c", "remark")
TEXTS = ("a.jpg", "b 1/é.png", 'say "ah"', "x;y", "p,q", "tab\there", "007", "NA", "Straße", "1,5", "-")
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")
MISSING = ("", "NA", "N/A", ".", "-", "nan", "-nan(ind)", "-1.#IND", "NULL", "#N/A")
HEADS = ("first", "sep", "title", "again", "blank")
ENDS = ("\n", "\r\n", "\r")
FORMATS = ("text", "text", "text", "text", "xlsx")
TRUTHS = (("1", "0"), ("1.0", "0.0"), ("TRUE", "FALSE"), ("wahr", "falsch"))


@dataclass(frozen=True)
class Way:
    """How a table is saved.

    Args:
        decimal: `.` or `,`.
        head: `first` line, after a line `sep=`, after two lines of title, `again` among the rows, or after blank lines.
        truths: How 1 and 0 of a label are written.
        quoted: Whether every cell stands in quotation marks.
    """

    separator: str
    encoding: str
    missing: str
    head: str
    decimal: str
    ends: str
    format: str
    truths: tuple[str, str]
    quoted: bool


def ways(count: int, seed: int) -> list[Way]:
    """Different ways, each value of each dimension with each of every other at some time."""
    everything = list(
        itertools.product(SEPARATORS, ENCODINGS, MISSING, HEADS, ".,", ENDS, FORMATS, TRUTHS, (True, False))
    )
    return [Way(*chosen) for chosen in random.Random(seed).sample(everything, count)]


def content(seed: int) -> pd.DataFrame:
    """Rows of a table of faces: text, whole numbers, intensities and labels, of which some are missing."""
    draw = random.Random(seed)
    rows = []
    for number in range(draw.randint(1, 12)):
        values = [round(draw.uniform(0, 5), draw.randint(1, 9)) if draw.random() < 0.8 else None for _ in range(2)]
        label = draw.choice([0.0, 1.0, None])
        rows.append([f"{number} {draw.choice(TEXTS)}", float(number), *values, label, draw.choice(TEXTS)])
    rows[0][2] = 0.5  # says which sign is the decimal one
    return pd.DataFrame(rows, columns=list(NAMES)).astype(dict.fromkeys(NAMES[1:5], float))


def save(table: pd.DataFrame, way: Way, path: Path) -> list[int]:
    """Write a table and return the number of each row's line, or of its row in a sheet."""
    rows = [[_cell(value, name, way) for name, value in zip(NAMES, row, strict=True)] for row in table.to_numpy(object)]
    lines: list[list[str]] = []
    if way.head == "sep" and way.format == "text":
        lines.append([f"sep={way.separator}"])
    elif way.head == "title":
        lines += [["Study of faces"], []]
    elif way.head == "blank":
        lines += [[], []]
    lines.append(list(NAMES))
    numbers = []
    for at, row in enumerate(rows):
        if way.head == "again" and at == len(rows) // 2:
            lines.append(list(NAMES))
        lines.append(row)
        numbers.append(len(lines))
    if way.format == "xlsx":
        _save_sheet(lines, path)
    else:
        path.write_bytes(_text(lines, way).encode(way.encoding))
    return numbers


def _cell(value: Any, name: str, way: Way) -> str:
    """A value as text."""
    if isinstance(value, str):
        return value
    if value != value:
        return way.missing
    if name == "frame":
        return str(int(value))
    if name == "AU1_c":
        return way.truths[0 if value else 1].replace(".", way.decimal)
    return repr(float(value)).replace(".", way.decimal)


def _text(lines: list[list[str]], way: Way) -> str:
    """Lines of text, cells in quotation marks where they hold a separator."""
    kind = csv.QUOTE_ALL if way.quoted else csv.QUOTE_MINIMAL
    text = ""
    for line in lines:
        if len(line) < 2:
            text += "".join(line) + way.ends
            continue
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=way.separator, quoting=kind, lineterminator=way.ends).writerow(line)
        text += buffer.getvalue()
    return text


def _save_sheet(lines: list[list[str]], path: Path) -> None:
    """A sheet in which numbers are numbers, beside a sheet of notes."""
    book = openpyxl.Workbook()
    book.active.append(["notes of the study"])
    sheet = book.create_sheet("data")
    for at, line in enumerate(lines, start=1):
        for place, cell in enumerate(line, start=1):
            is_number = NAMES[place - 1] in NAMES[1:5] and cell.replace(",", ".").replace(".", "", 1).isdecimal()
            sheet.cell(at, place, float(cell.replace(",", ".")) if is_number else cell or None)
    book.save(path)

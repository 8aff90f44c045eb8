"""Tables in text files, however they were saved: encoding, separator, lines above the header, cells in quotes.

Every line is taken apart by the csv module in its strict form and its cells are counted, since readers of tables fill
up, cut off or shift lines that are too short or too long.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auformer.errors import ManifestError

Header = Callable[[Sequence[str]], bool]

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
NOTES = 30  # lines of notes that may stand above a header (SAMM: 13, or none in an older table) [ours]
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_PIECE = 1 << 20  # bytes that are decoded at a time [ours]
_SEP_LINE = re.compile(r'"?sep=(.?)"?', re.IGNORECASE)  # Excel's line before the header
_WIDE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")  # letters in UTF-8
_FOREIGN = re.compile(rb"[\x80-\xff]{3}")  # words of other scripts; Western words have no three such letters in a row


@dataclass
class TextTable:
    """The cells of a text file.

    Args:
        names: Those of the header; empty where it has none.
        columns: Cells by place of the column, without blanks around them.
        lines: Number of each row's line in the file, from 1.
        notes: What is not plain about the file.
        first: Number of the header's line.
    """

    names: list[str]
    columns: list[list[str]]
    lines: list[int]
    notes: list[str] = field(default_factory=list)
    first: int = 0


def read_text_table(
    path: Path,
    header: Header | None,
    *,
    named: bool = True,
    keep: Callable[[str], bool] | None = None,
    names_only: bool = False,
) -> TextTable:
    """Read a text file as a table.

    Args:
        path: The file.
        header: Whether a row of names is the header; None takes the first row that is not empty.
        named: Whether the table has a header.
        keep: Whether a column is wanted, by its name; None wants all.
        names_only: Read no rows.

    Raises:
        ManifestError: The file is no text, or a line has not the cells that the header asks for.
    """
    encoding, notes = find_encoding(path)
    separator, start = _layout(path, encoding, header, notes, named=named)
    records = _records(path, encoding, separator, start)
    names: list[str] = []
    first = 0
    if named:
        first, names = next(((line, [cell.strip() for cell in row]) for line, row in records if _filled(row)), (0, []))
        if not names:
            raise ManifestError(f"{path}: the file is empty; write it again")
        while not names[-1]:
            names.pop()
        if names_only:
            return TextTable(names, [], [], notes, first)
    rows = _Rows(path, names, separator, keep)
    again = sum(not rows.add(line, row) for line, row in records if _filled(row))
    if rows.short:
        _refuse_a_cut_line(path, encoding, rows)
        notes.append(f"{_counted(rows.short, 'row')} with fewer cells than the header: the missing ones are empty")
    if again:
        notes.append(f"the header stands {_counted(again, 'more time')} among the rows and is passed over")
    if rows.shift:
        notes.append("the first cell of each row has no name in the header (names of rows, as R writes them)")
    columns = [list(column) for column in zip(*rows.cells, strict=True)] if rows.cells else [[] for _ in rows.places]
    return TextTable([names[at] for at in rows.places] if named else [], columns, rows.lines, notes, first)


def _filled(row: Sequence[str]) -> bool:
    """Whether a row has a cell that is not empty."""
    return any(cell and not cell.isspace() for cell in row)


def _counted(number: int, name: str) -> str:
    """A number of things."""
    return f"{number:,} {name}{'s' if number > 1 else ''}"


class _Rows:
    """The rows of a table while it is read: their number of cells is compared, the wanted ones are kept.

    Attributes:
        places: Of the columns that are kept.
        cells: Their cells, row by row, all of one length.
        lines: The number of each row's line.
        short: How many rows had fewer cells than the header.
        shift: 1 where each row has a name that the header does not name, as R writes them, else 0.
        last: How many cells the last row has.
    """

    def __init__(self, path: Path, names: list[str], separator: str, keep: Callable[[str], bool] | None) -> None:
        self.path, self.names, self.separator = path, names, separator
        self.width = len(names)
        self.places = [at for at, name in enumerate(names) if name and (keep is None or keep(name))]
        self.cells: list[list[str]] = []
        self.lines: list[int] = []
        self.short = self.shift = self.last = 0
        self._known: dict[str, str] = {}  # the same text once: half of the cells of such tables say 0
        self._first: set[str] = set()  # names of rows, which are all different

    def add(self, line: int, row: list[str]) -> bool:
        """Take a row; False where it is the header once more.

        Raises:
            ManifestError: It has more cells than the header.
        """
        if self.names and row[0].strip() == self.names[0] and [cell.strip() for cell in row] == self.names:
            return False
        if not self.lines:
            self._begin(row)
        self.last = len(row)
        surplus, missing = row[self.width + self.shift :], self.width + self.shift - len(row)
        if (surplus and (_filled(surplus) or not self.names)) or (
            self.shift and (missing > 0 or row[0] in self._first)
        ):
            raise self._too_long(line, row)
        if self.shift:
            self._first.add(row[0])
        if missing > 0:
            self.short += 1
            row = row + [""] * missing
        know = self._known.setdefault
        texts = (row[at + self.shift].strip() for at in self.places)
        self.cells.append([know(text, text) for text in texts])
        self.lines.append(line)
        return True

    def _begin(self, row: list[str]) -> None:
        """What the first row says about all."""
        if not self.names:
            self.width, self.places = len(row), list(range(len(row)))
        elif len(row) == self.width + 1 and row[-1].strip() and self.separator != ",":
            self.shift = 1  # with commas it may be a decimal comma as well

    def _too_long(self, line: int, row: list[str]) -> ManifestError:
        between = SEPARATOR_NAMES.get(self.separator, repr(self.separator))
        comma = ", and numbers with decimal commas semicolons between the cells" if self.separator == "," else ""
        than = f"the header, which has {self.width}" if self.names else f"the lines above, which have {self.width}"
        more = "more than" if len(row) > self.width else "not as many as rows with a name each, after"
        return ManifestError(
            f"{self.path}, line {line}: {len(row)} cells with {between} between them, {more} {than}; a cell that holds "
            f"a separator wants quotation marks around it{comma}"
        )


def find_encoding(path: Path) -> tuple[str, list[str]]:
    """The encoding of a text file, and a note where it is neither UTF-8 nor marked.

    Raises:
        ManifestError: The file holds no text, or bytes of two encodings.
    """
    with path.open("rb") as file:
        head = file.read(1 << 12)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            _decoded(path, encoding)
            return encoding, []
    if b"\0" in head:
        pairs = head[: len(head) // 2 * 2]
        for at, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if pairs[at::2].count(0) > 0.9 * len(pairs[at::2]) and not pairs[1 - at :: 2].count(0):
                _decoded(path, encoding)
                return encoding, []
        raise ManifestError(f"{path}: this is no text and no table that is known; save it as CSV")
    failed = _first_bad_byte(path)
    if failed is None:
        return "utf-8", []
    data = path.read_bytes()
    line = data[:failed].count(b"\n") + 1
    if b"\0" in data:
        raise ManifestError(f"{path}: this is no text and no table that is known; save it as CSV")
    if _WIDE.search(data[:failed]) or len(_WIDE.findall(data)) > sum(byte > 127 for byte in data) / 4:
        raise ManifestError(
            f"{path}, line {line}: the file is UTF-8 text, but byte {data[failed]:#04x} there is not; the file is "
            "damaged or was put together from two: copy it again, or correct that line"
        )
    if _FOREIGN.search(data):
        raise ManifestError(
            f"{path}, line {line}: the text is neither UTF-8 nor Windows-1252 (the letters of Western Europe), and "
            "does not say what it is; save it as UTF-8"
        )
    _decoded(path, "cp1252")
    return "cp1252", [f"the text is not UTF-8 (line {line}): read as Windows-1252, as Excel saves in Western Europe"]


def _first_bad_byte(path: Path) -> int | None:
    """Where a file stops being UTF-8; None where it does not."""
    decoder, done = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        while True:
            piece = file.read(_PIECE)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                return done - pending + error.start
            if "\0" in text:
                raise ManifestError(f"{path}: this is no text and no table that is known; save it as CSV")
            if not piece:
                return None
            done += len(piece)


def _decoded(path: Path, encoding: str) -> None:
    """Decode the whole file once.

    Raises:
        ManifestError: It cannot be.
    """
    try:
        with path.open(encoding=encoding, newline="") as file:
            while text := file.read(_PIECE):
                if "\0" in text:
                    raise UnicodeError("it holds null characters")
    except UnicodeError as error:
        names = {"cp1252": "neither UTF-8 nor Windows-1252"}
        raise ManifestError(
            f"{path}: the text is {names.get(encoding, f'not the {encoding.upper()} that its first bytes say')} "
            f"({error}); save it again as UTF-8"
        ) from error


def _lines(path: Path, encoding: str, start: int) -> Iterator[str]:
    """The lines of a file with their ends, from the `start`-th on."""
    with path.open(encoding=encoding, newline="") as file:
        yield from itertools.islice(file, start, None)


def _records(path: Path, encoding: str, separator: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and the cells of each record, from line `start` on."""
    reader = csv.reader(_lines(path, encoding, start), delimiter=separator, skipinitialspace=True, strict=True)
    before = start
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ManifestError(
                f"{path}, line {before + 1}: the cells cannot be told apart ({error}); a quotation mark is not closed, "
                "or stands inside a cell without being doubled"
            ) from error
        if row is None:
            return
        yield before + 1, row
        before = start + reader.line_num


def _layout(path: Path, encoding: str, header: Header | None, notes: list[str], *, named: bool) -> tuple[str, int]:
    """The separator, and how many lines stand above the header."""
    head = []
    for line in _lines(path, encoding, 0):
        head.append(line)
        if len(head) > NOTES:
            break
    said = _SEP_LINE.fullmatch(head[0].strip("\r\n ")) if head else None
    skipped = 1 if said else 0
    separators = (said[1] or "\t",) if said else SEPARATORS
    if named and header is not None:
        found = []
        for separator in separators:
            for number in range(skipped, len(head)):
                names = _split(head, number, separator)
                if names and header(names):
                    found.append((-sum(map(bool, names)), number, separator))
                    break
        if found:
            _, number, separator = min(found)
            if above := sum(bool(line.strip()) for line in head[skipped:number]):
                notes.append(f"{above:,} line{'s' if above > 1 else ''} above the header passed over")
            return separator, number
    number = next((at for at in range(skipped, len(head)) if head[at].strip(" \t\r\n,;|")), skipped)
    if number >= len(head):
        return separators[0], number
    return max(separators, key=lambda each: len(_split(head, number, each))), number


def _split(head: Sequence[str], number: int, separator: str) -> list[str]:
    """Cells of the record that begins in a line; none where it cannot be taken apart."""
    try:
        row = next(csv.reader(head[number:], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in row]


def _refuse_a_cut_line(path: Path, encoding: str, rows: _Rows) -> None:
    """Raise where the last line is too short and has no end: the file was not written to its end.

    Raises:
        ManifestError: It is so.
    """
    if rows.last >= rows.width + rows.shift:
        return
    last = ""
    for line in _lines(path, encoding, rows.lines[-1] - 1):
        last = line
    if not last.endswith(("\n", "\r")):
        raise ManifestError(
            f"{path}, line {rows.lines[-1]}: the last line has {rows.last} of {rows.width} cells and no end; the file "
            "was not written or copied to its end: copy it again, or remove the line"
        )

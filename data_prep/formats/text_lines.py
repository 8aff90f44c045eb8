"""Text files of a release: their lines, and the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auformer.errors import DatasetLayoutError


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without their ends."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DatasetLayoutError(
            f"Expected a text file at {path}, but there is none; check the copy of the release"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetLayoutError(
            f"{path}: expected text, but it cannot be read as such ({error}); copy it again"
        ) from error


def bad_line(path: Path | str, line: int, expected: str, got: object, advice: str = "") -> DatasetLayoutError:
    """The error about one line of a file.

    >>> str(bad_line(Path("a.txt"), 3, "a number", "'x'", "copy it again"))
    "a.txt, line 3: expected a number, but got 'x'; copy it again"
    """
    return DatasetLayoutError(f"{path}, line {line}: expected {expected}, but got {got}{advice and f'; {advice}'}")


def second_line(path: Path, line: int, what: str, first: int | None = None) -> DatasetLayoutError:
    """The error about a line that says what another one, or line `first`, says already."""
    told = "; remove one of the lines" if first is None else f", as in line {first}; remove one"
    return DatasetLayoutError(f"{path}, line {line}: {what} is there for the second time{told}")


def number_rows(path: Path) -> Iterator[tuple[int, list[float]]]:
    """Rows of numbers separated by blanks; blank lines are skipped, and a first line without any number (a header).

    Args:
        path: The file; `4.0000000e+00` is 4.

    Yields:
        Number of the line from 1, and its numbers.

    Raises:
        DatasetLayoutError: A line holds something else.
    """
    first = True
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        values = [_number(field) for field in fields]
        header, first = first and not any(value is not None for value in values), False
        if header:
            continue
        if any(value is None for value in values):
            raise bad_line(path, number, "numbers between blanks", repr(line), "copy it again")
        yield number, [value for value in values if value is not None]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def code(value: float, allowed: range, what: str, path: Path, line: int) -> int:
    """A whole number of a range, else an error that names `what` it is, file and line.

    >>> code(4.0, range(1, 100), "action unit", Path("S005_001_00000011_facs.txt"), 1)
    4
    """
    if value not in allowed:
        shown = int(value) if value == int(value) else value
        expected = f"the {what} to be {allowed[0]} to {allowed[-1]}"
        raise bad_line(path, line, expected, shown, "compare it with the release")
    return int(value)

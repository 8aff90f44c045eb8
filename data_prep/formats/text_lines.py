"""Text files of a release: one per frame in a folder, their lines, and the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auformer.errors import DatasetLayoutError

from .frames import frame_number


def index_files(folder: Path, pattern: str) -> dict[int, Path]:
    """Label files of a folder, one per frame, by the number in their name.

    Args:
        folder: The folder.
        pattern: Of their names, with `*`. Files without a number are passed over.

    Returns:
        Frame number -> path, by rising number.

    Raises:
        DatasetLayoutError: Two files have one number.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(pattern)):
        number = frame_number(path.name)
        if number is None or path.name.startswith("."):
            continue
        if number in found:
            raise DatasetLayoutError(
                f"Expected one label file per frame in {folder}, but {found[number].name} and {path.name} are frame {number}; remove one"
            )
        found[number] = path
    return dict(sorted(found.items()))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without their ends.

    Raises:
        DatasetLayoutError: There is no such file, or it is no text.
    """
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


def number_rows(path: Path) -> Iterator[tuple[int, list[float]]]:
    """Rows of numbers between blanks. Blank lines are passed over, and so is a first line without any number (a header).

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
            raise DatasetLayoutError(
                f"{path}, line {number}: expected numbers between blanks, but got {line!r}; copy it again"
            )
        yield number, [value for value in values if value is not None]


def _number(text: str) -> float | None:
    """A number, None where the text is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def code(value: float, allowed: range, what: str, path: Path, line: int) -> int:
    """A whole number of a range.

    Args:
        value: As the file has it.
        allowed: The codes that the release uses.
        what: What it is, for the message.
        path: The file.
        line: Number of the line.

    Raises:
        DatasetLayoutError: It is another number.

    >>> code(4.0, range(1, 100), "action unit", Path("S005_001_00000011_facs.txt"), 1)
    4
    """
    if value not in allowed:
        shown = int(value) if value == int(value) else value
        raise DatasetLayoutError(
            f"{path}, line {line}: expected the {what} to be {allowed[0]} to {allowed[-1]}, but got {shown}; compare it with the release"
        )
    return int(value)

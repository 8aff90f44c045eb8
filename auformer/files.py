"""Files that are there completely or not at all, their digests, and what to know before one writes.

Files are written under a temporary name, then renamed. Everything that the package writes as text or JSON goes through
here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# absolute in POSIX or Windows style, a backslash, a drive letter, or a `..` part
OUTSIDE = r"^/|\\|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)"


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    If the block raises, or the process is interrupted in it, `path` keeps what it held before and the temporary file is
    removed. Missing folders are made.

    Args:
        path: The file to write; an existing one is replaced.

    Yields:
        Where to write: same folder and same suffix, hidden, named after the process, so that two processes do not meet.

    Example:
        >>> target = Path(tempfile.mkdtemp(), "a.txt")
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_bytes(b"all of it")
        >>> target.read_bytes()
        b'all of it'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically, in UTF-8 and with the same line ends on every system."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2) -> None:
    """Write plain values as a JSON file, atomically.

    Raises:
        TypeError: `value` holds what JSON cannot.
        ValueError: A number is not finite, which JSON has no word for.
    """
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file, or it holds anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; the file is read in pieces."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of text, or of plain JSON values whatever the order of their keys, in hexadecimal.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Make a folder, and find out before the work starts whether a file can be written in it.

    Raises:
        OSError: It cannot; the error carries the folder's name.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"auformer")
    except OSError as error:
        more = ", or free space" if error.errno == errno.ENOSPC else ""
        reason = f"cannot write here ({error.strerror or error}); choose another folder{more}"
        raise OSError(error.errno, reason, os.fspath(folder)) from error


def leads_outside(path: str) -> bool:
    """Whether a relative path with `/` is none, or could reach out of the folder that it is relative to.

    >>> leads_outside("a/b.jpg"), leads_outside("../b.jpg"), leads_outside("C:b.jpg"), leads_outside("a..b/c")
    (False, True, True, False)
    """
    return re.search(OUTSIDE, path) is not None

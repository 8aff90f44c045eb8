"""Files that are there completely or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    If the block raises, or the process is interrupted in it, `path` keeps what it held before and the temporary file is removed.
    Missing folders are made.

    Args:
        path: The file to write; an existing one is replaced.

    Yields:
        Where to write: same folder and same suffix, hidden, named after the process, so that two processes do not meet.

    Example:
        >>> import tempfile
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
    """Write a text file, in UTF-8 and with the same line ends on every system, completely or not at all, see `atomic_path`.

    Args:
        path: The file; an existing one is replaced.
        text: What it is to hold.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp(), "a.txt")
        >>> write_text(target, "all of it")
        >>> target.read_text(encoding="utf-8")
        'all of it'
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")

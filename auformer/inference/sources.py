"""What people name on the command line, and how a table calls it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def name_sources(paths: Sequence[str | Path]) -> list[tuple[str, str]]:
    """Give every source its name in a predictions file: its path relative to the folder that all sources share.

    Args:
        paths: files, in any spelling; one that is named twice counts once.

    Returns:
        Pairs of the path as given and its name, with `/` on every system; the names are unique.

    Raises:
        ValueError: if there is no source.

    >>> name_sources(["/data/p1/a.jpg", "/data/p2/a.jpg"])
    [('/data/p1/a.jpg', 'p1/a.jpg'), ('/data/p2/a.jpg', 'p2/a.jpg')]
    >>> name_sources(["/data/p1/a.jpg"])
    [('/data/p1/a.jpg', 'a.jpg')]
    """
    if not paths:
        raise ValueError("Expected `paths` to name at least one photo, but got none.")
    full = {os.path.abspath(path): os.fspath(path) for path in reversed(paths)}
    ordered = list(reversed(full.items()))
    try:
        common = os.path.commonpath([os.path.dirname(path) for path, _ in ordered])
    except ValueError:  # drives of Windows share no folder
        return [(given, Path(path).as_posix()) for path, given in ordered]
    return [(given, Path(os.path.relpath(path, common)).as_posix()) for path, given in ordered]

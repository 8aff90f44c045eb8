"""Folders found by the names that an annotation table gives them, which releases spell in more than one way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..release import Findings

_SHOWN = 5  # names that a finding lists [ours]


class Folders:
    """The folders below one, by name: exact, else in another case (`spNo.1`), else with other leading zeros (`sub1` for `sub01`).

    Names are only compared with what the folder holds, so that none can lead out of it.

    Args:
        base: the folder to look in; need not exist.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._held: dict[Path, list[Path]] = {}

    def held(self, folder: Path) -> list[Path]:
        """The folders in a folder, by name; hidden ones are passed over."""
        if folder not in self._held:
            inside = folder.iterdir() if folder.is_dir() else ()
            self._held[folder] = sorted(path for path in inside if path.is_dir() and not path.name.startswith("."))
        return self._held[folder]

    def find(self, *names: str) -> Path | None:
        """The folder at the end of a chain of names below the base; None where there is none, or several would do."""
        folder: Path | None = self.base
        for name in names:
            folder = None if folder is None else self._child(folder, name)
        return folder

    def _child(self, folder: Path, name: str) -> Path | None:
        """One of the folders in a folder."""
        for spelling in (str, str.casefold, _without_zeros):
            found = [path for path in self.held(folder) if spelling(path.name) == spelling(name)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def report_unnamed(self, named: Iterable[Path | None], findings: Findings, *, depth: int) -> None:
        """Take note of the folders of clips that no row of the table names.

        Args:
            named: folders that rows name.
            findings: takes one note.
            depth: how far below the base the folders of clips are.
        """
        known = set(named)
        level = [self.base]
        for _ in range(depth):
            level = [child for folder in level for child in self.held(folder)]
        extra = [path.relative_to(self.base).as_posix() for path in level if path not in known]
        if extra:
            text = f"{len(extra):,}: {', '.join(extra[:_SHOWN])}{' ...' if len(extra) > _SHOWN else ''}"
            findings.note("folders that no row of the table names", self.base.name, text)


def _without_zeros(name: str) -> str:
    """A name in lower case with its numbers as numbers."""
    return re.sub(r"\d+", lambda match: match[0].lstrip("0") or "0", name.casefold())

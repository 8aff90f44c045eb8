"""What processes of a cluster know of one another's work through the output folder: which sources are finished, which were begun how often.

A source is finished when its table is there and the side file beside it names the same settings, checkpoint and file. Files appear whole
or not at all, so a process that is killed leaves either a finished source or one that is begun again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from auformer.data.table_file import read_side, write_side
from auformer.errors import ManifestError
from auformer.files import write_text
from auformer.predict.outputs import Plan
from auformer.predict.parts import fingerprint
from auformer.predict.sources import Source

FOLDER = ".cluster"  # inside the output folder, while a run lasts
MAX_ATTEMPTS = 3  # at one source: a file that breaks the decoder, or needs more memory than there is, must not stop the others [ours]
MADE_WITH, SOURCE_MARK = "made_with", "source_mark"  # entries of side files


def source_mark(mark: str, source: Source) -> str:
    """Fingerprint of a source and everything that changes its outputs.

    Args:
        mark: fingerprint of the settings, the checkpoint and the kinds of outputs.
        source: its name, path, size and time of change count.
    """
    path = Path(source.file)
    facts = path.stat() if path.is_file() else None
    return fingerprint([mark, source.kind, source.file, source.name, *([facts.st_size, facts.st_mtime_ns] if facts else [])])


def own_side(plan: Plan, source: Source, mark: str) -> dict[str, Any] | None:
    """The side file that a run with the same settings wrote for the same file; None where there is none.

    Args:
        plan: what is written where.
        source: whose.
        mark: as of `source_mark`.
    """
    try:
        side = read_side(plan.table(source))
    except ManifestError:
        return None
    return side if side.get(SOURCE_MARK) == source_mark(mark, source) else None


def finished_side(plan: Plan, source: Source, mark: str) -> dict[str, Any] | None:
    """The side file of a source that need not be predicted again; None where it must be.

    A source of which no picture could be read is tried again: its disk may have been away.

    Args:
        plan: what is written where.
        source: whose.
        mark: as of `source_mark`.
    """
    side = own_side(plan, source, mark)
    if side is None or not plan.table(source).is_file():
        return None
    return None if set(side["counts"]["pictures"]) <= {"unreadable"} else side


def forget(plan: Plan, source: Source) -> None:
    """Remove a source's table before another one is made, so that a new side file never stands beside an old table."""
    plan.table(source).unlink(missing_ok=True)


def say_how_many(plan: Plan, source: Source, side: dict[str, Any], num_sources: int) -> None:
    """Keep right in a finished source's side file of how many sources it is one: the collection may have grown."""
    if side.get("num_sources") != num_sources:
        write_side({**side, "num_sources": num_sources}, plan.table(source))


class Attempts:
    """How often each source was begun in one run, on disk, because a process that dies cannot tell.

    Args:
        out: the output folder, which all machines see.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER

    def reset(self) -> None:
        """Begin a run, or end it: nothing was tried yet."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def count(self, source: Source) -> int:
        """How often a source was begun in this run."""
        try:
            return int(json.loads(self._path(source).read_text(encoding="utf-8"))["count"])
        except (OSError, ValueError, KeyError):
            return 0

    def begin(self, source: Source) -> int:
        """Note that this process begins with a source.

        Returns:
            The how manieth attempt it is, from 1 on.
        """
        count = self.count(source) + 1
        who = {"source": source.name, "count": count, "host": socket.gethostname(), "pid": os.getpid()}
        write_text(self._path(source), json.dumps(who))
        return count

    def _path(self, source: Source) -> Path:
        """Where a source's attempts are counted."""
        return self.folder / f"{hashlib.sha256(source.name.encode()).hexdigest()[:20]}.json"

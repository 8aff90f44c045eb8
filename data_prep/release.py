"""What a reader of a data set says about its release, and what it finds while reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auformer.errors import DatasetLayoutError

#: Columns that a reader's table has besides those of a manifest; they say where the image of a row is.
SOURCE, SOURCE_FRAME, SOURCE_MEMBER = "source", "source_frame", "source_member"

LETTERS = (
    "FACS letters A to E are 1 to 5; 0 where an action unit is absent, empty where it is present without a letter or "
    "unknown"
)

_SHOWN = 20  # findings that one message lists [ours]
_LISTS = ("notes", "corrections", "incomplete")  # keys of `Findings.summary`


@dataclass(frozen=True)
class Release:
    """An official release of a data set: what a user has to ask for and what the reader expects to find.

    Args:
        name: Word of the command, module in `data_prep`, and value of the manifest's column `dataset`.
        title: Name in print.
        request: What to request, and from whom.
        terms: The licence's terms in a line.
        tree: The expected tree, one path per line, as the release names it.
        au_names: Action units that are coded.
        frames: What the integer in the column `frame` is.
        source: Where the layout was read, as `owner/repository:path` or a page.
        per_clip: All frames of a clip are cropped by the onset frame's transform (micro-expressions).
        doubts: What could not be confirmed in a public source; empty where nothing.
        options: Keyword argument of `read` -> what argparse is given for it; defaults are those of `read`.
        intensity: What its intensities are and how they became 0 to 5; counts only where its table has any.
        levels: Levels of 0 to 5 that one unit of its option `threshold` is.
    """

    name: str
    title: str
    request: str
    terms: str
    tree: str
    au_names: tuple[str, ...]
    frames: str
    source: str
    per_clip: bool = False
    doubts: str = ""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    intensity: str = LETTERS
    levels: float = 1.0


@dataclass
class Findings:
    """What a reader comes across: all of it is listed in the summary and in the sidecar, nothing is dropped silently.

    Args:
        notes: (kind, where, text), in the order found; the kind is a few words, the same for all findings alike.
        corrections: (table, row, text) of the known faults that were corrected.
        incomplete: (where, text) of files that should be there and are not; they stop the work unless it may be
            partial.
        absent: Kind -> names of whole subjects, clips or optional label kinds that are not there; only counted.
    """

    notes: list[tuple[str, str, str]] = field(default_factory=list)
    corrections: list[tuple[str, str, str]] = field(default_factory=list)
    incomplete: list[tuple[str, str]] = field(default_factory=list)
    absent: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, where: str | Path, text: str) -> None:
        """Something to know: an ambiguous label, frames beyond the last label, a doubtful row."""
        self.notes.append((kind, str(where), text))

    def correct(self, table: str, row: str | int, text: str) -> None:
        """A corrected fault of the release: `table` names the table of corrections, `text` what changed and why."""
        self.corrections.append((table, str(row), text))

    def miss(self, where: str | Path, text: str) -> None:
        """A file that the release has and this copy lacks: a label file whose images are missing, or the reverse."""
        self.incomplete.append((str(where), text))

    def lack(self, kind: str, names: Iterable[str]) -> None:
        """Whole subjects, clips or optional label kinds that are not there."""
        names = list(names)
        if names:
            self.absent.setdefault(kind, []).extend(names)

    def require_complete(self, partial: bool) -> None:
        """Stop if files are missing, unless `partial` allows it.

        Raises:
            DatasetLayoutError: It lists what is missing and names the option.
        """
        if self.incomplete and not partial:
            lines = [f"  {where}: {text}" for where, text in self.incomplete[:_SHOWN]]
            if len(self.incomplete) > _SHOWN:
                lines.append(f"  and {len(self.incomplete) - _SHOWN:,} more")
            raise DatasetLayoutError(
                f"Expected a complete copy of the release, but {len(self.incomplete):,} files are missing:\n"
                + "\n".join(lines)
                + "\nCopy them, or go on without them: --partial"
            )

    def summary(self) -> dict:
        """Plain JSON values for the manifest's sidecar.

        >>> found = Findings()
        >>> found.note("code 9", "F001_T1.csv", "AU26 unknown in 3 frames")
        >>> found.summary()["notes"]
        [{'kind': 'code 9', 'where': 'F001_T1.csv', 'text': 'AU26 unknown in 3 frames'}]
        """
        return {
            "notes": [{"kind": kind, "where": where, "text": text} for kind, where, text in self.notes],
            "corrections": [{"table": table, "row": row, "text": text} for table, row, text in self.corrections],
            "incomplete": [{"where": where, "text": text} for where, text in self.incomplete],
            "absent": self.absent,
        }

    @classmethod
    def from_summary(cls, summary: dict) -> Findings:
        """What `summary` gave, as findings again.

        >>> Findings.from_summary({"notes": [{"kind": "code 9", "where": "F001_T1.csv", "text": "AU26"}]}).notes
        [('code 9', 'F001_T1.csv', 'AU26')]
        """
        notes, corrections, incomplete = ([tuple(each.values()) for each in summary.get(key, [])] for key in _LISTS)
        return cls(notes, corrections, incomplete, summary.get("absent", {}))

    def lines(self) -> list[str]:
        """The same for people, a line for each kind of finding with the first places where it was met."""
        lines = []
        for kind, count in Counter(kind for kind, _, _ in self.notes).items():
            first = [f"{where}: {text}" for each, where, text in self.notes if each == kind][:3]
            lines.append(f"{kind} ({count:,}): " + "; ".join(first) + (" ..." if count > 3 else ""))
        tables = Counter(table for table, _, _ in self.corrections)
        lines += [f"known faults of {table}: {count:,} rows corrected" for table, count in tables.items()]
        for kind, names in self.absent.items():
            lines.append(f"not there: {len(names):,} {kind} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})")
        if self.incomplete:
            where, text = self.incomplete[0]
            lines.append(f"missing files: {len(self.incomplete):,}, the first {where}: {text}")
        return lines


def find_path(root: Path, *alternatives: str, what: str) -> Path:
    """The first of several spellings of a path that is there.

    Args:
        root: The folder that the user named.
        alternatives: Paths relative to it, the official one first; `*` and `?` are wildcards.
        what: What it holds, for the message.

    Raises:
        DatasetLayoutError: None is there; it says what was looked for and what the folder holds.
    """
    if not root.is_dir():
        raise DatasetLayoutError(f"Expected `--root` to be a folder, but there is none at {root}; check the path")
    for name in alternatives:
        if found := sorted(root.glob(name)):
            return found[0]
    held = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    inside = ", ".join(held[:10]) + (" ..." if len(held) > 10 else "") if held else "nothing"
    raise DatasetLayoutError(
        f"Expected {what} in {root}, but none of {', '.join(alternatives)} is there; the folder holds {inside}. Name "
        "the folder that holds them with --root; `auformer prepare --list` shows the expected tree"
    )

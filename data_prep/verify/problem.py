"""What `auformer verify` says: something is wrong, or something to know."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that was noticed.

    Args:
        kind: A word for programs, stable over versions (`auformer.commands.verify` lists them).
        where: What it is about: a data set, a subject, a row.
        text: What it is, the likely reason, and what to do.
        wrong: Whether it makes the manifest wrong; else it is only to be known.
    """

    kind: str
    where: str
    text: str
    wrong: bool = True

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return {name: value for name, value in asdict(self).items() if name != "wrong"}


def named(names: list[str], most: int = 5) -> str:
    """A list for a sentence.

    >>> named(["a", "b"]), named(list("abcdefg"), 2)
    ('a, b', 'a, b and 5 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")

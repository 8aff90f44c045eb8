"""Names of the columns of a manifest and of a predictions file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from auformer.aus import ACTION_UNITS, canonical

KEY = ["dataset", "subject", "sequence", "frame", "face"]
TEXT_KEY = ["dataset", "subject", "sequence"]
CLIP_FRAMES = ["onset", "apex", "offset"]
NUMBERS = ["time_s", "x", "y", "w", "h", "score"]
SIDES = ("left", "right")  # the person's own sides, as in FACS
PREDICTION_KINDS = ("true", "prob", "active")
MANIFEST_KINDS = ("", "left", "right", "intensity")

_COLUMN = re.compile(r"AU(\d+)(?:_(left|right|intensity|true|prob|active))?", re.IGNORECASE)


def parse_column(name: object) -> tuple[str, str] | None:
    """Take the name of an action unit column apart.

    Args:
        name: Name of a column.

    Returns:
        Canonical AU and kind: `""` for the label, `left`, `right`, `intensity`, or `true`, `prob`, `active` of a prediction;
        None for a column that is not about an AU.

    Raises:
        ValueError: The column is about an AU that does not exist, or its spelling is not the canonical one.

    >>> parse_column("AU12"), parse_column("AU4_prob"), parse_column("frame")
    (('AU12', ''), ('AU4', 'prob'), None)
    """
    match = _COLUMN.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return None
    number, kind = match.group(1), (match.group(2) or "").lower()
    if f"AU{int(number)}" not in ACTION_UNITS:
        raise ValueError(f"column `{name}` names an unknown action unit; correct its number or rename the column")
    au = canonical(f"AU{number}")
    spelling = f"{au}_{kind}" if kind else au
    if name != spelling:
        raise ValueError(f"column `{name}` should be spelled `{spelling}`; rename it")
    return au, kind


def aus_with(names: Iterable[object], kind: str) -> list[str]:
    """Action units that have a column of one kind, by number.

    Args:
        names: Column names.
        kind: As `parse_column` returns it.

    >>> aus_with(["AU12_prob", "frame", "AU4_prob", "AU1"], "prob")
    ['AU4', 'AU12']
    """
    found = {parsed[0] for name in names if (parsed := parse_column(name)) is not None and parsed[1] == kind}
    return sorted(found, key=lambda au: int(au[2:]))

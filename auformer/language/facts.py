"""What a sentence says about one action unit (AU), and where such facts come from: tables of labels or predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auformer.language.lexicon import SIDES

UNKNOWN = 0  # the degree of what is at rest, and of what is active to an unknown degree


@dataclass(frozen=True)
class Fact:
    """One AU of one face.

    Args:
        au: Canonical name.
        active: Whether it occurs.
        degree: 1 to 3 (slight, clear, strong); 0 where it is at rest, or how strongly it acts is not known.
        side: `left` or `right`, the person's own, of what acts on that side only; empty of both, or where not known.

    Raises:
        ValueError: A degree outside 0 to 3, another side, or one of either for an AU at rest.
    """

    au: str
    active: bool
    degree: int = UNKNOWN
    side: str = ""

    def __post_init__(self) -> None:
        """Check degree and side."""
        if self.side not in ("", *SIDES) or (self.side and not self.active):
            raise ValueError(f"Expected `side` to be left, right or empty, and empty at rest, but got {self.side!r}")
        if self.degree not in range(4) or (self.degree and not self.active):
            state = "active" if self.active else "at rest"
            raise ValueError(
                f"Expected `degree` to be 0 to 3, and 0 at rest, but got {self.degree} of {state} {self.au}"
            )


def degree_of(level: float) -> int:
    """The degree of an active AU from its intensity of 0 to 5: FACS levels A and B are 1, C is 2, D and E are 3 [ours].

    Below level A an AU that counts as active is slight. Not a number is an unknown degree.

    >>> degree_of(0.2), degree_of(2.4), degree_of(2.5), degree_of(3.5), degree_of(math.nan)
    (1, 1, 2, 3, 0)
    """
    if math.isnan(level):
        return UNKNOWN
    whole = math.floor(level + 0.5)
    return 1 if whole <= 2 else 2 if whole == 3 else 3


def fact_of(au: str, active: bool, level: float = math.nan, sides: Sequence[float] = (-1, -1)) -> Fact:
    """The fact of a decision and, where they are known, an intensity of 0 to 5 and labels of (left, right).

    >>> fact_of("AU12", True, 3.0, (0, 1)).side, fact_of("AU12", True, 3.0, (1, 1)).side, fact_of("AU12", False).side
    ('right', '', '')
    """
    alone = active and sorted(sides) == [0, 1]
    side = SIDES[list(sides).index(1)] if alone else ""
    return Fact(au, active, degree_of(level) if active else UNKNOWN, side)


def label_facts(row: Mapping[str, Any], au_names: Iterable[str], *, sides: bool = False) -> dict[str, Fact]:
    """Facts of a row of a manifest (`AU12`, `AU12_intensity`), by AU; those that are not annotated have none.

    With `sides` also of `AU12_left` and `AU12_right`, where it has them.

    >>> label_facts({"AU12": 1, "AU12_intensity": 4.6, "AU4": 0, "AU6": -1}, ["AU12", "AU4", "AU6"])["AU12"]
    Fact(au='AU12', active=True, degree=3, side='')
    """
    return _facts(row, au_names, "{au}", "{au}_intensity", sides=sides)


def predicted_facts(row: Mapping[str, Any], au_names: Iterable[str]) -> dict[str, Fact]:
    """Facts of a row of a predictions file (`AU12_active`, `AU12_intensity_pred`), by AU."""
    return _facts(row, au_names, "{au}_active", "{au}_intensity_pred")


def true_facts(row: Mapping[str, Any], au_names: Iterable[str]) -> dict[str, Fact]:
    """Facts of the labels in a predictions file (`AU12_true`, `AU12_intensity_true`), by AU."""
    return _facts(row, au_names, "{au}_true", "{au}_intensity_true")


def _facts(
    row: Mapping[str, Any], au_names: Iterable[str], label: str, level: str, *, sides: bool = False
) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for au in au_names:
        state = _number(row.get(label.format(au=au)))
        if state in (0.0, 1.0):
            halves = [_number(row.get(f"{au}_{side}")) for side in SIDES] if sides else (-1, -1)
            found[au] = fact_of(au, state == 1.0, _number(row.get(level.format(au=au))), halves)
    return found


def _number(value: Any) -> float:
    """A cell as a float; nan for None, `pandas.NA` and text that is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def in_order(facts: Iterable[Fact], au_names: Sequence[str]) -> list[Fact]:
    """The active facts in the order of `au_names`."""
    by_au = {fact.au: fact for fact in facts if fact.active}
    return [by_au[au] for au in au_names if au in by_au]

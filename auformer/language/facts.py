"""What a sentence says about one action unit (AU), and where such facts come from: tables of labels or predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = 0  # the degree of what is at rest, and of what is active to an unknown degree


@dataclass(frozen=True)
class Fact:
    """One AU of one face.

    Args:
        au: Canonical name.
        active: Whether it occurs.
        degree: 1 to 3 (slight, clear, strong); 0 where it is at rest, or how strongly it acts is not known.

    Raises:
        ValueError: A degree outside 0 to 3, or of an AU at rest.
    """

    au: str
    active: bool
    degree: int = UNKNOWN

    def __post_init__(self) -> None:
        """Check the degree."""
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


def fact_of(au: str, active: bool, level: float = math.nan) -> Fact:
    """The fact of a decision and, where it is known, an intensity of 0 to 5."""
    return Fact(au, active, degree_of(level) if active else UNKNOWN)


def label_facts(row: Mapping[str, Any], au_names: Iterable[str]) -> dict[str, Fact]:
    """Facts of a row of a manifest (`AU12`, `AU12_intensity`), by AU; those that are not annotated have none.

    >>> label_facts({"AU12": 1, "AU12_intensity": 4.6, "AU4": 0, "AU6": -1}, ["AU12", "AU4", "AU6"])["AU12"]
    Fact(au='AU12', active=True, degree=3)
    """
    return _facts(row, au_names, "{au}", "{au}_intensity")


def predicted_facts(row: Mapping[str, Any], au_names: Iterable[str]) -> dict[str, Fact]:
    """Facts of a row of a predictions file (`AU12_active`, `AU12_intensity_pred`), by AU."""
    return _facts(row, au_names, "{au}_active", "{au}_intensity_pred")


def true_facts(row: Mapping[str, Any], au_names: Iterable[str]) -> dict[str, Fact]:
    """Facts of the labels in a predictions file (`AU12_true`, `AU12_intensity_true`), by AU."""
    return _facts(row, au_names, "{au}_true", "{au}_intensity_true")


def _facts(row: Mapping[str, Any], au_names: Iterable[str], label: str, level: str) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for au in au_names:
        state = _number(row.get(label.format(au=au)))
        if state in (0.0, 1.0):
            found[au] = fact_of(au, state == 1.0, _number(row.get(level.format(au=au))))
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

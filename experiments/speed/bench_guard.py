"""Whether a benchmark's ratios got worse than the committed ones: no timing here, numbers in and a verdict out.

Ratios are compared, whatever the machine; seconds never are, they say more about the machine than about the code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Relative worsening of a ratio of two times, or of resident memory [ours]. From an idle machine to one with other programs on both cores,
# ratios of times moved by 3 and 5 % and that of resident memory by 8 %; within a run, their quartiles lie 7 to 14 % apart (`spread`).
TOLERANCE = 0.10
EXACT = 0.01  # of a ratio of counted bytes, which is the same in every run of one version of torch [ours]
TOLERANCES = {"activations": EXACT}
SECONDS = ("load_seconds",)  # not ratios: they have a target, and no memory
# What a ratio is a ratio of; where one of these differs, the numbers are about two things.
SAME = ("backbone", "image_size", "aus", "expert_width", "batch", "threads", "dtype")


class Change(NamedTuple):
    """One ratio, before and now.

    Args:
        name: Of the ratio.
        before: Committed; None where it was not known.
        now: Measured; None where it is not known here.
        worse: By how much it got worse, relative; negative where it got better; None where one of the two is not known.
        tolerance: How much is allowed.
    """

    name: str
    before: float | None
    now: float | None
    worse: float | None
    tolerance: float

    @property
    def failed(self) -> bool:
        """Whether it got worse by more than is allowed."""
        return self.worse is not None and self.worse > self.tolerance


def judge(
    result: Mapping[str, Any], path: Path, lower_is_better: Mapping[str, bool], *, tolerance: float | None = None
) -> tuple[int, list[str]]:
    """A result beside the committed one.

    Args:
        result: `settings` and `ratios`.
        path: The committed result, JSON.
        lower_is_better: As for `compare`.
        tolerance: As for `compare`.

    Returns:
        Exit code (0 fine, 1 worse, 2 nothing to compare with) and lines for people.
    """
    if not path.is_file():
        return 2, [f"not compared: there is no {path}; make one with --accept"]
    committed = json.loads(path.read_text(encoding="utf-8"))
    other = different(result["settings"], committed["settings"])
    if other:
        return 2, [f"not compared with {path}: {'; '.join(other)}"]
    changes = compare(result["ratios"], committed["ratios"], lower_is_better, tolerance=tolerance)
    machines = {"machine": result["settings"]["machine"], "committed_machine": committed["settings"]["machine"]}
    return int(any(change.failed for change in changes)), lines(changes, **machines)


Ratios = Mapping[str, "float | None"]


def compare(
    now: Ratios, before: Ratios, lower_is_better: Mapping[str, bool], *, tolerance: float | None = None
) -> list[Change]:
    """Every ratio beside the committed one.

    Args:
        now: Measured ratios by name; None where one is not known here.
        before: Committed ratios.
        lower_is_better: Direction by name; ratios that it does not name are none of ours.
        tolerance: For all; by default each ratio's own.

    Returns:
        One change per ratio that either side has, seconds left out.

    Raises:
        ValueError: A committed ratio is not measured any more, or a ratio is not above 0.
    """
    names = [name for name in lower_is_better if name not in SECONDS and (name in now or name in before)]
    gone = [name for name in names if name in before and name not in now]
    if gone:
        raise ValueError(
            f"Expected the committed ratios to be measured, but got none for {', '.join(gone)}; restore or --accept"
        )
    return [_change(name, now[name], before.get(name), lower_is_better[name], tolerance) for name in names]


def _change(name: str, now: float | None, before: float | None, lower: bool, tolerance: float | None) -> Change:
    """One ratio beside the committed one."""
    if not all(value is None or value > 0 for value in (now, before)):
        raise ValueError(f"Expected the ratio {name!r} to be above 0, but got {now} now and {before} before")
    allowed = TOLERANCES.get(name, TOLERANCE) if tolerance is None else tolerance
    if now is None or before is None:
        return Change(name, before, now, None, allowed)
    return Change(name, before, now, now / before - 1 if lower else before / now - 1, allowed)


def different(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Settings that make the ratios about two things, one text each.

    >>> different({"batch": 4, "machine": "a"}, {"batch": 16, "machine": "b"})
    ['batch is 4, committed 16']
    """
    return [
        f"{name} is {now.get(name)}, committed {before.get(name)}" for name in SAME if now.get(name) != before.get(name)
    ]


def lines(changes: list[Change], *, machine: str, committed_machine: str) -> list[str]:
    """The comparison for people, one line per ratio, those that got worse by name at the end.

    Args:
        changes: From `compare`.
        machine: What it was measured on.
        committed_machine: What the committed ratios were measured on.
    """
    told = [f"  {_told(change)}" for change in changes]
    if machine != committed_machine:
        told.insert(
            0, f"  committed on {committed_machine}, measured on {machine}: ratios are compared, seconds are not"
        )
    failed = [change.name for change in changes if change.failed]
    verdict = f"worse than committed: {', '.join(failed)}" if failed else "no ratio is worse than committed"
    return ["Beside the committed ratios:", *told, verdict]


def _told(change: Change) -> str:
    """One ratio for people."""
    if change.worse is None:
        here, there = ("not known" if value is None else f"{value:.3f}" for value in (change.now, change.before))
        return f"{change.name}: {here} here, {there} committed"
    by = (
        f"{100 * abs(change.worse):.1f} % {'worse' if change.worse > 0 else 'better'}"
        if abs(change.worse) >= 5e-4
        else "the same"
    )
    allowed = f"({100 * change.tolerance:.0f} % worse is allowed)"
    return f"{change.name}: {change.before:.3f} -> {change.now:.3f}, {by} {allowed}{'  WORSE' if change.failed else ''}"

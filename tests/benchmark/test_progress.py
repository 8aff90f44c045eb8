"""What is said of runs: a line each, every reason of a failure once, and what another process has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auformer.benchmark.workers import Progress


def job(fold: str) -> Any:
    """A run of one fold."""
    return SimpleNamespace(run=SimpleNamespace(text=lambda: f"within  one  fold {fold}"), folder=Path("out") / fold)


def test_each_run_is_one_line() -> None:
    said: list[str] = []
    progress = Progress(3, said.append)
    progress.report(job("P1"), {"seconds": 12.4}, None)
    progress.report(job("P2"), None, None)
    progress.report(job("P3"), {"seconds": 0.2}, None)
    assert said == [
        "[1/3] within  one  fold P1  12 s",
        "[2/3] within  one  fold P2  another process is at it",
        "[3/3] within  one  fold P3  0 s",
    ]
    progress.close()
    assert len(said) == 4 and said[-1].startswith("1 run left to another process; the same command again")


def test_every_reason_is_told_once_with_its_first_run() -> None:
    said: list[str] = []
    progress = Progress(4, said.append)
    for fold, error in (
        ("P1", "ValueError: no AU4"),
        ("P2", "OSError: disk full"),
        ("P3", "ValueError: no AU4"),
        ("P4", None),
    ):
        progress.report(job(fold), None if error else {"seconds": 1}, error)
    assert [line.rpartition("  ")[2] for line in said] == ["failed", "failed", "failed", "1 s"]
    with pytest.raises(ValueError, match="3 of 4 runs failed") as caught:
        progress.close()
    assert str(caught.value).splitlines()[1:] == [
        f"  within  one  fold P1 ({Path('out/P1/log.txt')}) and 1 more: ValueError: no AU4",
        f"  within  one  fold P2 ({Path('out/P2/log.txt')}): OSError: disk full",
    ]


def test_nothing_is_said_when_all_is_done() -> None:
    said: list[str] = []
    Progress(0, said.append).close()
    assert said == []

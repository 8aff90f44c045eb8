"""The guard of the benchmark on numbers made by hand: what counts as worse, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.speed.bench_guard import Change, compare, different, judge, lines

LOWER = {"forward": True, "training": False, "activations": True, "peak_memory": True, "load_seconds": True}
BEFORE = {"forward": 1.10, "training": 2.0, "activations": 0.40, "peak_memory": 0.20, "load_seconds": 0.05}


def _changes(**now: float | None) -> dict[str, Change]:
    return {change.name: change for change in compare({**BEFORE, **now}, BEFORE, LOWER)}


def test_the_same_numbers_pass() -> None:
    changes = _changes()
    assert list(changes) == ["forward", "training", "activations", "peak_memory"]
    assert all(change.worse == 0 and not change.failed for change in changes.values())


@pytest.mark.parametrize(
    ("name", "now", "worse", "failed"),
    [
        ("forward", 1.20, 0.0909, False),
        ("forward", 1.22, 0.1091, True),
        ("forward", 0.50, -0.5455, False),
        ("training", 1.83, 0.0929, False),
        ("training", 1.80, 0.1111, True),  # here more is better
        ("training", 9.00, -0.7778, False),
        ("activations", 0.403, 0.0075, False),  # counted, not timed: narrower
        ("activations", 0.41, 0.0250, True),
        ("peak_memory", 0.23, 0.1500, True),
    ],
)
def test_worse_and_better(name: str, now: float, worse: float, failed: bool) -> None:
    changes = _changes(**{name: now})
    assert changes[name].worse == pytest.approx(worse, abs=1e-4) and changes[name].failed is failed
    assert [other for other, change in changes.items() if change.failed] == ([name] if failed else [])


def test_another_tolerance_holds_for_all() -> None:
    assert not any(
        change.failed
        for change in compare({**BEFORE, "forward": 1.22, "activations": 0.44}, BEFORE, LOWER, tolerance=0.2)
    )
    assert compare({**BEFORE, "forward": 1.20}, BEFORE, LOWER, tolerance=0.05)[0].failed


def test_seconds_are_never_compared() -> None:
    """Ten times slower to load on another machine is no worsening of the code."""
    changes = _changes(load_seconds=0.5)
    assert "load_seconds" not in changes and not any(change.failed for change in changes.values())
    said = lines(list(changes.values()), machine="a", committed_machine="b")
    assert said[1] == "  committed on b, measured on a: ratios are compared, seconds are not"
    assert said[-1] == "no ratio is worse than committed"
    assert len(lines(list(changes.values()), machine="a", committed_machine="a")) == len(said) - 1


def test_what_is_not_known_here_does_not_fail_and_what_is_gone_does() -> None:
    assert not _changes(peak_memory=None)["peak_memory"].failed
    with pytest.raises(ValueError, match="none for training, peak_memory"):
        compare({"forward": 1.1, "activations": 0.4}, BEFORE, LOWER)
    assert [change.before for change in compare(BEFORE, {"forward": 1.1}, LOWER)] == [1.1, None, None, None]
    with pytest.raises(ValueError, match="'forward' to be above 0, but got nan"):
        compare({**BEFORE, "forward": float("nan")}, BEFORE, LOWER)


def test_lines_name_what_got_worse() -> None:
    said = lines(
        compare({**BEFORE, "forward": 1.32, "training": 1.6}, BEFORE, LOWER), machine="a", committed_machine="a"
    )
    assert said[0] == "Beside the committed ratios:"
    assert said[1] == "  forward: 1.100 -> 1.320, 20.0 % worse (10 % worse is allowed)  WORSE"
    assert said[3] == "  activations: 0.400 -> 0.400, the same (1 % worse is allowed)"
    assert said[-1] == "worse than committed: forward, training"


def test_other_settings_are_named() -> None:
    now = {"backbone": "vit_base_patch16_224", "batch": 4, "torch": "2.14", "machine": "a"}
    assert different(now, {**now, "torch": "2.15", "machine": "b", "date": "x"}) == []
    assert different(now, {**now, "backbone": "test_vit"}) == ["backbone is vit_base_patch16_224, committed test_vit"]


def test_exit_codes(tmp_path: Path) -> None:
    settings = {"backbone": "vit_base_patch16_224", "batch": 4, "machine": "a"}
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"settings": settings, "ratios": BEFORE}), encoding="utf-8")

    def code(change: dict, **other: object) -> int:
        return judge({"settings": {**settings, **other}, "ratios": {**BEFORE, **change}}, path, LOWER)[0]

    assert [code({}), code({}, machine="b"), code({"training": 1.0}), code({}, batch=8)] == [0, 0, 1, 2]
    assert judge({"settings": settings, "ratios": BEFORE}, tmp_path / "none.json", LOWER)[0] == 2
    assert judge({"settings": settings, "ratios": {**BEFORE, "training": 1.0}}, path, LOWER, tolerance=1.5)[0] == 0

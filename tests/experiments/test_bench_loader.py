"""The benchmark of the loader runs, its stages add up, and its verdict is right on numbers made by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.speed import bench_loader as bench
from experiments.speed.bench_loader import cores_needed, text, workers_needed


def test_it_measures_and_writes_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "WORKERS", (0, 1))
    monkeypatch.setattr(bench, "TOGETHER", (0,))
    words = ["--tiny", "--images", "16", "--seconds", "0.05", "--threads", "1", "--out", str(tmp_path / "out")]
    bench.main(words)
    result = json.loads((tmp_path / "out" / "loader.json").read_text(encoding="utf-8"))
    assert (tmp_path / "out" / "loader.md").read_text(encoding="utf-8") in capsys.readouterr().out
    assert list(result["sizes"]) == ["32", "64"]
    for one in result["sizes"].values():
        assert set(one["loader"]) == {"0", "1"} and all(
            value > 0 for value in (*one["loader"].values(), one["training"])
        )
        stages = dict(one["stages_ms"])
        assert stages.pop("all") == pytest.approx(sum(stages.values())) and stages["augment"] > 0
        assert {"Affine", "Pad", "RandomCrop", "ColorJitter", "OneOf", "between them"} <= set(one["transforms_ms"])
        assert "BasicTransform" not in one["transforms_ms"]
    assert set(result["sizes"]["32"]["together"]) == {"0"} and "together" not in result["sizes"]["64"]


def test_calls_are_timed_by_class_and_left_as_they_were() -> None:
    class Base:
        def __call__(self, number: int) -> int:
            return sum(range(number))

    class Slow(Base):
        pass

    class Quick(Base):
        def __call__(self, number: int) -> int:
            return number

    seconds: dict[str, float] = {}
    before = vars(Quick)["__call__"]
    with bench.timed_calls({Slow, Quick}, seconds):
        assert Slow()(10) == 45 and Quick()(7) == 7 and Base()(3) == 3
    assert set(seconds) == {"Slow", "Quick"} and all(value >= 0 for value in seconds.values())
    assert "__call__" not in vars(Slow) and vars(Quick)["__call__"] is before


def test_rate_counts_pictures_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by a quarter of a second with each batch of 8 pictures; the first two batches are for warming up."""
    clock = itertools.count(0.0, 0.25)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    assert bench.rate(iter([100, 100, 8, 8, 8, 8, 8]), 1.0, warm_up=2) == pytest.approx(3 * 8 / 1.0)


def test_the_page_by_hand() -> None:
    stages = {"read the file": 0.1, "decode": 0.5, "augment": 1.2, "collate": 0.2, "all": 2.0}
    one: dict[str, Any] = {
        "backbone": "v",
        "batch": 16,
        "stages_ms": stages,
        "transforms_ms": {"Affine": 0.3, "between them": 0.9},
    }
    one |= {"loader": {"0": 500.0, "1": 450.0, "2": 900.0}, "training": 600.0}
    how = {"images": 8, "threads": 2, "torch": "t", "machine": "m", "commit": "c", "date": "d", "load": 3.5}
    said = text(
        {
            "settings": how,
            "sizes": {"112": {**one, "together": {"0": 0.5, "2": 0.97}}, "224": {**one, "training": 1000.0}},
        }
    )
    assert (
        "112 px: 2 workers keep up on this machine; loading takes 120.0 % of one core while it trains. One core loads 500 "
        in said
    )
    assert "bounds it is `augment`, 60 % of its time" in said and "50 % with 0 workers, 97 % with 2 workers" in said
    assert "would keep 2.0 cores busy" in said and "before the start: 3.5;" in said
    assert "224 px: no number of workers that was measured keeps up" in said
    assert "| decode | 0.500 (25 %) | 0.500 (25 %) |" in said and "| Affine | 0.300 (25 %) | 0.300 (25 %) |" in said
    assert cores_needed(2.0, 600.0) == pytest.approx(1.2)
    assert [workers_needed(one["loader"], rate) for rate in (400.0, 500.0, 501.0, 901.0)] == [0, 0, 2, None]

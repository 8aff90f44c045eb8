"""The page of costs is what the arithmetic gives from the committed measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.speed.cost import cost, main

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


def test_the_committed_page_follows_from_the_committed_rates(tmp_path):
    assert main(["--out", str(tmp_path)]) == (RESULTS / "cost.md").read_text(encoding="utf-8")
    assert (tmp_path / "cost.md").read_text(encoding="utf-8") == (RESULTS / "cost.md").read_text(encoding="utf-8")


def test_numbers_by_hand(tmp_path):
    """100 frames a second: 10 million frames take 100,000 s, 27.8 hours, 55.6 core-hours, 2.78 dollars."""
    rates = json.loads((RESULTS / "bench_predict.json").read_text(encoding="utf-8"))
    rates["every_frame"]["fps"] = 100.0
    (tmp_path / "bench.json").write_text(json.dumps(rates), encoding="utf-8")
    text = main(["--bench", str(tmp_path / "bench.json")])
    assert "| 100.0 | 27.8 | 55.6 | 0.9 | 2.8 |" in text and "= 2.78 dollars" in text
    found = cost(10.0, frames=36_000, cores=4, price=0.5)
    assert found == pytest.approx({"hours": 1.0, "core_hours": 4.0, "dollars": 2.0})

"""Predictions beside an earlier build: ratios within pairs, what the tables share, and the page's verdicts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from auformer.data.manifest import write_predictions
from experiments.speed import bench_predict_before_after as bench


def _table(path: Path, prob: float, x: float, frames: int) -> None:
    path.parent.mkdir()
    rows = {
        "dataset": "user", "subject": "v.mp4", "sequence": "v.mp4", "frame": range(frames), "face": 0, "file": "v.mp4",
        "time_s": 0.0, "x": x, "y": 0.0, "w": 40.0, "h": 40.0, "score": 0.9, "status": "ok", "AU12_prob": prob,
        "AU12_active": 0,
    }  # fmt: skip
    write_predictions(pd.DataFrame(rows), path, {})


@pytest.fixture
def found(tmp_path: Path) -> dict:
    _table(tmp_path / "out_before" / "predictions.csv", 0.25, 0.0, 4)
    _table(tmp_path / "out_after" / "predictions.csv", 0.75, 20.0, 3)
    seconds = [(8.0, 2.0), (30.0, 3.0), (5.0, 1.0)]  # one pair on a busy machine
    pairs = [
        {"before": {"seconds": a, "cpu": 2 * a, "peak_mb": 400.0}, "after": {"seconds": b, "cpu": b, "peak_mb": 100.0}}
        for a, b in seconds
    ]
    return bench.summary(pairs, tmp_path)


def test_ratios_are_medians_within_pairs(found: dict) -> None:
    assert (found["pairs"], found["seconds_ratio"], found["cpu_ratio"], found["peak_mb_ratio"]) == (3, 5.0, 10.0, 4.0)
    assert (found["seconds_before"], found["seconds_after"]) == (8.0, 2.0)


def test_what_the_tables_share(found: dict) -> None:
    """Three frames of four, probabilities .5 apart, boxes of 40 pixels moved by 20: a third of their union."""
    assert (found["rows_before"], found["rows_after"], found["rows_in_both"]) == (4, 3, 3)
    assert found["probability_away"] == 0.5 and found["box_overlap"] == 0.333


def test_verdicts(found: dict) -> None:
    facts = {"command": "x", "size": "4 frames", "load": 1.0, "commit": "c"}
    works = {"video": {**found, **facts}, "folder_defaults": {**found, **facts}, "empty": {**found, **facts}}
    said = bench.page({"before": "b", "machine": "m", "works": works, "floor_ms": {"decode": 1.5, "all": 9.0}})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("| ")][
        2:
    ]
    assert [row[6] for row in cells] == ["met", "missed", ""] and cells[0][7] == "0.25"
    assert "decode 1.5 ms, all 9.0 ms" in said

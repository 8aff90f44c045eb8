"""Predictions beside an earlier build: ratios within pairs, what the tables share, and the page's verdicts."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.data.manifest import write_predictions
from auformer.data.video import read_video
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
    floors = {"video": {"decode": 1.5, "all": 9.0}}
    said = bench.page({"before": "b", "machine": "m", "works": works, "floors": floors})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("| ")][
        2:
    ]
    assert [row[6] for row in cells] == ["met", "missed", ""] and cells[0][7] == "0.25"
    assert "500.0 ms with start and end; the floor in one thread, without them: decode 1.5 ms, all 9.0 ms." in said


class TestGoingOn:
    """A run that was stopped measures what is missing, of the same commits on the same files alone."""

    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        counted: list[int] = []

        def pair(words: dict, arguments: list, folder: Path) -> dict:
            counted.append(1)
            if len(counted) == self.stop:
                raise KeyboardInterrupt
            one = {"seconds": 2.0, "cpu": 2.0, "peak_mb": 2.0}
            return {"before": one, "after": one}

        both = {"rows_before": 1, "rows_after": 1, "rows_in_both": 1, "seconds_ratio": 1.0, "cpu_ratio": 1.0}
        more = {"peak_mb_ratio": 1.0, "seconds_before": 2.0, "seconds_after": 2.0}
        monkeypatch.setattr(bench, "summary", lambda runs, folder: {"pairs": len(runs), **both, **more})
        monkeypatch.setattr(bench, "build", lambda folder, commit: [commit])
        monkeypatch.setattr(bench, "run_pair", pair)
        monkeypatch.setattr(bench, "write_scenes", lambda folder, number: None)
        monkeypatch.setattr(bench, "commit_of", lambda name: name)

        def go(*words: str, stop: int = 0) -> tuple[int, dict]:
            counted.clear()
            self.stop = stop
            with contextlib.suppress(KeyboardInterrupt):
                bench.main(["--works", "empty", "--out", str(tmp_path), *words])
            return len(counted), json.loads((tmp_path / "predict_before_after.json").read_text())["works"]["empty"]

        return go

    def test_it_goes_on(self, run) -> None:
        assert run("--pairs", "3", stop=3)[1]["pairs"] == 2
        calls, found = run("--pairs", "3", "--more")
        assert (calls, found["pairs"], len(found["runs"])) == (1, 3, 3)
        assert run("--pairs", "3", "--more")[0] == 0
        assert run("--pairs", "3")[0] == 3

    def test_pairs_of_another_commit_do_not_count(self, run) -> None:
        run("--pairs", "2")
        calls, found = run("--pairs", "2", "--more", "--after", "other")
        assert (calls, found["pairs"]) == (2, 2)


def test_memory_by_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer video is the shorter one six times in a row."""
    frames = {}

    def timed(words: list[str], cwd: Path) -> dict:
        name = words[2]
        frames[name] = [(one.index, one.time_s) for one in read_video(cwd / name)]
        _table(cwd / words[-1] / "predictions.csv", 0.5, 0.0, len(frames[name]))
        return {"seconds": 1.0, "cpu": 1.0, "peak_mb": 100.0 + len(frames[name])}

    plain = bench.write_clip
    monkeypatch.setattr(bench, "write_clip", lambda path, number: plain(path, 20))
    monkeypatch.setattr(bench, "timed", timed)
    found = bench.memory(["x"], tmp_path, 10)
    assert found["short_rows"] == 20 and found["long_rows"] == 120 and found["minutes"] == [10, 60]
    assert found["ratio"] == round(220 / 120, 3)
    assert np.allclose([time for _, time in frames["long.mp4"]], np.arange(120) / 30, atol=0.002)
    said = bench.page({"before": "b", "machine": "m", "works": {"memory": {
        **found, "size": "s", "command": "x", "load": 1.0, "commit": "c"}}})  # fmt: skip
    assert "120.0 MB for 10 minutes" in said and "missed" in said

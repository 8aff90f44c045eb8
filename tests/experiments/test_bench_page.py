"""The benchmark of the page: its material, what its page says, and that the committed page is made from its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from auformer.data.video import read_video
from auformer.predict.compare import read_predictions
from experiments.harness import RESULTS
from experiments.speed import bench_page

TAB = {"fps": 45.0, "processor_ms": 6.25, "draw_ms": 8.5, "slowest_ms": 33.0}
FOUND = {
    "first_s": 1.9, "timeline_s": 2.6, "pan_fps": 45.0, "zoom_fps": 29.0, "all_fps": 31.0, "heap_growth_mib": 0.1,
    "tab": {"pan": TAB, "zoom": TAB, "all": TAB}, "before": {"heap": 3.0, "resident": 400.0}, "started_s": 2.0,
    "after": {"heap": 3.1, "resident": 410.0}, "views": [{"first_s": 1.9, "timeline_s": 2.6}], "chromium": "1.2",
}  # fmt: skip


def test_material_is_a_video_with_its_predictions(tmp_path: Path) -> None:
    out = bench_page.write_material(bench_page.parse_arguments(["--frames", "30", "--people", "2"]), tmp_path)
    table = read_predictions(out / "predictions.csv")
    times = [frame.time_s for frame in read_video(out / "talk.mp4")]
    assert np.allclose(times, np.arange(30) / bench_page.FPS) and table["frame"].nunique() == 30
    assert len(table) == 60 and sum(name.endswith("_prob") for name in table) == 18


def test_the_page_says_what_was_met_and_what_was_not() -> None:
    how = {"command": "c", "frames": 30, "people": 2, "rounds": 1, "seconds": 3.0, "starlette": "1", "uvicorn": "2",
           "machine": "m", "commit": "x", "date": "d", "load": 7.5}  # fmt: skip
    said = bench_page.page_text({"settings": how, "measured": FOUND})
    assert "| first view, seconds | 1.9 | at most 2 | met |" in said
    assert "| zooming, images a second | 29 | at least 30 | missed: other work has the cores" in said
    assert "| panning a tenth | 45 | 6.2 | 8.5 | 33.0 |" in said and "load was 7.5" in said
    assert "3.0 and\n3.1 MiB of JavaScript heap" in said and "1.90 and 2.60" in said


def test_the_committed_page_is_made_from_the_committed_numbers() -> None:
    result = json.loads((RESULTS / "page.json").read_text(encoding="utf-8"))
    assert (RESULTS / "page.md").read_text(encoding="utf-8") == bench_page.page_text(result)

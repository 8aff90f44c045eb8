"""The comparison over time: the order of its jobs, what goes on, when it stops, and a page of what has run."""

import json

import numpy as np
import pandas as pd
import pytest

from experiments.ablations import clips, clips_page
from experiments.ablations.clip_rows import AUS, ROWS, second_half

COUNTS = {"A43100": [[3] * len(AUS), [1] * len(AUS), [1] * len(AUS)]}


@pytest.fixture
def done(monkeypatch):
    """Jobs that were trained, which takes no time and half a minute by the clock."""
    done, clock = [], [0.0]

    class Bench:
        def __init__(self, folder, data):
            self.data = data

        def do(self, job):
            done.append(job)
            clock[0] += 30.0
            scores = {"f1": 0.5, "ap": 0.5, "auroc": 0.8, "trained": 10, "counts": COUNTS}
            return {**job._asdict(), **scores}

    monkeypatch.setattr(clips, "Bench", Bench)
    monkeypatch.setattr(clips.time, "monotonic", lambda: clock[0])
    return done


def test_what_tells_most_comes_first():
    jobs = clips.plan()
    assert len(set(jobs)) == len(jobs) and [job.seed for job in jobs[:7]] == [0] * 7
    assert [job.row for job in jobs[:6]] == list(clips.CORE) and {job.data for job in jobs[:25]} == {"clips"}
    places = {job: place for place, job in enumerate(jobs)}
    assert places[("clips", "vit_mdhr", 2)] < places[("clips", "length_4", 0)] < places[("videos", "vit_mdhr", 0)]
    assert {job.row for job in jobs if job.data == "clips" and job.seed == 2} == set(ROWS)
    assert all(places[job._replace(row="auformer")] < places[job] for job in jobs if job.row.startswith("auformer_"))


def test_the_other_half_is_nobody_that_the_detector_saw():
    people = pd.DataFrame({"dataset": "lab", "subject": ["b", "b", "a", "c", "d"]})
    others, part = second_half({"table": people, "runs": [np.array(run) for run in ([0, 1], [2], [3], [4])], "n": 1})
    assert others == ["lab/c", "lab/d"] and [run.tolist() for run in part["runs"]] == [[3], [4]] and part["n"] == 1


def test_jobs_go_on_and_stop_by_the_clock(tmp_path, done, capsys):
    lines = tmp_path / "runs.jsonl"
    words = ["--folder", str(tmp_path), "--lines", str(lines), "--data", "clips", "--seeds", "0"]
    assert clips.main([*words, "--minutes", "1"]) == 0
    assert [job.row for job in done] == list(clips.CORE[:3])  # the third passes the minute
    assert "1 minutes are over; the same command goes on" in capsys.readouterr().out
    assert clips.main([*words, "--plan"]) == 0
    assert capsys.readouterr().out.startswith("clips dynamics_only seed 0: about ")
    assert clips.main([*words, "--only", *clips.CORE]) == 0
    assert [job.row for job in done] == list(clips.CORE)
    kept = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [line["row"] for line in kept] == list(clips.CORE) and all("circumstances" in line for line in kept)


def test_the_page_shows_what_has_run(tmp_path, done, monkeypatch):
    monkeypatch.setattr(clips_page, "DRAWS", 20)
    (tmp_path / "time_costs.json").write_bytes((clips_page.RESULTS / "time_costs.json").read_bytes())
    words = ["--folder", str(tmp_path), "--lines", str(tmp_path / "time_runs.jsonl"), "--data", "clips"]
    clips.main([*words, "--only", *clips.CORE])
    text = clips_page.page(tmp_path, None)
    assert "| AUFormer in time: MDHR's head on its tokens | 3 | 10 |" in text
    assert "* ViTMDHR, the whole minus the same head frame by frame: +0.0 points of F1 (+0.0 to +0.0; 3 seeds)" in text
    assert "Not run: plain sum of the taps; " in text and np.isclose(clips_page.figure(COUNTS, ["A43100"]), 0.75)

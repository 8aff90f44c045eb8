"""`auformer predict` that is killed, resumes, and is divided over several jobs."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from auformer.cli import main
from auformer.data.images import read_image
from auformer.data.video import read_video
from auformer.predict import AUPredictor
from tests.helpers.predicting import dying, files, make_checkpoint, make_clips, options, predict_with, rows, same

STEP = "auformer.predict.pipeline.RESUME_FRAMES"
PATIENCE = 240  # seconds until a process that should be at work counts as lost; it imports torch first
KILLS = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
SPAWN = multiprocessing.get_context("spawn")  # one forked from threads, as torch has, may wait for their locks for ever


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def predict(checkpoint):
    return lambda *words: predict_with(checkpoint, *words)


def test_a_video_resumes_in_its_middle(clips, predict, tmp_path, monkeypatch):
    """After nine of twelve frames, with tracking between detections and smoothing; not one frame is done twice."""
    monkeypatch.setattr(STEP, 4)
    words = (clips / "talk.mp4", "--batch-size", 1, "--detect-every", 2, "--smooth", 0.3, "--out")
    assert predict(*words, tmp_path / "clean") == 0
    out, seen = tmp_path / "out", dying(monkeypatch, 10)
    assert predict(*words, out) == 130 and files(out) == [".predict"]
    before = len(seen)
    assert predict(*words, out) == 0 and len(seen) - before <= 6
    assert (out / "predictions.csv").read_bytes() == (tmp_path / "clean" / "predictions.csv").read_bytes()
    assert files(out) == ["predictions.csv", "predictions.json"]


def test_a_torn_journal_counts_up_to_its_last_state(clips, predict, tmp_path, monkeypatch):
    monkeypatch.setattr(STEP, 4)
    words, out = (clips / "talk.mp4", "--batch-size", 1, "--out"), tmp_path / "out"
    assert predict(*words, tmp_path / "clean") == 0
    seen = dying(monkeypatch, 11)
    assert predict(*words, out) == 130
    (journal,) = out.glob(".predict/*/journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-25])  # as a machine that loses power leaves it
    assert predict(*words, out) == 0 and len(seen) - 11 <= 6
    assert (out / "predictions.csv").read_bytes() == (tmp_path / "clean" / "predictions.csv").read_bytes()


def test_other_settings_start_anew(clips, predict, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(STEP, 4)
    dying(monkeypatch, 8)
    assert predict(clips / "talk.mp4", "--out", out, "--batch-size", 1) == 130 and files(out) == [".predict"]
    assert predict(clips / "talk.mp4", "--out", out, "--every", 3) == 0
    assert rows(out)["frame"].tolist() == [0, 3, 6, 9] and files(out) == ["predictions.csv", "predictions.json"]


def _job(words, wait, frames=None):
    """One job as a process; one that waits some seconds for each batch can be killed in the middle."""
    if frames is not None:
        from auformer.predict import pipeline

        pipeline.RESUME_FRAMES = frames
    if wait:
        real = AUPredictor.predict_proba
        AUPredictor.predict_proba = lambda self, crops: (time.sleep(wait), real(self, crops))[1]
    sys.exit(main(words))


def kill_when(job, ready):
    """Kill a process as soon as something is so."""
    deadline = time.monotonic() + PATIENCE
    while not ready() and time.monotonic() < deadline and job.is_alive():
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.join(PATIENCE)
    assert job.exitcode == -signal.SIGKILL


@KILLS
@pytest.mark.kill
def test_killed_while_a_video_is_annotated(clips, checkpoint, tmp_path, monkeypatch):
    """Then table, evidence maps and every frame of the video are those of one clean pass."""
    monkeypatch.setattr(STEP, 4)
    words = ["predict", str(clips / "talk.mp4"), *options(checkpoint), "--annotate", "--maps", "--batch-size", "1"]
    out, clean = tmp_path / "out", tmp_path / "clean"
    assert main([*words, "--out", str(clean)]) == 0
    job = SPAWN.Process(target=_job, args=([*words, "--out", str(out)], 0.15, 4))
    job.start()
    kill_when(job, lambda: any('{"state": ' in path.read_text() for path in out.glob(".predict/*/journal.jsonl")))
    assert files(out) == [".predict"]
    (piece,) = out.glob(".predict/*/annotated-000000000000.mkv")
    seen = dying(monkeypatch, -1)  # notes only
    assert piece.stat().st_size and main([*words, "--out", str(out)]) == 0
    assert sum(seen) <= 8  # the rows of the first piece were not made again
    assert files(out) == files(clean) == ["predictions.csv", "predictions.json", "talk_annotated.mp4", "talk_maps.png"]
    same(rows(out), rows(clean))
    assert np.array_equal(read_image(out / "talk_maps.png"), read_image(clean / "talk_maps.png"))
    whole, expected = (list(read_video(folder / "talk_annotated.mp4")) for folder in (out, clean))
    times = [frame.time_s for frame in whole]
    assert times == [frame.time_s for frame in expected] == pytest.approx(np.arange(12) / 10, abs=0.002)
    assert max(np.abs(a.image().astype(int) - b.image()).mean() for a, b in zip(whole, expected, strict=True)) < 1


@KILLS
@pytest.mark.kill
def test_three_shards_at_once_one_killed_and_run_again(clips, checkpoint, tmp_path, capsys):
    folder, out = tmp_path / "videos", tmp_path / "out"
    for k in range(6):
        (folder / f"s{k % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(clips / "talk.mp4", folder / f"s{k % 2}" / f"v{k}.mp4")
    words = ["predict", str(folder), *options(checkpoint), "--every", "4", "--out"]
    assert main([*words, str(tmp_path / "clean")]) == 0
    shard = [[*words, str(out), "--report", "--shard", f"{k}/3"] for k in (1, 2, 3)]
    jobs = [SPAWN.Process(target=_job, args=(one, 0.4 * (k == 0))) for k, one in enumerate(shard)]
    for job in jobs:
        job.start()
    kill_when(jobs[0], lambda: list(out.glob(".predict/*/journal.jsonl")))
    for job in jobs[1:]:
        job.join(PATIENCE)
        assert job.exitcode == 0
    assert main(["predict", "--merge", str(out)]) == 1 and "are missing" in capsys.readouterr().err
    assert main(shard[0]) == 0
    assert "report-1-of-3.html" in files(out) and "report.html" not in files(out)
    assert main(["predict", "--merge", str(out), "--overwrite"]) == 0 and "6 of 6 sources" in capsys.readouterr().out
    same(rows(out), rows(tmp_path / "clean"))
    assert len([name for name in files(out) if name.endswith(".csv")]) == 7 and ".predict" not in files(out)
    assert main(["predict", "--merge", str(tmp_path / "clean"), "--overwrite"]) == 1
    assert "but found none" in capsys.readouterr().err

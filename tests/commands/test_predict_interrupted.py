"""`auformer predict` that is killed, goes on, and is divided over several jobs."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
from functools import partial

import numpy as np
import pytest

import auformer.predict.pipeline as pipeline
import auformer.predict.recorder as pieces
from auformer.cli import main
from auformer.data.images import read_image
from auformer.data.manifest import read_predictions
from auformer.predict.predictor import AUPredictor
from auformer.predict.types import Selection
from auformer.predict.video import read_video
from tests.helpers.predicting import files, make_checkpoint, make_clips, options, predict_with, same


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def predict(checkpoint):
    return partial(predict_with, checkpoint)


class TestInterrupted:
    def test_a_recording_goes_on_in_its_middle(self, clips, predict, tmp_path, monkeypatch):
        """Killed after nine of twelve frames, with following between detections and smoothing over time; not one frame is done twice."""
        monkeypatch.setattr(pipeline, "_CHECKPOINT", 4)
        words = (clips / "talk.mp4", "--batch-size", 1, "--detect-every", 2, "--smooth", 0.3, "--out")
        assert predict(*words, tmp_path / "clean") == 0
        real, seen = AUPredictor.predict_proba, []

        def dying(self, crops):
            seen.append(len(crops))
            if len(seen) == 10:
                raise KeyboardInterrupt
            return real(self, crops)

        monkeypatch.setattr(AUPredictor, "predict_proba", dying)
        assert predict(*words, tmp_path / "out") == 130 and files(tmp_path / "out") == [".predict"]
        before = len(seen)
        assert predict(*words, tmp_path / "out") == 0 and len(seen) - before <= 6
        same(
            read_predictions(tmp_path / "out" / "predictions.csv"),
            read_predictions(tmp_path / "clean" / "predictions.csv"),
        )
        assert files(tmp_path / "out") == ["predictions.csv", "predictions.json"]

    def test_other_settings_start_anew(self, clips, predict, tmp_path, monkeypatch):
        monkeypatch.setattr(pipeline, "_CHECKPOINT", 4)
        real = AUPredictor.predict_proba
        monkeypatch.setattr(AUPredictor, "predict_proba", lambda self, crops: (_ for _ in ()).throw(KeyboardInterrupt))
        assert predict(clips / "talk.mp4", "--out", tmp_path / "out") == 130
        monkeypatch.setattr(AUPredictor, "predict_proba", real)
        assert predict(clips / "talk.mp4", "--out", tmp_path / "out", "--every", 3) == 0
        assert read_predictions(tmp_path / "out" / "predictions.csv")["frame"].tolist() == [0, 3, 6, 9]
        assert files(tmp_path / "out") == ["predictions.csv", "predictions.json"]


PATIENCE = 240  # seconds until a process that should be at work counts as lost; it imports torch first
KILLS = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
SPAWN = multiprocessing.get_context(
    "spawn"
)  # forked from a process with threads, as torch has, one may wait for their locks for ever


def _job(words, wait, frames=None):
    """One job as a process of its own; one that waits some seconds for each batch can be killed in the middle.

    What is done is kept after so many `frames`.
    """
    if frames is not None:
        pipeline._CHECKPOINT = frames
    if wait:
        real = AUPredictor.predict_proba
        AUPredictor.predict_proba = lambda self, crops: (time.sleep(wait), real(self, crops))[1]
    sys.exit(main(words))


@KILLS
def test_killed_while_a_video_is_annotated(clips, checkpoint, tmp_path, monkeypatch):
    """The process is gone in the middle; then table, evidence maps and every frame of the video are those of one clean pass."""
    monkeypatch.setattr(pipeline, "_CHECKPOINT", 4)
    words = [
        "predict",
        str(clips / "talk.mp4"),
        *options(checkpoint),
        "--annotate",
        "--maps",
        "--batch-size",
        "1",
        "--out",
    ]
    assert main([*words, str(tmp_path / "clean")]) == 0
    out, real, seen, joined = tmp_path / "out", AUPredictor.predict_proba, [], []
    job = SPAWN.Process(target=_job, args=([*words, str(out)], 0.15, 4))
    job.start()
    deadline = time.monotonic() + PATIENCE
    while (
        '"resume": {' not in "".join(path.read_text() for path in out.glob(".predict/*/state.json"))
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.join(PATIENCE)
    assert job.exitcode == -signal.SIGKILL and files(out) == [".predict"]
    (kept,) = out.glob(".predict/*/annotated-000000000000.mkv")

    before = kept.stat().st_mtime_ns
    real_join = pieces.join_videos
    monkeypatch.setattr(
        pieces, "join_videos", lambda found, path: (joined.append(found[0].stat().st_mtime_ns), real_join(found, path))
    )
    monkeypatch.setattr(
        AUPredictor, "predict_proba", lambda self, crops: (seen.append(len(crops)), real(self, crops))[1]
    )
    assert main([*words, str(out)]) == 0
    assert joined == [before] and sum(seen) <= 8  # the first piece was not made again, nor were its rows
    assert (
        files(out)
        == files(tmp_path / "clean")
        == ["predictions.csv", "predictions.json", "talk_annotated.mp4", "talk_maps.png"]
    )
    same(read_predictions(out / "predictions.csv"), read_predictions(tmp_path / "clean" / "predictions.csv"))
    assert np.array_equal(read_image(out / "talk_maps.png"), read_image(tmp_path / "clean" / "talk_maps.png"))
    whole, clean = (
        list(read_video(folder / "talk_annotated.mp4", Selection())) for folder in (out, tmp_path / "clean")
    )
    assert (
        [frame.time_s for frame in whole]
        == [frame.time_s for frame in clean]
        == pytest.approx(np.arange(12) / 10, abs=0.002)
    )
    assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(whole, clean, strict=True)) < 1


@KILLS
def test_three_shards_at_once_one_killed_and_run_again(clips, checkpoint, tmp_path, capsys):
    folder = tmp_path / "videos"
    for k in range(6):
        (folder / f"s{k % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(clips / "talk.mp4", folder / f"s{k % 2}" / f"v{k}.mp4")
    words = ["predict", str(folder), *options(checkpoint), "--every", "4", "--out"]
    assert main([*words, str(tmp_path / "clean")]) == 0
    out = tmp_path / "out"
    jobs = [
        SPAWN.Process(target=_job, args=([*words, str(out), "--report", "--shard", f"{k}/3"], 0.4 * (k == 1)))
        for k in (1, 2, 3)
    ]
    for job in jobs:
        job.start()
    deadline = time.monotonic() + PATIENCE
    while not list(out.glob(".predict/*/rows.csv")) and time.monotonic() < deadline and jobs[0].is_alive():
        time.sleep(0.02)
    os.kill(jobs[0].pid, signal.SIGKILL)
    for job in jobs:
        job.join(PATIENCE)
    assert [job.exitcode for job in jobs] == [-signal.SIGKILL, 0, 0]
    assert main(["predict", "--merge", str(out)]) == 1 and "are missing" in capsys.readouterr().err
    assert main([*words, str(out), "--report", "--shard", "1/3"]) == 0
    assert "report-1-of-3.html" in files(out) and "report.html" not in files(out)
    assert main(["predict", "--merge", str(out), "--overwrite"]) == 0 and "6 of 6 sources" in capsys.readouterr().out
    same(read_predictions(out / "predictions.csv"), read_predictions(tmp_path / "clean" / "predictions.csv"))
    assert len([name for name in files(out) if name.endswith(".csv")]) == 7 and ".predict" not in files(out)
    assert (
        main(["predict", "--merge", str(tmp_path / "clean"), "--overwrite"]) == 1
        and "but found none" in capsys.readouterr().err
    )

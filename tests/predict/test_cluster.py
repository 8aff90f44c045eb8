"""`auformer predict --cluster` without the cluster: what is left to do, what each process writes, what survives its end.

The worker runs in this process, one source after the other; `test_cluster_ray` has the processes.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch

import auformer.predict.cluster.run as cluster
from auformer.cli import main
from auformer.data.manifest import read_predictions
from auformer.data.table_file import read_sidecar
from auformer.predict.cluster.worker import FOLDER, MAX_ATTEMPTS, Attempts, SourceWorker
from auformer.predict.predictor import AUPredictor
from auformer.predict.recorder import Recorder
from auformer.predict.sources import Source, find_sources
from tests.helpers.photos import write_photos
from tests.helpers.predicting import files, make_checkpoint, make_clips, predict_with, same

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A clip, a face, no face, a damaged photo; and what one process makes of them."""
    folder = tmp_path_factory.mktemp("collection")
    clips, photos = make_clips(folder / "clips"), write_photos(folder / "photos")
    (folder / "all" / "sub").mkdir(parents=True)
    shutil.copy(clips / "talk.mp4", folder / "all" / "sub" / "talk.mp4")
    for name in ("one", "none", "damaged"):
        shutil.copy(photos[name], folder / "all" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def clean(collection, checkpoint):
    """The table of one process."""
    assert predict_with(checkpoint, collection / "all", "--out", collection / "clean") == 1
    return collection / "clean" / "predictions.csv"


class Here:
    """Stands for the cluster: predicts in this process."""

    def __init__(self) -> None:
        self.asked: list[str] = []  # names of the sources, in the order given
        self.before = lambda job: None
        self.together = False

    def __call__(self, job, sources, *, address, workers, device):
        self.before(job)
        self.asked = [source.name for source in sources]
        worker = SourceWorker(job)
        for group in [sources] if self.together else [[source] for source in sources]:
            columns = {
                name: np.array([getattr(source, name) for source in group], dtype=object)
                for name in ("file", "name", "kind")
            }
            result = worker(columns)
            yield from (dict(zip(result, row, strict=True)) for row in zip(*result.values(), strict=True))


@pytest.fixture
def here(monkeypatch):
    threads, folder = (torch.get_num_threads(), cv2.getNumThreads()), os.getcwd()
    engine = Here()
    monkeypatch.setattr(cluster, "run_on_ray", engine)
    yield engine
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    os.chdir(folder)


@pytest.fixture
def predict(checkpoint, here):
    return partial(predict_with, checkpoint, "--cluster", "ray")


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


class TestTables:
    def test_the_rows_are_those_of_one_process(self, collection, clean, predict, tmp_path, capsys):
        assert predict(collection / "all", "--out", tmp_path / "out") == 1
        same(read_predictions(tmp_path / "out" / "predictions.csv"), read_predictions(clean))
        parts = [f"{name}.{kind}" for name in ("damaged", "none", "one", "talk") for kind in ("json", "parquet")]
        assert files(tmp_path / "out") == sorted([*parts, "predictions.csv", "predictions.json"])
        joined, alone = read_sidecar(tmp_path / "out" / "predictions.csv"), read_sidecar(clean)
        assert joined["counts"] == alone["counts"] and joined["adapter"] == alone["adapter"]
        assert {**joined["settings"], "shard": None} == alone["settings"]
        said = capsys.readouterr()
        assert "from 4 tables: 15 pictures and frames, 11 faces" in said.out
        assert (
            "something is wrong with 2 of 4 sources" in said.err
            and "damaged.png" in said.err
            and "no face found" in said.err
        )

    def test_each_table_keeps_the_contract_and_merge_joins_them(self, collection, clean, predict, tmp_path):
        assert predict(collection / "all", "--out", tmp_path / "out", "--parquet") == 1
        part = read_predictions(tmp_path / "out" / "talk.parquet")
        assert set(part["subject"]) == {"sub/talk.mp4"} and part.attrs["side"]["source"].endswith("talk.mp4")
        (tmp_path / "out" / "predictions.parquet").unlink()
        assert main(["predict", "--merge", str(tmp_path / "out"), "--overwrite"]) == 1  # two sources have a problem
        same(read_predictions(tmp_path / "out" / "predictions.csv"), read_predictions(clean))

    def test_another_tools_columns(self, collection, predict, here, tmp_path):
        words = (
            collection / "all" / "one.png",
            collection / "all" / "sub",
            "--format",
            "openface",
            "--out",
            tmp_path / "out",
        )
        assert predict(*words) == 0 and here.asked == ["one.png", "sub/talk.mp4"]
        assert files(tmp_path / "out") == ["one.csv", "one.json", "talk.csv", "talk.json"]
        here.asked = []
        assert predict(*words) == 0 and here.asked == []


class TestASecondTime:
    def test_what_is_finished_is_left_alone(self, collection, clean, predict, here, tmp_path, capsys):
        words = (collection / "all", "--out", tmp_path / "out")
        assert predict(*words) == 1
        before = times(tmp_path / "out")
        capsys.readouterr()
        assert predict(*words) == 1 and here.asked == ["damaged.png"]  # its disk may have been away
        after, said = times(tmp_path / "out"), capsys.readouterr()
        assert {name for name in after if after[name] != before[name]} == {"damaged.parquet"}
        assert "3 of 4 sources are done already" in said.out and "none.png" in said.err  # what is wrong is said again
        same(read_predictions(tmp_path / "out" / "predictions.csv"), read_predictions(clean))

    def test_a_file_that_changed_is_predicted_again_when_one_says_so(self, collection, predict, here, tmp_path, capsys):
        shutil.copytree(collection / "all", tmp_path / "all")
        words = (tmp_path / "all" / "one.png", tmp_path / "all" / "sub", "--out", tmp_path / "out")
        assert predict(*words) == 0
        os.utime(tmp_path / "all" / "one.png", ns=(0, 0))
        assert predict(*words) == 1 and "one.parquet" in capsys.readouterr().err
        assert predict(*words, "--overwrite") == 0 and here.asked == ["one.png"]

    @pytest.mark.parametrize("more", [("--every", "3"), ("--threshold", "0.25"), ("--plot",)])
    def test_other_settings_do_not_pass_for_the_same(self, collection, predict, here, tmp_path, capsys, more):
        words = (collection / "all" / "sub" / "talk.mp4", "--out", tmp_path / "out")
        assert predict(*words) == 0
        assert predict(*words, *more) == 1 and "talk.parquet" in capsys.readouterr().err
        here.asked = []
        assert predict(*words, *more, "--overwrite") == 0 and here.asked == ["talk.mp4"]

    def test_a_table_without_its_side_file_or_the_reverse_is_not_finished(self, collection, predict, here, tmp_path):
        words = (collection / "all" / "one.png", collection / "all" / "sub", "--out", tmp_path / "out")
        assert predict(*words) == 0
        (tmp_path / "out" / "one.parquet").unlink()
        here.asked = []
        assert predict(*words) == 0 and here.asked == ["one.png"]
        (tmp_path / "out" / "talk.json").unlink()
        assert predict(*words) == 1  # whose table is it?
        assert predict(*words, "--overwrite") == 0 and here.asked == ["sub/talk.mp4"]

    def test_a_collection_may_grow(self, collection, predict, here, tmp_path):
        shutil.copytree(collection / "all" / "sub", tmp_path / "all")
        assert predict(tmp_path / "all", "--out", tmp_path / "out") == 0
        shutil.copy(collection / "all" / "one.png", tmp_path / "all")
        assert predict(tmp_path / "all", "--out", tmp_path / "out") == 0 and here.asked == ["one.png"]
        assert main(["predict", "--merge", str(tmp_path / "out"), "--overwrite"]) == 0
        assert read_predictions(tmp_path / "out" / "predictions.csv")["subject"].nunique() == 2

    def test_a_joined_table_of_somebody_else_is_not_replaced(self, collection, predict, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "predictions.csv").write_text("mine")
        assert predict(collection / "all" / "one.png", "--out", tmp_path / "out") == 1
        assert "predictions.csv" in capsys.readouterr().err and files(tmp_path / "out") == ["predictions.csv"]


class TestWhatGoesWrong:
    def test_a_source_that_always_ends_its_process_is_given_up(
        self, collection, clean, predict, here, tmp_path, capsys
    ):
        def begin(job):
            talk = next(source for source in find_sources([collection / "all"]) if source.kind == "video")
            for _ in range(MAX_ATTEMPTS):
                Attempts(job.plan.out).begin(talk)

        here.before = begin
        assert predict(collection / "all", "--out", tmp_path / "out") == 1
        said = capsys.readouterr()
        assert f"given up: its process ended {MAX_ATTEMPTS} times" in said.err and "from 3 tables" in said.out
        rows = read_predictions(clean)
        same(
            read_predictions(tmp_path / "out" / "predictions.csv"),
            rows[rows["subject"] != "sub/talk.mp4"].reset_index(drop=True),
        )
        here.before = lambda job: None
        assert predict(collection / "all", "--out", tmp_path / "out") == 1 and "sub/talk.mp4" in here.asked
        same(read_predictions(tmp_path / "out" / "predictions.csv"), rows)

    @pytest.mark.parametrize("together", [True, False])
    def test_an_error_in_the_middle_is_tried_again_source_by_source(
        self, collection, clean, predict, here, tmp_path, monkeypatch, together
    ):
        real, calls = AUPredictor.predict_proba, []

        def failing(self, crops):
            calls.append(len(crops))
            if len(calls) == 2:
                raise MemoryError("no room")
            return real(self, crops)

        here.together = True
        monkeypatch.setattr(AUPredictor, "predict_proba", failing)
        assert predict(collection / "all", "--out", tmp_path / "out", "--batch-size", 4) == 1
        same(read_predictions(tmp_path / "out" / "predictions.csv"), read_predictions(clean))

    def test_an_error_that_stays_is_reported_and_the_others_finish(
        self, collection, predict, here, tmp_path, monkeypatch, capsys
    ):
        real = AUPredictor.predict_proba

        def failing(self, crops):
            if len(crops) > 1:  # only the clip has more than one
                raise MemoryError("no room")
            return real(self, crops)

        here.together = True
        monkeypatch.setattr(AUPredictor, "predict_proba", failing)
        words = (collection / "all" / "one.png", collection / "all" / "sub", "--out", tmp_path / "out")
        assert predict(*words) == 1
        assert "MemoryError: no room" in capsys.readouterr().err
        assert set(read_predictions(tmp_path / "out" / "predictions.csv")["subject"]) == {"one.png"}

    def test_a_part_that_is_done_becomes_a_table_without_being_predicted_again(
        self, collection, predict, tmp_path, monkeypatch
    ):
        words = (collection / "all" / "sub" / "talk.mp4", "--out", tmp_path / "out")
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "write_tables", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            assert predict(*words) == 130 and not times(tmp_path / "out")
        monkeypatch.setattr(AUPredictor, "predict_proba", lambda *args: pytest.fail("predicted again"))
        monkeypatch.setattr(
            AUPredictor,
            "stream",
            lambda self, sources, **options: iter(()) if not sources else pytest.fail("read again"),
        )
        assert predict(*words) == 0 and len(read_predictions(tmp_path / "out" / "predictions.csv")) == 12

    def test_a_machine_that_would_give_other_numbers_is_refused(self, collection, predict, here, tmp_path):
        kept = []
        here.before = kept.append
        assert predict(collection / "all" / "one.png", "--out", tmp_path / "out") == 0
        (job,) = kept
        with pytest.raises(ValueError, match="the same checkpoint on every machine"):
            SourceWorker(replace(job, checkpoint={**job.checkpoint, "sha256": "0" * 64}))
        with pytest.raises(ValueError, match=r"the same detector_version .* 4\.0\.0"):
            SourceWorker(replace(job, settings={**job.settings, "detector_version": "4.0.0"}))
        with pytest.raises(ValueError, match="nowhere, but .* does not"):
            SourceWorker(replace(job, folder=str(tmp_path / "nowhere")))

    def test_an_output_folder_that_is_not_shared(self, collection, predict, tmp_path, monkeypatch, capsys):
        def elsewhere(job, sources, **options):
            yield from ({"name": source.name, "problem": "", "attempts": 1} for source in sources)

        monkeypatch.setattr(cluster, "run_on_ray", elsewhere)
        assert predict(collection / "all" / "one.png", "--out", tmp_path / "out") == 1
        assert "all machines must see one output folder" in capsys.readouterr().err


class TestOptions:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("camera:0",), "camera"),
            (("one.png", "--shard", "1/2"), "--shard"),
            (("one.png", "--report"), "--report"),
            (("one.png", "--workers", "0"), "--workers"),
            (("one.png", "--format", "openface", "--parquet"), "--parquet"),
        ],
    )
    def test_what_does_not_go_with_a_cluster(self, predict, tmp_path, capsys, words, message):
        assert predict(*words, "--out", tmp_path / "out") == 1
        assert message in capsys.readouterr().err and not (tmp_path / "out").exists()

    def test_ray_deals_out_the_gpus(self, tmp_path, capsys):
        assert (
            main(["predict", "one.png", "--cluster", "ray", "--device", "cuda:1", "--out", str(tmp_path / "out")]) == 1
        )
        assert "'cuda:1': Ray deals out the GPUs" in capsys.readouterr().err and not (tmp_path / "out").exists()

    def test_what_goes_with_a_cluster_only(self, checkpoint, tmp_path, capsys):
        assert predict_with(checkpoint, "one.png", "--out", tmp_path, "--workers", 2) == 2
        assert "go with --cluster" in capsys.readouterr().err

    def test_pictures_come_on_demand(self, collection, predict, tmp_path):
        words = (collection / "all" / "one.png", "--out", tmp_path / "out")
        assert predict(*words, "--plot", "--maps") == 0
        assert {"one_aus.png", "one_maps.png"} <= set(files(tmp_path / "out"))


def test_attempts_are_counted_on_disk(tmp_path):
    source, attempts = Source("a/b.mp4", "b.mp4", "video"), Attempts(tmp_path)
    assert [
        attempts.count(source),
        attempts.begin(source),
        attempts.begin(source),
        Attempts(tmp_path).count(source),
    ] == [0, 1, 2, 2]
    (path,) = (tmp_path / FOLDER).iterdir()
    assert json.loads(path.read_text())["pid"] == os.getpid()
    path.write_text("torn")
    assert attempts.count(source) == 0
    attempts.reset()
    assert not (tmp_path / FOLDER).exists()

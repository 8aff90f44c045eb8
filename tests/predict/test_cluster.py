"""`auformer predict --cluster` without the cluster: what is left to do, what is written, what survives a process.

The worker runs in this process, one source after the other; `test_cluster_ray` has the processes.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import auformer.predict.cluster.run as cluster
from auformer.cli import main
from auformer.predict import AUPredictor, find_sources
from auformer.predict.cluster.worker import MAX_ATTEMPTS, SourceWorker
from auformer.predict.outputs import Plan
from auformer.predict.recorder import Recorder
from tests.helpers.photos import write_photos
from tests.helpers.predicting import dying, files, make_checkpoint, make_clips, predict_with, rows, same, sidecar

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A clip, a face, no face, a damaged photo."""
    folder = tmp_path_factory.mktemp("collection")
    clips, photos = make_clips(folder / "clips"), write_photos(folder / "photos")
    (folder / "all" / "sub").mkdir(parents=True)
    shutil.copy(clips / "talk.mp4", folder / "all" / "sub" / "talk.mp4")
    for name in ("one", "none", "damaged"):
        shutil.copy(photos[name], folder / "all" / f"{name}.png")
    return folder / "all"


@pytest.fixture(scope="module")
def clean(collection, checkpoint):
    """The outputs of one process."""
    assert predict_with(checkpoint, collection, "--out", collection.parent / "clean") == 1
    return collection.parent / "clean"


class Here:
    """Stands for the cluster: predicts in this process."""

    def __init__(self):
        self.asked = []  # names of the sources, in the order given
        self.job = None
        self.before = lambda job: None
        self.together = False

    def __call__(self, job, sources, *, address, workers, device):
        self.job = job
        self.before(job)
        self.asked = [source.name for source in sources]
        worker = SourceWorker(job)
        for group in [sources] if self.together else [[source] for source in sources]:
            names = ("file", "name", "kind")
            columns = {name: np.array([getattr(source, name) for source in group], dtype=object) for name in names}
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
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def predict(checkpoint, here, out):
    return lambda *words: predict_with(checkpoint, "--cluster", "ray", "--out", out, *words)


@pytest.fixture
def two(collection):
    """A photo and a video, both with faces."""
    return collection / "one.png", collection / "sub"


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


class TestTables:
    def test_the_rows_are_those_of_one_process(self, collection, clean, predict, out, capsys):
        assert predict(collection) == 1
        same(rows(out), rows(clean))
        own = [f"{name}.{kind}" for name in ("damaged", "none", "one", "talk") for kind in ("json", "parquet")]
        assert files(out) == sorted([*own, "predictions.csv", "predictions.json"])
        joined, alone = sidecar(out), sidecar(clean)
        assert joined["counts"] == alone["counts"] and joined["adapter"] == alone["adapter"]
        assert {**joined["settings"], "shard": None} == alone["settings"]
        said = capsys.readouterr()
        assert "from 4 tables: 15 images and frames, 11 faces" in said.out
        for words in ("problems with 2 of 4 sources", "damaged.png", "no face found"):
            assert words in said.err

    def test_each_table_keeps_the_contract_and_merge_joins_them(self, collection, clean, predict, out):
        assert predict(collection, "--parquet") == 1
        own = rows(out, "talk.parquet")
        assert set(own["subject"]) == {"sub/talk.mp4"} and own.attrs["side"]["source"].endswith("talk.mp4")
        (out / "predictions.parquet").unlink()
        assert main(["predict", "--merge", str(out), "--overwrite"]) == 1  # two sources have a problem
        same(rows(out), rows(clean))

    def test_another_tools_columns(self, two, predict, here, out):
        assert predict(*two, "--format", "openface") == 0 and here.asked == ["one.png", "sub/talk.mp4"]
        assert files(out) == ["one.csv", "one.json", "talk.csv", "talk.json"]
        here.asked = []
        assert predict(*two, "--format", "openface") == 0 and here.asked == []


class TestASecondTime:
    def test_finished_sources_are_left_alone(self, collection, clean, predict, here, out, capsys):
        assert predict(collection) == 1
        before = times(out)
        capsys.readouterr()
        assert predict(collection) == 1 and here.asked == ["damaged.png"]  # its disk may have been away
        after, said = times(out), capsys.readouterr()
        assert {name for name in after if after[name] != before[name]} == {"damaged.parquet"}
        assert "3 of 4 sources are done already" in said.out and "none.png" in said.err  # problems are said again
        same(rows(out), rows(clean))

    def test_a_file_that_changed_is_predicted_again_on_request(self, collection, predict, here, tmp_path, capsys):
        shutil.copytree(collection, tmp_path / "all")
        words = (tmp_path / "all" / "one.png", tmp_path / "all" / "sub")
        assert predict(*words) == 0
        os.utime(tmp_path / "all" / "one.png", ns=(0, 0))
        assert predict(*words) == 1 and "one.parquet" in capsys.readouterr().err
        assert predict(*words, "--overwrite") == 0 and here.asked == ["one.png"]

    @pytest.mark.parametrize("more", [("--every", "3"), ("--threshold", "0.25"), ("--plot",)])
    def test_other_settings_do_not_pass_for_the_same(self, collection, predict, here, capsys, more):
        talk = collection / "sub" / "talk.mp4"
        assert predict(talk) == 0
        assert predict(talk, *more) == 1 and "talk.parquet" in capsys.readouterr().err
        here.asked = []
        assert predict(talk, *more, "--overwrite") == 0 and here.asked == ["talk.mp4"]

    def test_a_table_without_its_sidecar_or_the_reverse_is_not_finished(self, two, predict, here, out):
        assert predict(*two) == 0
        (out / "one.parquet").unlink()
        here.asked = []
        assert predict(*two) == 0 and here.asked == ["one.png"]
        (out / "talk.json").unlink()
        assert predict(*two) == 1  # whose table is it?
        assert predict(*two, "--overwrite") == 0 and here.asked == ["sub/talk.mp4"]

    def test_a_collection_may_grow(self, collection, predict, here, tmp_path, out):
        shutil.copytree(collection / "sub", tmp_path / "all")
        assert predict(tmp_path / "all") == 0
        shutil.copy(collection / "one.png", tmp_path / "all")
        assert predict(tmp_path / "all") == 0 and here.asked == ["one.png"]
        assert main(["predict", "--merge", str(out), "--overwrite"]) == 0
        assert rows(out)["subject"].nunique() == 2

    def test_a_joined_table_of_somebody_else_is_not_replaced(self, collection, predict, out, capsys):
        out.mkdir()
        (out / "predictions.csv").write_text("mine")
        assert predict(collection / "one.png") == 1
        assert "predictions.csv" in capsys.readouterr().err and files(out) == ["predictions.csv"]


class TestFailures:
    def test_a_source_that_always_ends_its_process_is_given_up(self, collection, clean, predict, here, out, capsys):
        def begin(job):
            """As processes that died leave it; each attempt is in the journal."""
            (talk,) = (source for source in find_sources([collection]) if source.kind == "video")
            predictor = SourceWorker(job).loaded.predictor
            for attempt in range(MAX_ATTEMPTS):
                part = Recorder(predictor, job.plan, [talk], mark=job.mark, notice=None).parts[talk.name]
                assert part.attempts[job.run] == attempt
                part.begin(job.run)
            lines = (part.folder / "journal.jsonl").read_text().splitlines()
            assert [json.loads(line)["pid"] for line in lines] == [os.getpid()] * MAX_ATTEMPTS

        here.before = begin
        assert predict(collection) == 1
        said = capsys.readouterr()
        assert f"given up: its process ended {MAX_ATTEMPTS} times" in said.err and "from 3 tables" in said.out
        whole = rows(clean)
        same(rows(out), whole[whole["subject"] != "sub/talk.mp4"].reset_index(drop=True))
        here.before = lambda job: None
        assert predict(collection) == 1 and "sub/talk.mp4" in here.asked  # a new run tries again
        same(rows(out), whole)

    @pytest.mark.parametrize("together", [True, False])
    def test_an_error_in_the_middle_is_tried_again_source_by_source(
        self, collection, clean, predict, here, out, monkeypatch, together
    ):
        here.together = together
        dying(monkeypatch, 2, MemoryError)
        assert predict(collection, "--batch-size", 4) == 1
        same(rows(out), rows(clean))

    def test_an_error_that_stays_is_reported_and_the_others_finish(self, two, predict, here, out, monkeypatch, capsys):
        real = AUPredictor.predict_proba

        def failing(self, crops):
            if len(crops) > 1:  # only the clip has more than one
                raise MemoryError("no room")
            return real(self, crops)

        here.together = True
        monkeypatch.setattr(AUPredictor, "predict_proba", failing)
        assert predict(*two) == 1
        assert "MemoryError: no room" in capsys.readouterr().err
        assert set(rows(out)["subject"]) == {"one.png"}

    def test_a_source_that_is_done_becomes_a_table_without_being_predicted_again(
        self, collection, predict, out, monkeypatch
    ):
        talk = collection / "sub" / "talk.mp4"
        with monkeypatch.context() as patch:
            patch.setattr(Plan, "write_table", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            assert predict(talk) == 130 and not times(out)
        seen = dying(monkeypatch, -1)
        assert predict(talk) == 0 and len(rows(out)) == 12 and sum(seen) == 0

    def test_a_machine_that_would_give_other_numbers_is_refused(self, collection, predict, here, tmp_path):
        assert predict(collection / "one.png") == 0
        job = here.job
        with pytest.raises(ValueError, match="the same checkpoint on every machine"):
            SourceWorker(replace(job, checkpoint={**job.checkpoint, "sha256": "0" * 64}))
        with pytest.raises(ValueError, match=r"the same detector_version .* 4\.0\.0"):
            SourceWorker(replace(job, settings={**job.settings, "detector_version": "4.0.0"}))
        with pytest.raises(ValueError, match="nowhere, but .* does not"):
            SourceWorker(replace(job, folder=str(tmp_path / "nowhere")))

    def test_an_output_folder_that_is_not_shared(self, collection, predict, monkeypatch, capsys):
        def elsewhere(job, sources, **options):
            yield from ({"name": source.name, "problem": "", "attempts": 1} for source in sources)

        monkeypatch.setattr(cluster, "run_on_ray", elsewhere)
        assert predict(collection / "one.png") == 1
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
    def test_what_does_not_go_with_a_cluster(self, predict, out, capsys, words, message):
        assert predict(*words) == 1
        assert message in capsys.readouterr().err and not out.exists()

    def test_ray_deals_out_the_gpus(self, out, capsys):
        assert main(["predict", "one.png", "--cluster", "ray", "--device", "cuda:1", "--out", str(out)]) == 1
        assert "'cuda:1': Ray deals out the GPUs" in capsys.readouterr().err and not out.exists()

    def test_what_goes_with_a_cluster_only(self, checkpoint, out, capsys):
        assert predict_with(checkpoint, "one.png", "--out", out, "--workers", 2) == 2
        assert "go with --cluster" in capsys.readouterr().err

    def test_figures_come_on_demand(self, collection, predict, out):
        assert predict(collection / "one.png", "--plot", "--maps") == 0
        assert {"one_aus.png", "one_maps.png"} <= set(files(out))

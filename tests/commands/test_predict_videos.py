"""`auformer predict` from videos to files: every output, every bad input, a camera."""

from __future__ import annotations

import json
import shutil
from functools import partial

import cv2
import numpy as np
import pytest

import auformer.models.checkpoints as detector
from auformer.data.manifest import read_predictions
from auformer.models import load_detector
from auformer.predict.compare import read_predictions as read_any
from auformer.predict.predictor import AUPredictor
from auformer.predict.types import Selection
from auformer.predict.video import read_video, video_facts
from tests.helpers.browser import console, measure
from tests.helpers.photos import AUS, face_picture
from tests.helpers.predicting import files, make_checkpoint, make_clips, predict_with
from tests.helpers.trees.pictures import write_picture, write_video
from tests.helpers.videos import moving, write_sound


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def predict(checkpoint):
    return partial(predict_with, checkpoint)


class TestTables:
    def test_a_row_per_frame_and_face(self, clips, predict, tmp_path, capsys):
        assert predict(clips / "talk.mp4", clips / "pair.mp4", "--out", tmp_path / "out") == 0
        assert files(tmp_path / "out") == ["predictions.csv", "predictions.json"]
        table = read_predictions(tmp_path / "out" / "predictions.csv")
        talk, pair = (table[table["subject"] == name] for name in ("talk.mp4", "pair.mp4"))
        assert talk["frame"].tolist() == list(range(12)) and np.allclose(talk["time_s"], np.arange(12) / 10, atol=0.002)
        assert (
            talk["status"].tolist() == ["ok"] * 4 + ["no_face"] * 2 + ["ok"] * 6 and talk["face"].tolist() == [0] * 12
        )
        assert talk.loc[talk["status"] != "ok", ["x", "score", "AU1_prob", "AU1_active"]].isna().all(axis=None)
        assert set(pair["face"]) == {0, 1} and pair["frame"].nunique() == 6
        assert "18 frames" in (out := capsys.readouterr().out) and "work of the threads: read" in out

    def test_batches_and_python_give_the_same_numbers(self, clips, predict, checkpoint, tmp_path):
        assert predict(clips / "talk.mp4", "--out", tmp_path / "a", "--batch-size", 1, "--parquet") == 0
        whole = read_predictions(tmp_path / "a" / "predictions.parquet")
        network = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
        table = AUPredictor(network, batch_size=5).predict(clips / "talk.mp4")
        assert np.allclose(
            table[[f"{au}_prob" for au in AUS]], whole[[f"{au}_prob" for au in AUS]], atol=1e-5, equal_nan=True
        )

    def test_openface_and_pyfeat_write_only_that_table(self, clips, predict, tmp_path):
        write_picture(tmp_path / "face.png", face_picture())
        (tmp_path / "other").mkdir()
        shutil.copy(clips / "talk.mp4", tmp_path / "other" / "talk.mp4")
        words = (clips / "talk.mp4", tmp_path / "other" / "talk.mp4", tmp_path / "face.png")
        for kind in ("openface", "pyfeat"):
            assert predict(*words, "--out", tmp_path / kind, "--format", kind) == 0
            names = ["face", "talk", "talk-2"]
            assert files(tmp_path / kind) == sorted(f"{name}.{end}" for name in names for end in ("csv", "json"))
            back = read_any(tmp_path / kind / "talk.csv")
            assert (
                back.attrs["format"] == kind
                and back["frame"].tolist() == list(range(12))
                and (back["status"] == "ok").sum() == 10
            )
            assert json.loads((tmp_path / kind / "talk.json").read_text())["format"] == kind
        assert (tmp_path / "openface" / "face.csv").read_text().startswith("face,confidence,AU01_r")

    def test_which_frames_and_faces(self, clips, predict, tmp_path):
        def table(*words):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            assert predict(*words, "--out", tmp_path / "out") == 0
            return read_predictions(tmp_path / "out" / "predictions.csv")

        assert table(clips / "talk.mp4", "--every", 5)["frame"].tolist() == [0, 5, 10]
        assert table(clips / "talk.mp4", "--fps", 5, "--start", "0:00.6", "--end", 1)["frame"].tolist() == [6, 8]
        assert table(clips / "pair.mp4", "--faces", "largest")["frame"].tolist() == list(range(6))
        followed = table(clips / "talk.mp4", "--detect-every", 3)
        assert followed["status"].tolist()[:4] == ["ok"] * 4 and (followed["face"] <= 1).all()
        side = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert side["settings"]["detect_every"] == 3 and side["settings"]["frames"]["every"] == 1

    def test_thresholds_and_smoothing(self, clips, predict, tmp_path, capsys):
        (tmp_path / "t.yaml").write_text("AU12: 0.0\nau25: 1.0\n")
        words = (clips / "talk.mp4", "--every", 4, "--out")
        assert predict(*words, tmp_path / "a", "--threshold", tmp_path / "t.yaml", "--smooth", 0.5) == 0
        table = read_predictions(tmp_path / "a" / "predictions.csv").dropna(subset="AU12_prob")
        assert (table["AU12_active"] == 1).all() and (table["AU25_active"] == 0).all()
        side = json.loads((tmp_path / "a" / "predictions.json").read_text())
        assert side["thresholds"]["AU25"] == 1 and side["settings"]["probability_smoothing"]["seconds"] == 0.5
        (tmp_path / "t.yaml").write_text("AU4: 0.5\n")
        assert (
            predict(*words, tmp_path / "b", "--threshold", tmp_path / "t.yaml") == 1
            and "but got AU4" in capsys.readouterr().err
        )

    def test_numbered_pictures(self, predict, tmp_path):
        for k, image in enumerate(moving(4)):
            write_picture(tmp_path / "f" / f"{k + 7:04d}.png", image)
        assert predict(tmp_path / "f" / "%04d.png", "--out", tmp_path / "out") == 0
        table = read_predictions(tmp_path / "out" / "predictions.csv")
        assert (
            table["frame"].tolist() == [7, 8, 9, 10]
            and table["time_s"].isna().all()
            and table["face"].tolist() == [0] * 4
        )

    def test_a_damaged_picture_among_numbered_ones(self, predict, tmp_path, capsys):
        for k, image in enumerate(moving(5)):
            write_picture(tmp_path / "f" / f"{k}.png", image)
        (tmp_path / "f" / "2.png").write_bytes((tmp_path / "f" / "2.png").read_bytes()[:200])
        assert predict(tmp_path / "f" / "%d.png", "--out", tmp_path / "out", "--annotate", "--detect-every", 2) == 1
        table = read_predictions(tmp_path / "out" / "predictions.csv")
        assert (
            table["status"].tolist() == ["ok", "ok", "unreadable", "no_face", "ok"]
            and table["face"].tolist() == [0] * 5
        )
        assert len(list(read_video(tmp_path / "out" / "_d_annotated.mp4", Selection()))) == 4
        said = capsys.readouterr().err
        assert "1 of 5 pictures cannot be read" in said and "2.png" in said


class TestPicturesAndPage:
    def test_all_of_them(self, clips, predict, tmp_path, checkpoint, monkeypatch):
        monkeypatch.setattr(detector, "DEMO_DETECTOR", checkpoint / "adapter.safetensors")
        write_picture(tmp_path / "face.png", face_picture())
        out = tmp_path / "out"
        assert (
            predict(
                clips / "talk.mp4", tmp_path / "face.png", "--out", out, "--annotate", "--plot", "--maps", "--report"
            )
            == 0
        )
        pictures = [
            "face_annotated.png",
            "face_aus.png",
            "face_maps.png",
            "talk_annotated.mp4",
            "talk_maps.png",
            "talk_timeline.png",
        ]
        assert files(out) == sorted([*pictures, "predictions.csv", "predictions.json", "report.html"])
        frames = list(read_video(out / "talk_annotated.mp4", Selection()))
        assert np.allclose([frame.time_s for frame in frames], np.arange(12) / 10, atol=0.002)
        assert video_facts(out / "talk_annotated.mp4").codec == "h264" and frames[0].image.shape[1] > 160
        page = out / "report.html"
        text = page.read_text(encoding="utf-8")
        assert (
            "<script" not in text
            and "rendered faces only" in text
            and "consent" in text
            and "auformer score FILE --by subject" in text
        )
        assert text.count("<title>") > 12 and "AU12 Lip corner puller" in text
        assert console(page, tmp_path) == []
        for width in (390, 1200):
            seen = measure(page, tmp_path, width=width)
            assert seen["scrollWidth"] <= width and all(picture["loaded"] for picture in seen["pictures"])

    def test_no_pictures(self, predict, tmp_path):
        write_picture(tmp_path / "face.png", face_picture())
        assert predict(tmp_path / "face.png", "--out", tmp_path / "out", "--no-plot") == 0
        assert files(tmp_path / "out") == ["predictions.csv", "predictions.json"]


class TestBadInput:
    def test_one_bad_file_among_many(self, clips, predict, tmp_path, capsys):
        bad = tmp_path / "in"
        bad.mkdir()
        (bad / "empty.mp4").write_bytes(b"")
        (bad / "text.mp4").write_text("no video\n" * 9)
        write_sound(bad / "s.wav").rename(bad / "sound.avi")
        shutil.copy(clips / "talk.mp4", bad / "talk.mp4")
        shutil.copy(clips / "empty_room.avi", bad / "empty_room.avi")
        cut = write_video(bad / "cut.avi", moving(20), fps=10)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 3 // 5])
        assert predict(bad, "--out", tmp_path / "out", "--report") == 1
        table = read_predictions(tmp_path / "out" / "predictions.csv").groupby("subject")["status"].agg(list)
        assert {name: rows for name, rows in table.items() if rows == ["unreadable"]}.keys() == {
            "empty.mp4",
            "text.mp4",
            "sound.avi",
        }
        assert (
            table["empty_room.avi"] == ["no_face"] * 4
            and len(table["talk.mp4"]) == 12
            and 1 <= len(table["cut.avi"]) < 20
        )
        said = capsys.readouterr().err
        for words in (
            "the file is empty",
            "no moving pictures",
            "no face found in any of 4 frames",
            "cut.avi ends early",
            "with 5 of 6 sources",
        ):
            assert words in said
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert (
            page.count("<td>see below</td>") == 5
            and page.count("<td>none</td>") == 1
            and "No face was found" not in page
        )
        assert (
            page.count("the file is empty") == page.count("cut.avi ends early") == 2
        )  # below the table and in their own sections

    def test_difficult_pictures(self, predict, tmp_path):
        face = face_picture()
        many = np.full((700, 1200, 3), 90, np.uint8)
        for k in range(50):
            y, x = 10 + k // 10 * 135, 8 + k % 10 * 118
            many[y : y + 108, x : x + 108] = cv2.resize(face, (108, 108), interpolation=cv2.INTER_AREA)
        pictures = {
            "upside_down": np.ascontiguousarray(np.pad(face, ((20, 20), (20, 20), (0, 0)), constant_values=90)[::-1]),
            "tiny": np.pad(
                cv2.resize(face, (20, 20), interpolation=cv2.INTER_AREA),
                ((60, 60), (60, 60), (0, 0)),
                constant_values=90,
            ),
            "cut": np.pad(face, ((20, 20), (40, 0), (0, 0)), constant_values=90)[:, :140],
            "many": many,
        }
        for name, image in pictures.items():
            write_picture(tmp_path / "in" / f"{name}.png", image)
        assert predict(tmp_path / "in", "--out", tmp_path / "out", "--no-plot") == 1
        table = read_predictions(tmp_path / "out" / "predictions.csv")
        rows = table.groupby("subject")
        assert len(rows.get_group("many.png")) >= 45 and rows.get_group("many.png")["face"].tolist() == list(
            range(len(rows.get_group("many.png")))
        )
        assert table.loc[table["subject"].isin(["upside_down.png", "tiny.png"]), "status"].tolist() == ["no_face"] * 2

    def test_a_camera_that_is_absent_and_options_that_it_does_not_have(self, predict, tmp_path, capsys):
        assert predict("camera:97", "--out", tmp_path / "out") == 1
        assert (
            "camera:97" in (said := capsys.readouterr().err)
            and "cannot be opened" in said
            and files(tmp_path / "out") == []
        )
        assert (
            predict("camera:0", "--out", tmp_path / "out", "--annotate") == 1
            and "--annotate" in capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--faces", "none"], "`--faces`"),
            (["--every", "0"], "`every`"),
            (["--start", "soon"], "seconds or"),
            (["--start", "2", "--end", "1"], "`start` < `end`"),
            (["--shard", "4/3"], "`--shard`"),
            (["--detector", "magic"], "detector"),
            (["--detect-every", "0"], "`detect_every`"),
            (["--start", "60"], "no frame lies between"),
            (["--fps", "inf"], "`fps`"),
            (["--format", "openface", "--parquet"], "CSV files only"),
        ],
    )
    def test_options(self, clips, predict, tmp_path, capsys, words, message):
        assert predict(clips / "talk.mp4", "--out", tmp_path / "out", *words) == 1
        assert message in capsys.readouterr().err


def test_a_camera_writes_rows_as_they_come(clips, predict, tmp_path, monkeypatch, capsys):
    """The same loop over a file; after the second row somebody presses Ctrl-C."""
    real, lines = cv2.VideoCapture, []
    monkeypatch.setattr(cv2, "VideoCapture", lambda target: real(str(clips / "talk.mp4")))
    assert predict("camera:0", "--out", tmp_path / "a") == 0
    table = read_predictions(tmp_path / "a" / "predictions.csv")
    assert table["frame"].tolist() == list(range(12)) and table["subject"].unique().tolist() == ["camera0"]
    assert (
        table["time_s"].is_monotonic_increasing
        and json.loads((tmp_path / "a" / "predictions.json").read_text())["counts"]["sources"] == 1
    )

    import auformer.predict.recorder as live

    class Interrupted(live.LiveTable):
        def add(self, image):
            super().add(image)
            lines.append((tmp_path / "b" / "predictions.csv").read_text().count("\n"))
            if len(lines) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(live, "LiveTable", Interrupted)
    assert predict("camera:0", "--out", tmp_path / "b") == 0
    assert lines == [2, 3] and len(read_predictions(tmp_path / "b" / "predictions.csv")) == 2

"""`auformer predict` from videos to files: every output, every bad input, a camera."""

from __future__ import annotations

import shutil
import time

import cv2
import numpy as np
import pytest

from auformer.data.images import write_image
from auformer.data.video import read_video, video_facts
from auformer.models import load_detector
from auformer.predict import AUPredictor
from auformer.predict import read_predictions as read_any
from tests.helpers.browser import console, measure
from tests.helpers.photos import AUS, face_image
from tests.helpers.predicting import files, make_checkpoint, make_clips, predict_with, rows, sidecar
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving, write_sound

PROBS = [f"{au}_prob" for au in AUS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def predict(checkpoint):
    return lambda *words: predict_with(checkpoint, *words)


class TestTables:
    def test_a_row_per_frame_and_face(self, clips, predict, out, capsys):
        assert predict(clips / "talk.mp4", clips / "pair.mp4", "--out", out) == 0
        assert files(out) == ["predictions.csv", "predictions.json"]
        table = rows(out)
        talk, pair = (table[table["subject"] == name] for name in ("talk.mp4", "pair.mp4"))
        assert talk["frame"].tolist() == list(range(12)) and np.allclose(talk["time_s"], np.arange(12) / 10, atol=0.002)
        assert talk["status"].tolist() == ["ok"] * 4 + ["no_face"] * 2 + ["ok"] * 6
        assert talk["face"].tolist() == [0] * 12
        assert talk.loc[talk["status"] != "ok", ["x", "score", "AU1_prob", "AU1_active"]].isna().all(axis=None)
        assert set(pair["face"]) == {0, 1} and pair["frame"].nunique() == 6
        said = capsys.readouterr().out
        assert "18 frames" in said and "work of the threads: read" in said

    def test_batches_and_python_give_the_same_numbers(self, clips, predict, checkpoint, out):
        assert predict(clips / "talk.mp4", "--out", out, "--batch-size", 1, "--parquet") == 0
        network = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
        table, whole = AUPredictor(network, batch_size=5).predict(clips / "talk.mp4"), rows(out, "predictions.parquet")
        assert np.allclose(table[PROBS], whole[PROBS], atol=1e-5, equal_nan=True)

    def test_openface_and_pyfeat_write_only_that_table(self, clips, predict, tmp_path):
        face = tmp_path / "face.png"
        write_image(face, face_image())
        (tmp_path / "other").mkdir()
        shutil.copy(clips / "talk.mp4", tmp_path / "other" / "talk.mp4")
        for kind in ("openface", "pyfeat"):
            out = tmp_path / kind
            other = tmp_path / "other" / "talk.mp4"
            assert predict(clips / "talk.mp4", other, face, "--out", out, "--format", kind) == 0
            names = ["face", "talk", "talk-2"]
            assert files(out) == sorted(f"{name}.{end}" for name in names for end in ("csv", "json"))
            back = read_any(out / "talk.csv")
            assert back.attrs["format"] == kind and back["frame"].tolist() == list(range(12))
            assert (back["status"] == "ok").sum() == 10 and sidecar(out, "talk.json")["format"] == kind
        assert (tmp_path / "openface" / "face.csv").read_text().startswith("face,confidence,AU01_r")

    def test_which_frames_and_faces(self, clips, predict, out):
        def table(*words):
            shutil.rmtree(out, ignore_errors=True)
            assert predict(*words, "--out", out) == 0
            return rows(out)

        assert table(clips / "talk.mp4", "--every", 5)["frame"].tolist() == [0, 5, 10]
        assert table(clips / "talk.mp4", "--fps", 5, "--start", "0:00.6", "--end", 1)["frame"].tolist() == [6, 8]
        assert table(clips / "pair.mp4", "--faces", "largest")["frame"].tolist() == list(range(6))
        tracked = table(clips / "talk.mp4", "--detect-every", 3)
        assert tracked["status"].tolist()[:4] == ["ok"] * 4 and (tracked["face"] <= 1).all()
        settings = sidecar(out)["settings"]
        assert settings["detect_every"] == 3 and settings["frames"]["every"] == 1

    def test_thresholds_and_smoothing(self, clips, predict, tmp_path, capsys):
        (tmp_path / "t.yaml").write_text("AU12: 0.0\nau25: 1.0\n")
        words = (clips / "talk.mp4", "--every", 4, "--threshold", tmp_path / "t.yaml", "--out")
        assert predict(*words, tmp_path / "a", "--smooth", 0.5) == 0
        table, side = rows(tmp_path / "a").dropna(subset="AU12_prob"), sidecar(tmp_path / "a")
        assert (table["AU12_active"] == 1).all() and (table["AU25_active"] == 0).all()
        assert side["thresholds"]["AU25"] == 1 and side["settings"]["probability_smoothing"]["seconds"] == 0.5
        (tmp_path / "t.yaml").write_text("AU4: 0.5\n")
        assert predict(*words, tmp_path / "b") == 1 and "but got AU4" in capsys.readouterr().err

    def test_numbered_images(self, predict, tmp_path, out, capsys):
        """One of them is damaged: the others have their rows, the annotated video their frames."""
        for k, image in enumerate(moving(5)):
            write_image(tmp_path / "f" / f"{k + 7}.png", image)
        assert predict(tmp_path / "f" / "%d.png", "--out", tmp_path / "whole") == 0
        table = rows(tmp_path / "whole")
        assert table["frame"].tolist() == [7, 8, 9, 10, 11] and table["time_s"].isna().all()
        assert table["face"].tolist() == [0] * 5
        (tmp_path / "f" / "9.png").write_bytes((tmp_path / "f" / "9.png").read_bytes()[:200])
        assert predict(tmp_path / "f" / "%d.png", "--out", out, "--annotate", "--detect-every", 2) == 1
        table = rows(out)
        assert table["status"].tolist() == ["ok", "ok", "unreadable", "no_face", "ok"]
        assert table["face"].tolist() == [0] * 5
        assert len(list(read_video(out / "_d_annotated.mp4"))) == 4
        said = capsys.readouterr().err
        assert "1 of 5 images cannot be read" in said and "9.png" in said


@pytest.mark.browser
def test_all_figures_and_the_page(clips, predict, tmp_path, out, checkpoint, monkeypatch):
    monkeypatch.setattr("auformer.predict.sidecar.DEMO_DETECTOR", checkpoint / "adapter.safetensors")
    face = tmp_path / "face.png"
    write_image(face, face_image())
    words = ("--annotate", "--plot", "--maps", "--report")
    assert predict(clips / "talk.mp4", face, "--out", out, *words) == 0
    figures = ["face_annotated.png", "face_aus.png", "face_maps.png", "talk_annotated.mp4", "talk_maps.png"]
    figures.append("talk_timeline.png")
    assert files(out) == sorted([*figures, "predictions.csv", "predictions.json", "report.html"])
    frames = list(read_video(out / "talk_annotated.mp4"))
    assert np.allclose([frame.time_s for frame in frames], np.arange(12) / 10, atol=0.002)
    assert video_facts(out / "talk_annotated.mp4").codec == "h264" and frames[0].image().shape[1] > 160
    text = (out / "report.html").read_text(encoding="utf-8")
    for words in ("rendered faces only", "consent", "auformer score FILE --by subject", "AU12 Lip corner puller"):
        assert words in text
    assert "<script" not in text and text.count("<title>") > 12
    assert console(out / "report.html", tmp_path) == []
    for width in (390, 1200):
        seen = measure(out / "report.html", tmp_path, width=width)
        assert seen["scrollWidth"] <= width and all(picture["loaded"] for picture in seen["pictures"])


class TestBadInput:
    def test_one_bad_file_among_many(self, clips, predict, tmp_path, out, capsys):
        bad = tmp_path / "in"
        bad.mkdir()
        (bad / "empty.mp4").write_bytes(b"")
        (bad / "text.mp4").write_text("no video\n" * 9)
        write_sound(bad / "s.wav").rename(bad / "sound.avi")
        for name in ("talk.mp4", "empty_room.avi"):
            shutil.copy(clips / name, bad / name)
        cut = write_video(bad / "cut.avi", moving(20), fps=10)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 3 // 5])
        assert predict(bad, "--out", out, "--report") == 1
        table = rows(out).groupby("subject")["status"].agg(list)
        unreadable = {name for name, status in table.items() if status == ["unreadable"]}
        assert unreadable == {"empty.mp4", "text.mp4", "sound.avi"}
        assert table["empty_room.avi"] == ["no_face"] * 4
        assert len(table["talk.mp4"]) == 12 and 1 <= len(table["cut.avi"]) < 20
        said = capsys.readouterr().err
        for words in (
            "the file is empty",
            "no moving pictures",
            "no face found in any of 4 frames",
            "with 5 of 6 sources",
        ):
            assert words in said
        assert "cut.avi ends early" in said
        page = (out / "report.html").read_text(encoding="utf-8")
        assert page.count("<td>see below</td>") == 5 and page.count("<td>none</td>") == 1
        assert "No face was found" not in page
        # below the table and in their own sections
        assert page.count("the file is empty") == page.count("cut.avi ends early") == 2

    def test_difficult_images(self, predict, tmp_path, out):
        face = face_image()
        many = np.full((700, 1200, 3), 90, np.uint8)
        for k in range(50):
            y, x = 10 + k // 10 * 135, 8 + k % 10 * 118
            many[y : y + 108, x : x + 108] = cv2.resize(face, (108, 108), interpolation=cv2.INTER_AREA)

        def framed(image, *border):
            return np.pad(image, (*border, (0, 0)), constant_values=90)

        images = {
            "upside_down": np.ascontiguousarray(framed(face, (20, 20), (20, 20))[::-1]),
            "tiny": framed(cv2.resize(face, (20, 20), interpolation=cv2.INTER_AREA), (60, 60), (60, 60)),
            "cut": framed(face, (20, 20), (40, 0))[:, :140],
            "many": many,
        }
        for name, image in images.items():
            write_image(tmp_path / "in" / f"{name}.png", image)
        assert predict(tmp_path / "in", "--out", out, "--no-plot") == 1
        table = rows(out)
        crowd = table.loc[table["subject"] == "many.png", "face"].tolist()
        assert len(crowd) >= 45 and crowd == list(range(len(crowd)))
        assert table.loc[table["subject"].isin(["upside_down.png", "tiny.png"]), "status"].tolist() == ["no_face"] * 2

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
    def test_options(self, clips, predict, out, capsys, words, message):
        assert predict(clips / "talk.mp4", "--out", out, *words) == 1
        assert message in capsys.readouterr().err


class TestCamera:
    def test_absent_or_with_options_that_it_does_not_have(self, predict, out, capsys):
        assert predict("camera:97", "--out", out) == 1
        said = capsys.readouterr().err
        assert "camera:97" in said and "cannot be opened" in said and files(out) == []
        assert predict("camera:0", "--out", out, "--annotate") == 1 and "figures" in capsys.readouterr().err

    def test_it_writes_rows_as_they_come(self, clips, predict, tmp_path, monkeypatch, capsys):
        """The same loop over a file; then somebody presses Ctrl-C when the first rows are there."""
        real = cv2.VideoCapture
        monkeypatch.setattr(cv2, "VideoCapture", lambda target: real(str(clips / "talk.mp4")))
        assert predict("camera:0", "--out", tmp_path / "a") == 0
        table = rows(tmp_path / "a")
        assert table["frame"].tolist() == list(range(12)) and table["subject"].unique().tolist() == ["camera0"]
        assert table["time_s"].is_monotonic_increasing and sidecar(tmp_path / "a")["counts"]["sources"] == 1

        class Stopped:
            """A camera that is interrupted once the table has rows."""

            def __init__(self, target):
                self.file, self.frames = real(str(clips / "talk.mp4")), 0

            def __getattr__(self, name):
                return getattr(self.file, name)

            def read(self):
                self.frames += 1
                deadline = time.monotonic() + 60
                while self.frames == 11 and time.monotonic() < deadline:
                    if (tmp_path / "b" / "predictions.csv").is_file() and len(rows(tmp_path / "b")):
                        raise KeyboardInterrupt
                    time.sleep(0.01)
                return self.file.read()

        monkeypatch.setattr(cv2, "VideoCapture", Stopped)
        assert predict("camera:0", "--out", tmp_path / "b") == 0
        table = rows(tmp_path / "b")
        assert 1 <= len(table) <= 10 and table["frame"].tolist() == list(range(len(table)))
        assert f"{len(table)} frames, 2 without a face" in capsys.readouterr().out

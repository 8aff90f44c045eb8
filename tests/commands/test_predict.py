"""`auformer predict` from photos to files: what it prints, writes, refuses and survives."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch

import auformer.models.checkpoints as detector
from auformer.cli import main
from auformer.data.images import read_image
from auformer.data.manifest import read_predictions
from auformer.faces import align, detect
from auformer.models import load_detector
from auformer.scoring.provenance import file_sha256
from tests.helpers.photos import AUS, write_detector, write_photos

THRESHOLDS = {"AU12": 0.5, "AU1": 0.3, "AU25": 0.7}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_detector(folder, thresholds=THRESHOLDS, extra={"selection": {"epoch": 2}})
    return folder


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def predict(checkpoint):
    def run(*words, checkpoint=checkpoint):
        options = (
            "--checkpoint",
            checkpoint,
            "--backbone-checkpoint",
            checkpoint / "backbone.safetensors",
            "--device",
            "cpu",
        )
        return main(["predict", *map(str, (*words, *options))])

    return run


def files(folder):
    return sorted(path.name for path in folder.iterdir())


class TestOutputs:
    def test_table_side_file_picture_and_words(self, photos, predict, checkpoint, tmp_path, capsys):
        assert predict(photos["one"], "--out", tmp_path / "out") == 0
        assert files(tmp_path / "out") == ["one_aus.png", "predictions.csv", "predictions.json"]
        table = read_predictions(tmp_path / "out" / "predictions.csv")
        assert len(table) == 1 and table.loc[0, "file"] == str(photos["one"])

        image = read_image(photos["one"])
        (face,) = detect(image)
        network = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
        crop = torch.from_numpy(align(image, face.points, "eyes", 32)[0].astype(np.float32) / 255).permute(2, 0, 1)[
            None
        ]
        with torch.no_grad():
            probs = network.predict_probs(crop)[0].numpy()
        assert np.allclose([table.loc[0, f"{au}_prob"] for au in AUS], probs, atol=1e-6)
        assert [table.loc[0, f"{au}_active"] for au in AUS] == [
            int(p >= THRESHOLDS[au]) for p, au in zip(probs, AUS, strict=True)
        ]

        side = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
        assert (
            side["adapter"]["sha256"] == file_sha256(checkpoint / "adapter.safetensors")
            and side["thresholds"] == THRESHOLDS
        )
        assert side["notice"] is None and side["epoch_selection"] == {"epoch": 2}
        assert side["counts"]["pictures"] == {"ok": 1} and side["settings"]["detector"] == "cascade"

        lines = capsys.readouterr().out.splitlines()
        named = [line.split() for line in lines if line.startswith("  AU")]
        assert [words[0] for words in named] == ["AU1", "AU12", "AU25"]  # by number, as everywhere
        for words in named:
            prob = probs[AUS.index(words[0])]
            assert f"{prob:.3f}" in words and (words[-1] == "active") == (prob >= THRESHOLDS[words[0]])
        assert named[1][1:4] == ["Lip", "corner", "puller"]
        assert "Probabilities that an action unit occurs, not intensities." in lines

    def test_bad_photos_are_reported_and_the_others_finish(self, photos, predict, tmp_path, capsys):
        missing = photos["one"].parent / "missing.jpg"
        words = [*(photos[name] for name in ("none", "damaged", "two")), missing]
        assert predict(*words, "--out", tmp_path / "out") == 1
        table = read_predictions(tmp_path / "out" / "predictions.csv")
        assert table["status"].tolist() == ["no_face", "unreadable", "ok", "ok", "unreadable"]
        assert table["file"].tolist() == [
            *(str(photos[name]) for name in ("none", "damaged", "two", "two")),
            str(missing),
        ]
        bad = table[table["status"] != "ok"]
        assert bad[["x", "score", "AU1_prob", "AU1_active"]].isna().all(axis=None) and table["face"].tolist() == [
            0,
            0,
            0,
            1,
            0,
        ]
        assert files(tmp_path / "out") == ["predictions.csv", "predictions.json", "two_aus.png"]
        said = capsys.readouterr()
        assert f"no_face: {photos['none']}: no face found in 120 x 90 pixels" in said.err
        assert f"{photos['damaged']}" in said.err and f"{missing}" in said.err
        assert "something is wrong with 3 of 4 sources" in said.err and "4 photos, 2 faces" in said.out
        assert "1 picture without a face" in said.out and "2 pictures unreadable" in said.out

    def test_the_demo_detector_says_what_it_was_trained_on_everywhere(
        self, photos, predict, checkpoint, tmp_path, monkeypatch, capsys
    ):
        from auformer.predict import figures as pictures

        figures = []
        monkeypatch.setattr(detector, "DEMO_DETECTOR", checkpoint / "adapter.safetensors")
        draw = pictures.photo_figure
        monkeypatch.setattr(
            pictures, "photo_figure", lambda *args, **options: figures.append(options) or draw(*args, **options)
        )
        words = ["predict", str(photos["one"]), "--out", str(tmp_path / "out"), "--device", "cpu"]
        assert main([*words, "--backbone-checkpoint", str(checkpoint / "backbone.safetensors")]) == 0
        side = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
        for text in (capsys.readouterr().out, side["notice"], figures[0]["notice"]):
            assert "seen rendered faces only" in text and "not intensities" in text
        assert side["checkpoint"] == "demo"

    def test_the_same_photo_twice_is_one_row_whatever_its_name(self, photos, predict, tmp_path):
        photo = photos["one"].rename(photos["one"].with_name("Zoë, 图 #1.png"))
        assert predict(photo, photo, "--out", tmp_path / "out") == 0
        assert read_predictions(tmp_path / "out" / "predictions.csv")["subject"].tolist() == [photo.name]
        assert files(tmp_path / "out")[0] == "Zoë, 图 #1_aus.png"


class TestWhatIsThereAlready:
    @pytest.mark.parametrize("name", ["predictions.csv", "predictions.json", "one_aus.png"])
    def test_nothing_is_replaced_unasked(self, photos, predict, tmp_path, capsys, name):
        out = tmp_path / "out"
        out.mkdir()
        (out / name).write_text("mine")
        assert predict(photos["one"], "--out", out) == 1
        assert files(out) == [name] and (out / name).read_text() == "mine"
        assert f"found {out / name}" in (message := capsys.readouterr().err) and "--overwrite" in message
        assert predict(photos["one"], "--out", out, "--overwrite") == 0
        assert (out / name).read_bytes() != b"mine" and len(files(out)) == 3

    def test_a_photo_is_never_replaced(self, photos, predict, capsys):
        """Not even where it has the name of a picture and one says --overwrite."""
        folder = photos["one"].parent
        photo = photos["two"].rename(folder / "one_aus.png")
        before = photo.read_bytes()
        assert predict(photos["one"], photo, "--out", folder, "--overwrite") == 1
        assert "is one of the photos or videos" in capsys.readouterr().err and photo.read_bytes() == before

    @pytest.mark.skipif(os.name == "nt", reason="folders without write permission are made otherwise on Windows")
    def test_folders_that_cannot_be_written(self, photos, predict, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert predict(photos["one"], "--out", tmp_path / "file" / "out") == 1
        assert f"{tmp_path / 'file' / 'out'}: cannot write here" in capsys.readouterr().err


class TestInterrupted:
    def test_the_same_command_can_be_given_again(self, photos, predict, tmp_path, monkeypatch, capsys):
        import auformer.report.html as plots

        real, calls = plots.save_png, []

        def save(figure, path):
            calls.append(path)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(figure, path)

        monkeypatch.setattr(plots, "save_png", save)
        words = (photos["one"], photos["two"], "--out", tmp_path / "out")
        assert predict(*words, "--batch-size", "1") == 130
        assert files(tmp_path / "out") == [".predict", "one_aus.png"]
        assert "run the same command again" in capsys.readouterr().err.lower()
        assert predict(*words) == 0 and len(files(tmp_path / "out")) == 4
        assert "1 of 2 sources are done" in capsys.readouterr().out and len(calls) == 3
        whole = read_predictions(tmp_path / "out" / "predictions.csv")
        assert predict(*words, "--out", tmp_path / "clean") == 0
        pd.testing.assert_frame_equal(
            whole, read_predictions(tmp_path / "clean" / "predictions.csv"), rtol=0, atol=1e-5
        )

    def test_a_full_disk(self, photos, predict, tmp_path, monkeypatch, capsys):
        import auformer.predict.outputs as outputs

        def full(*args):
            raise OSError(28, "No space left on device", str(tmp_path / "out"))

        monkeypatch.setattr(outputs, "write_predictions", full)
        assert predict(photos["one"], "--out", tmp_path / "out") == 1
        assert "No space left on device" in capsys.readouterr().err
        assert files(tmp_path / "out") == [".predict", "one_aus.png"]  # so that no work is lost
        monkeypatch.undo()
        assert predict(photos["one"], "--out", tmp_path / "out") == 0
        assert files(tmp_path / "out") == ["one_aus.png", "predictions.csv", "predictions.json"]


class TestBadOptions:
    def test_a_checkpoint_that_is_none(self, photos, tmp_path, capsys):
        words = ["predict", str(photos["one"]), "--out", str(tmp_path / "out"), "--checkpoint", str(photos["two"])]
        assert main(words) == 1 and "not" in capsys.readouterr().err
        assert main([*words[:-1], str(tmp_path / "nowhere")]) == 1 and "does not exist" in capsys.readouterr().err
        assert files(tmp_path / "out") == []

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["--batch-size", "0"], 1, "`batch_size`"),
            (["--device", "abacus"], 1, "'abacus'"),
            (["--batch-size", "many"], 2, "invalid int"),
        ],
    )
    def test_options(self, photos, checkpoint, tmp_path, capsys, words, code, message):
        plain = [
            "predict",
            str(photos["one"]),
            "--out",
            str(tmp_path / "out"),
            "--checkpoint",
            str(checkpoint),
            "--device",
            "cpu",
        ]
        assert main([*plain, "--backbone-checkpoint", str(checkpoint / "backbone.safetensors"), *words]) == code
        assert message in capsys.readouterr().err

    def test_nothing_to_predict(self, tmp_path, capsys):
        assert main(["predict", "--out", str(tmp_path)]) == 2
        assert "SOURCE" in capsys.readouterr().err
        assert main(["predict", "a.jpg"]) == 2 and "--out" in capsys.readouterr().err

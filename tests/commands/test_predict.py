"""`auformer predict` from images to files: what it prints, writes, refuses and survives."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from auformer.cli import main
from auformer.data.images import read_image
from auformer.faces import align, detect
from auformer.files import sha256
from auformer.models import export_detector, load_detector
from auformer.predict.photo_card import save_card
from tests.helpers.photos import AUS, face_image, write_photos
from tests.helpers.predicting import files, make_checkpoint, options, predict_with, rows, same, sidecar

THRESHOLDS = {"AU12": 0.5, "AU1": 0.3, "AU25": 0.7}
PROBS = [f"{au}_prob" for au in AUS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    return make_checkpoint(folder, thresholds=THRESHOLDS, extra={"selection": {"epoch": 2}})


@pytest.fixture(scope="module")
def network(checkpoint):
    return load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def predict(checkpoint):
    return lambda *words: predict_with(checkpoint, *words)


class TestOutputs:
    def test_table_sidecar_figure_and_words(self, photos, predict, checkpoint, network, tmp_path, capsys):
        out = tmp_path / "out"
        assert predict(photos["one"], "--out", out) == 0
        assert files(out) == ["one_aus.png", "predictions.csv", "predictions.json"]
        table = rows(out)
        assert len(table) == 1 and table.loc[0, "file"] == str(photos["one"])

        image = read_image(photos["one"])
        (face,) = detect(image)
        crop = align(image, face.points, "eyes", 32)[0].astype(np.float32) / 255
        with torch.no_grad():
            probs = network.predict_probs(torch.from_numpy(crop).permute(2, 0, 1)[None])[0].numpy()
        assert np.allclose(table.loc[0, PROBS].to_numpy(float), probs, atol=1e-6)
        active = {au: int(prob >= THRESHOLDS[au]) for au, prob in zip(AUS, probs, strict=True)}
        assert {au: table.loc[0, f"{au}_active"] for au in AUS} == active

        side = sidecar(out)
        assert side["adapter"]["sha256"] == sha256(checkpoint / "adapter.safetensors")
        assert side["thresholds"] == THRESHOLDS
        assert side["notice"] is None and side["epoch_selection"] == {"epoch": 2}
        assert side["counts"]["pictures"] == {"ok": 1} and side["settings"]["detector"] == "cascade"

        lines = capsys.readouterr().out.splitlines()
        named = [line.split() for line in lines if line.startswith("  AU")]
        assert [words[0] for words in named] == ["AU1", "AU12", "AU25"]  # by number, as everywhere
        for words in named:
            assert f"{probs[AUS.index(words[0])]:.3f}" in words
            assert (words[-1] == "active") == active[words[0]]
        assert named[1][1:4] == ["Lip", "corner", "puller"]
        assert "Probabilities that an action unit occurs, not intensities." in lines

    def test_of_many_photos_no_figures_and_no_rows_unasked(self, photos, predict, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("auformer.predict.run.MOST_FIGURES", 1)
        assert predict(photos["one"], photos["two"], "--out", tmp_path / "many") == 0
        assert files(tmp_path / "many") == ["predictions.csv", "predictions.json"]
        said = capsys.readouterr().out
        assert "  AU12" not in said and "2 photos, 3 faces" in said
        assert predict(photos["one"], photos["two"], "--out", tmp_path / "all", "--plot") == 0
        assert files(tmp_path / "all")[:2] == ["one_aus.png", "predictions.csv"]

    def test_the_smallest_face_that_is_searched_for(self, photos, predict, tmp_path):
        """Two faces whose boxes are 112 and 94 pixels wide."""
        assert predict(photos["two"], "--out", tmp_path / "large", "--min-face", "105", "--no-plot") == 0
        assert len(rows(tmp_path / "large")) == 1 and sidecar(tmp_path / "large")["settings"]["min_face"] == 105
        assert predict(photos["two"], "--out", tmp_path / "none", "--min-face", "300") == 1

    def test_bad_photos_are_reported_and_the_others_finish(self, photos, predict, tmp_path, capsys):
        out = tmp_path / "out"
        given = [*(photos[name] for name in ("none", "damaged", "two")), photos["one"].parent / "missing.jpg"]
        assert predict(*given, "--out", out) == 1
        table = rows(out)
        assert table["status"].tolist() == ["no_face", "unreadable", "ok", "ok", "unreadable"]
        assert table["file"].tolist() == [str(given[k]) for k in (0, 1, 2, 2, 3)]
        bad = table[table["status"] != "ok"]
        assert bad[["x", "score", "AU1_prob", "AU1_active"]].isna().all(axis=None)
        assert table["face"].tolist() == [0, 0, 0, 1, 0]
        assert files(out) == ["predictions.csv", "predictions.json", "two_aus.png"]
        said = capsys.readouterr()
        assert f"no_face: {photos['none']}: no face found in 120 x 90 pixels" in said.err
        assert f"{photos['damaged']}" in said.err and f"{given[-1]}" in said.err
        assert "3 of 4 sources" in said.err and "2 photos, 2 faces" in said.out
        assert "1 image without a face" in said.out and "2 unreadable (photos, videos" in said.out

    def test_the_demo_network_says_everywhere_what_it_was_trained_on(
        self, photos, checkpoint, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setattr("auformer.models.checkpoint_path.DEMO_DETECTOR", checkpoint / "adapter.safetensors")
        monkeypatch.setattr("auformer.predict.sidecar.DEMO_DETECTOR", checkpoint / "adapter.safetensors")
        words = ["predict", str(photos["one"]), "--out", str(tmp_path / "out"), *options(checkpoint)[2:], "--report"]
        assert main(words) == 0
        side = sidecar(tmp_path / "out")
        for text in (capsys.readouterr().out, side["notice"], (tmp_path / "out" / "report.html").read_text("utf-8")):
            assert "trained on rendered faces only" in text
        assert side["checkpoint"] == "demo"

    def test_the_same_photo_twice_is_one_row_whatever_its_name(self, photos, predict, tmp_path):
        photo = photos["one"].rename(photos["one"].with_name("Zoë, 图 #1.png"))
        assert predict(photo, photo, "--out", tmp_path / "out") == 0
        assert rows(tmp_path / "out")["subject"].tolist() == [photo.name]
        assert files(tmp_path / "out")[0] == "Zoë, 图 #1_aus.png"


class TestImages:
    def test_rotated_and_with_alpha(self, predict, tmp_path):
        """Rotated by its EXIF tag, or with alpha: the same image, so the same numbers."""
        face = face_image()
        (tmp_path / "in").mkdir()
        Image.fromarray(face).save(tmp_path / "in" / "a.png")
        rotated = Image.fromarray(np.ascontiguousarray(np.rot90(face)))  # left; tag 6 says: rotate right to look at it
        exif = Image.Exif()
        exif[0x0112] = 6
        rotated.save(tmp_path / "in" / "b.jpg", quality=100, subsampling=0, exif=exif)
        Image.fromarray(np.dstack([face, np.full(face.shape[:2], 255, np.uint8)])).save(tmp_path / "in" / "c.png")
        assert predict(tmp_path / "in", "--out", tmp_path / "out", "--no-plot") == 0
        plain, by_tag, alpha = rows(tmp_path / "out")[PROBS].to_numpy()
        assert np.allclose(by_tag, plain, atol=0.02) and np.allclose(alpha, plain, atol=1e-6)

    def test_a_photo_of_48_megapixels(self, predict, tmp_path):
        """A face of 4000 pixels: found, and the same to the network as the small one."""
        (tmp_path / "in").mkdir()
        for name, (height, width), (top, left), side in (
            ("large.jpg", (6000, 8000), (1000, 2000), 4000),
            ("small.png", (375, 500), (62, 125), 250),
        ):
            image = np.full((height, width, 3), 90, np.uint8)
            face = Image.fromarray(face_image()).resize((side, side), Image.Resampling.BICUBIC)
            image[top : top + side, left : left + side] = np.asarray(face)
            Image.fromarray(image).save(tmp_path / "in" / name, quality=90)
        assert predict(tmp_path / "in", "--out", tmp_path / "out", "--no-plot") == 0
        table = rows(tmp_path / "out").set_index("subject")
        assert 2500 < table.loc["large.jpg", "w"] < 5500
        large, small = (table.loc[name, PROBS].to_numpy(float) for name in ("large.jpg", "small.png"))
        assert np.allclose(large, small, atol=0.1)


class TestNetworks:
    def test_bfloat16_is_near_and_recorded(self, photos, predict, tmp_path):
        found = []
        for precision in ("32", "bf16"):
            out = tmp_path / precision
            assert predict(photos["one"], "--out", out, "--no-plot", "--precision", precision) == 0
            assert sidecar(out)["settings"]["precision"] == precision
            found.append(rows(out)[PROBS].to_numpy())
        assert 0 < np.abs(found[0] - found[1]).max() < 0.03

    @pytest.mark.slow
    def test_an_exported_file_gives_the_same_rows(self, photos, network, predict, tmp_path):
        export_detector(network, tmp_path / "detector.onnx")
        assert predict(photos["one"], "--out", tmp_path / "plain", "--no-plot") == 0
        words = ["--checkpoint", str(tmp_path / "detector.onnx"), "--no-plot", "--device", "cpu"]
        assert main(["predict", str(photos["one"]), "--out", str(tmp_path / "onnx"), *words]) == 0
        exported, plain = (rows(tmp_path / name)[PROBS].to_numpy() for name in ("onnx", "plain"))
        assert np.allclose(exported, plain, atol=1e-4)


class TestExistingFiles:
    @pytest.mark.parametrize("name", ["predictions.csv", "predictions.json", "one_aus.png"])
    def test_nothing_is_replaced_unasked(self, photos, predict, tmp_path, capsys, name):
        out = tmp_path / "out"
        out.mkdir()
        (out / name).write_text("mine")
        assert predict(photos["one"], "--out", out) == 1
        assert files(out) == [name] and (out / name).read_text() == "mine"
        message = capsys.readouterr().err
        assert f"found {out / name}" in message and "--overwrite" in message
        assert predict(photos["one"], "--out", out, "--overwrite") == 0
        assert (out / name).read_bytes() != b"mine" and len(files(out)) == 3

    def test_a_photo_is_never_replaced(self, photos, predict, capsys):
        """Not even where it has the name of a figure and with --overwrite."""
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
    def test_the_same_command_resumes(self, photos, predict, tmp_path, monkeypatch, capsys):
        real, calls = save_card, []

        def save(path, card):
            calls.append(path)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(path, card)

        monkeypatch.setattr("auformer.predict.recorder.save_card", save)
        words, out = (photos["one"], photos["two"], "--out"), tmp_path / "out"
        assert predict(*words, out, "--batch-size", "1") == 130
        assert files(out) == [".predict", "one_aus.png"]
        assert "run the same command again" in capsys.readouterr().err.lower()
        assert predict(*words, out) == 0 and len(files(out)) == 4
        assert "1 of 2 sources are done" in capsys.readouterr().out and len(calls) == 3
        assert predict(*words, tmp_path / "clean") == 0
        same(rows(out), rows(tmp_path / "clean"))

    @pytest.mark.parametrize(("writer", "left"), [("write_sidecar", []), ("write_pieces", ["predictions.json"])])
    def test_a_full_disk(self, photos, predict, tmp_path, monkeypatch, capsys, writer, left):
        out = tmp_path / "out"

        def full(*args):
            raise OSError(28, "No space left on device", str(out))

        monkeypatch.setattr(f"auformer.predict.recorder.{writer}", full)
        assert predict(photos["one"], "--out", out) == 1
        assert "No space left on device" in capsys.readouterr().err
        assert files(out) == [".predict", "one_aus.png", *left]  # so that no work is lost
        monkeypatch.undo()
        assert predict(photos["one"], "--out", out) == 0
        assert files(out) == ["one_aus.png", "predictions.csv", "predictions.json"]


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
            (["--device", "cuda:97"], 1, "Expected `--device` to be one that this machine has, but got 'cuda:97'"),
            (["--batch-size", "many"], 2, "invalid int"),
        ],
    )
    def test_options(self, photos, checkpoint, tmp_path, capsys, words, code, message):
        plain = ["predict", str(photos["one"]), "--out", str(tmp_path / "out"), *options(checkpoint)]
        assert main([*plain, *words]) == code
        assert message in capsys.readouterr().err

    def test_nothing_to_predict(self, tmp_path, capsys):
        assert main(["predict", "--out", str(tmp_path)]) == 2 and "SOURCE" in capsys.readouterr().err
        assert main(["predict", "a.jpg"]) == 2 and "--out" in capsys.readouterr().err

"""`auformer predict` on pictures of unusual kinds, other precisions and devices, exported files; and parity with `Trainer.predict`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader

from auformer.cli import main
from auformer.data.manifest import read_predictions
from auformer.data.transforms import to_float
from auformer.models import AUFormer, export_detector, load_detector
from auformer.predict.predictor import AUPredictor
from auformer.training.module import AUModule
from tests.helpers.photos import AUS, face_picture
from tests.helpers.predicting import files, make_checkpoint, make_clips, predict_with

PROBS = [f"{au}_prob" for au in AUS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def network(checkpoint):
    return load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")


@pytest.fixture
def predict(checkpoint):
    return partial(predict_with, checkpoint)


def _probs(path: Path) -> np.ndarray:
    return read_predictions(path / "predictions.csv")[PROBS].to_numpy()


def test_pictures_of_unusual_kinds_are_read_as_they_look(predict, tmp_path):
    """Turned by its EXIF tag, with alpha, with 16 bits: the same picture, so the same numbers."""
    face = face_picture()
    (tmp_path / "in").mkdir()
    Image.fromarray(face).save(tmp_path / "in" / "a.png")
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(face)))  # to the left; tag 6 says: turn right to look at it
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "in" / "b.jpg", quality=100, subsampling=0, exif=exif)
    Image.fromarray(np.dstack([face, np.full(face.shape[:2], 255, np.uint8)])).save(tmp_path / "in" / "c.png")
    assert predict(tmp_path / "in", "--out", tmp_path / "out", "--no-plot") == 0
    plain, by_tag, alpha = _probs(tmp_path / "out")
    assert np.allclose(by_tag, plain, atol=0.02) and np.allclose(alpha, plain, atol=1e-6)


def test_a_photo_of_48_megapixels(predict, tmp_path):
    """A face of 4000 pixels: found, and the same to the network as the small one."""
    face = face_picture()
    large = np.full((6000, 8000, 3), 90, np.uint8)
    large[1000:5000, 2000:6000] = np.asarray(Image.fromarray(face).resize((4000, 4000), Image.Resampling.BICUBIC))
    (tmp_path / "in").mkdir()
    Image.fromarray(large).save(tmp_path / "in" / "large.jpg", quality=90)
    small = np.full((375, 500, 3), 90, np.uint8)
    small[62:312, 125:375] = np.asarray(Image.fromarray(face).resize((250, 250), Image.Resampling.BICUBIC))
    Image.fromarray(small).save(tmp_path / "in" / "small.png")
    assert predict(tmp_path / "in", "--out", tmp_path / "out", "--no-plot") == 0
    table = read_predictions(tmp_path / "out" / "predictions.csv").set_index("subject")
    assert 2500 < table.loc["large.jpg", "w"] < 5500
    assert np.allclose(
        table.loc["large.jpg", PROBS].to_numpy(float), table.loc["small.png", PROBS].to_numpy(float), atol=0.1
    )


def test_bfloat16_is_near_and_is_said(predict, tmp_path):
    Image.fromarray(face_picture()).save(tmp_path / "a.png")
    for precision in ("32", "bf16"):
        assert predict(tmp_path / "a.png", "--out", tmp_path / precision, "--no-plot", "--precision", precision) == 0
        assert json.loads((tmp_path / precision / "predictions.json").read_text())["settings"]["precision"] == precision
    difference = np.abs(_probs(tmp_path / "bf16") - _probs(tmp_path / "32")).max()
    assert 0 < difference < 0.03


def test_a_device_that_is_not_there(checkpoint, tmp_path, capsys):
    clips = make_clips(tmp_path)
    words = ["predict", str(clips / "talk.mp4"), "--out", str(tmp_path / "out"), "--device", "cuda:97"]
    assert (
        main(
            [*words, "--checkpoint", str(checkpoint), "--backbone-checkpoint", str(checkpoint / "backbone.safetensors")]
        )
        == 1
    )
    assert "Expected `--device` to be one that this machine has, but got 'cuda:97'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or files(tmp_path / "out") == []


def test_an_exported_file_gives_the_same_rows(network, predict, tmp_path):
    Image.fromarray(face_picture()).save(tmp_path / "a.png")
    export_detector(network, tmp_path / "detector.onnx")
    assert predict(tmp_path / "a.png", "--out", tmp_path / "plain", "--no-plot") == 0
    words = ["--checkpoint", str(tmp_path / "detector.onnx"), "--no-plot", "--device", "cpu"]
    assert main(["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "onnx"), *words]) == 0
    assert np.allclose(_probs(tmp_path / "onnx"), _probs(tmp_path / "plain"), atol=1e-4)


def test_trainer_predict_gives_the_same_on_the_same_crops(network):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (5, *network.image_size, 3), dtype=np.uint8)
    factory = partial(AUFormer, backbone=network.backbone_name, expert_width=2)
    module = AUModule(factory, list(AUS), [1.0] * len(AUS))
    module.network.load_state_dict(network.state_dict())
    loader = DataLoader([{"image": torch.from_numpy(to_float(crop))} for crop in crops], batch_size=3)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found = torch.cat(trainer.predict(module, loader)).numpy()
    assert np.allclose(found, AUPredictor(network, batch_size=2).predict_proba(crops), atol=1e-5)

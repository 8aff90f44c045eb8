"""`predict_to_files` from a program: what the command does, silently; and parity with `Trainer.predict`."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from auformer.data.transforms import to_float
from auformer.models import AUFormer, load_detector
from auformer.predict import AUPredictor, Progress, Selection, predict_to_files
from auformer.training.module import AUModule
from tests.helpers.photos import AUS, write_photos
from tests.helpers.predicting import dying, files, make_checkpoint, make_clips, predict_with, rows, sidecar


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


class Noted(Progress):
    """Notes what a run reports."""

    def __init__(self):
        self.calls = []

    def loaded(self, predictor, notice):
        self.calls.append(("loaded", notice))

    def begun(self, unit, total, done, *, finished, sources):
        self.calls.append((unit, total, done, finished, sources))

    def advanced(self, image):
        self.calls.append((image.name, image.frame, image.status))


def test_the_same_files_as_the_command(checkpoint, tmp_path, capsys):
    photos, clips = write_photos(tmp_path / "photos"), make_clips(tmp_path)
    sources = [photos["one"], clips / "talk.mp4", photos["none"]]
    assert predict_with(checkpoint, *sources, "--out", tmp_path / "command", "--every", 4, "--faces", 1) == 1
    capsys.readouterr()
    noted, frozen = Noted(), checkpoint / "backbone.safetensors"
    call = {"checkpoint": checkpoint, "backbone_checkpoint": frozen, "selection": Selection(every=4), "faces": 1}
    written = predict_to_files(sources, tmp_path / "call", device="cpu", progress=noted, **call)
    assert capsys.readouterr() == ("", "")
    for name in ("predictions.csv", "predictions.json", "one_aus.png"):
        assert (tmp_path / "call" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    assert written.tables == [tmp_path / "call" / "predictions.csv"]
    assert [(source.name, problem) for source, problem in written.problems] == [("photos/none.png", "no face found")]
    assert written.counts == sidecar(tmp_path / "call")["counts"]
    assert noted.calls[:2] == [("loaded", None), ("frames", 5, 0, 0, 0)]
    assert noted.calls[2:] == [
        ("photos/one.png", 0, "ok"),
        *(("talk.mp4", frame, "no_face" if frame == 4 else "ok") for frame in (0, 4, 8)),
        ("photos/none.png", 0, "no_face"),
    ]


def test_an_interrupted_call_resumes(checkpoint, tmp_path, monkeypatch):
    photos, noted = write_photos(tmp_path / "photos"), Noted()
    call = {"checkpoint": checkpoint, "backbone_checkpoint": checkpoint / "backbone.safetensors", "batch_size": 1}
    dying(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        predict_to_files([photos["one"], photos["two"]], tmp_path / "out", plot=False, **call)
    assert files(tmp_path / "out") == [".predict"]
    predict_to_files([photos["one"], photos["two"]], tmp_path / "out", plot=False, progress=noted, **call)
    assert noted.calls[1:] == [("frames", 1, 0, 1, 2), ("two.png", 0, "ok")]
    assert rows(tmp_path / "out")["subject"].tolist() == ["one.png", "two.png", "two.png"]


def test_trainer_predict_gives_the_same_on_the_same_crops(checkpoint):
    network = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
    crops = np.random.default_rng(0).integers(0, 256, (5, *network.image_size, 3), dtype=np.uint8)
    factory = partial(AUFormer, backbone=network.backbone_name, pretrained=False, expert_width=2)
    module = AUModule(network=factory, au_names=list(AUS), au_weights=[1.0] * len(AUS))
    module.network.load_state_dict(network.state_dict())
    loader = DataLoader([{"image": torch.from_numpy(to_float(crop))} for crop in crops], batch_size=3)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found = torch.cat(trainer.predict(module, loader)).numpy()
    assert np.allclose(found, AUPredictor(network, batch_size=2).predict_proba(crops), atol=1e-5)

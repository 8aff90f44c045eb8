"""`predict_to_files` from a program: what the command does, silently; and parity with `Trainer.predict`."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from auformer.data.transforms import to_float
from auformer.errors import ManifestError
from auformer.models import AUFormer, load_detector
from auformer.models.onnx_file import OnnxDetector
from auformer.predict import AUPredictor, Progress, Selection, predict_to_files, recorder
from auformer.predict.sources import find_sources
from auformer.predict.types import ImagePrediction
from auformer.training.module import AUModule
from tests.helpers.photos import AUS, write_photos
from tests.helpers.predicting import dying, files, make_checkpoint, make_clips, predict_with, rows, sidecar
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving


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


@pytest.mark.parametrize("resting", [False, True])
def test_a_table_written_in_pieces_is_the_same(tmp_path, monkeypatch, resting):
    """Rows, types and blinks of several sources; a key that occurs twice is found in another piece."""
    photos = write_photos(tmp_path / "photos")
    write_video(tmp_path / "talk.mp4", moving(12, without=[4, 5]), fps=25)

    def blinking(table, *_):
        assert {"AU43_prob", "time_s", "face"} <= set(table)
        return (table["frame"] % 3 == 1).astype("Int8").mask(table["status"] != "ok"), {"AU45": {"rule": "a test's"}}

    monkeypatch.setattr(recorder, "blinking", blinking)
    call = {"sources": [photos["one"], tmp_path / "talk.mp4", photos["none"], photos["two"]], "plot": False}
    call |= {"subtract_resting_level": resting}
    predict_to_files(out=tmp_path / "whole", **call)
    monkeypatch.setattr(recorder, "PIECE", 5)
    predict_to_files(out=tmp_path / "pieces", **call)
    for name in ("predictions.csv", "predictions.json"):
        assert (tmp_path / "pieces" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert rows(tmp_path / "pieces")["AU45_active"].fillna(-1).tolist()[:7] == [0, 0, 1, 0, 0, -1, -1]
    twice = recorder.Part.rows

    def again(part):  # the first row of the video once more, some pieces later
        found = [*twice(part)]
        return [*found, found[0]] if len(found) > 10 else found

    monkeypatch.setattr(recorder.Part, "rows", again)
    with pytest.raises(ManifestError, match="twice"):
        predict_to_files(out=tmp_path / "twice", **call)
    assert not (tmp_path / "twice" / "predictions.csv").exists()


@pytest.mark.parametrize("keep_images", [False, True])
def test_batches_at_once_are_the_same_in_the_same_order(tmp_path, keep_images):
    """Three batches of two faces at once; frames wait without their pixels unless these are wanted."""
    write_video(tmp_path / "talk.mp4", moving(12, without=[4, 5]), fps=25)
    photos, at_the_time = write_photos(tmp_path / "photos"), set()
    sources = find_sources([photos["two"], tmp_path / "talk.mp4", photos["none"]])

    def pixels(image):
        return None if image is None else int(image.sum())

    def told(at_once):
        predictor = AUPredictor.from_checkpoint("demo", batch_size=2)
        assert isinstance(predictor.network, OnnxDetector)
        predictor.network.at_once = at_once
        plain = predictor.network.outputs
        predictor.network.outputs = lambda images: (at_the_time.add(threading.get_ident()), plain(images))[1]
        return [
            (type(item), item.source.name, *((item.status, item.frame, item.size, pixels(item.image),
             [found.probs.tolist() for found in item.faces]) if isinstance(item, ImagePrediction) else ()))
            for item in predictor.stream(sources, keep_images=keep_images)
        ]  # fmt: skip

    one = told(1)
    assert at_the_time == {threading.get_ident()} and len(one) == 1 + 12 + 1 + 3
    assert told(3) == one and len(at_the_time) > 1
    assert [item[5] is not None and item[5] > 0 for item in one if item[0] is ImagePrediction] == [keep_images] * 14


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

"""Networks that see clips in `predict`: which frames make a clip, gaps, photos, resuming, ONNX."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from auformer.data.images import write_image
from auformer.models import OnnxDetector, export_detector
from auformer.predict import clip_windows, pipeline
from auformer.predict.clip_windows import clips_of, closes
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import find_sources
from auformer.predict.types import ImagePrediction
from tests.helpers.clips import CLIP, clip_network
from tests.helpers.predicting import make_clips
from tests.helpers.runs import write_vit
from tests.helpers.videos import scene

VIDEO, PHOTO = SimpleNamespace(name="v", kind="video"), SimpleNamespace(name="p", kind="photo")


def task(ordinal: int | None, *tracks: int, source: Any = VIDEO) -> Any:
    frame = None if ordinal is None else SimpleNamespace(ordinal=ordinal)
    return SimpleNamespace(source=source, frame=frame, found=[SimpleNamespace(track=track) for track in tracks])


def test_clips_end_at_windows_gaps_and_tracks():
    tasks = [task(0, 1), task(1, 1, 2), task(2, 2), task(3, 1, 2), task(4, 1, 2), task(5, 2), task(None)]
    # places: 0 | 1 2 | 3 | 4 5 | 6 7 | 8
    assert clips_of(tasks, 4, 250) == [[0, 1], [4], [2, 3, 5], [6], [7, 8]]
    assert clips_of(tasks, 4, 3) == [[0, 1], [2, 3], [4, 6], [5, 7, 8]]  # cut again where a run can resume
    assert clips_of([task(0, 0, 1, source=PHOTO)], 4, 250) == [[0], [1]]
    assert [closes(one, 4, 250) for one in tasks] == [False, False, False, True, False, False, True]
    assert closes(task(0, source=PHOTO), 4, 250) and closes(task(249), 16, 250) and not closes(task(248), 16, 250)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_clips(tmp_path_factory.mktemp("films"))
    write_vit(folder / "vit.safetensors")
    write_image(folder / "photo.png", scene((30_001, 60, 16), size=(288, 136)))
    return folder


@pytest.fixture
def predictor(folder: Path) -> AUPredictor:
    network = clip_network(folder / "vit.safetensors").eval()
    network.crop_recipe = "eyes"
    return AUPredictor(network, batch_size=6)


def images(predictor: AUPredictor, path: Path, **options: Any) -> list[ImagePrediction]:
    return [one for one in predictor.stream(find_sources([path]), **options) if isinstance(one, ImagePrediction)]


def values(found: list[ImagePrediction]) -> dict[tuple[Any, int], np.ndarray]:
    return {(one.frame, face.track): face.probs for one in found for face in one.faces}


def test_a_video_is_predicted_in_windows(predictor, folder):
    found = images(predictor, folder / "talk.mp4")
    assert len(found) == 12 and [bool(one.faces) for one in found].count(False) >= 2
    crops = {(one.frame, face.track): face.crop for one in found for face in one.faces}
    probs = values(found)
    track = min(number for _, number in crops)
    first = [crops[frame, track] for frame in range(CLIP)]  # frames 0 to 3 are a window
    clip = torch.from_numpy(np.stack(first).transpose(0, 3, 1, 2) / np.float32(255)).unsqueeze(0)
    with torch.no_grad():
        want = predictor.network.predict_probs(clip).numpy()
    np.testing.assert_allclose([probs[frame, track] for frame in range(CLIP)], want, atol=1e-6)
    many = AUPredictor(predictor.network, batch_size=64)
    other = values(images(many, folder / "talk.mp4"))
    assert probs.keys() == other.keys()
    assert all(np.allclose(probs[key], other[key], atol=1e-6) for key in probs)


def test_a_resumed_video_is_the_same(predictor, folder, monkeypatch):
    for module in (pipeline, clip_windows):
        monkeypatch.setattr(module, "RESUME_FRAMES", 10)
    whole = images(predictor, folder / "talk.mp4")
    state = next(one.state for one in whole if one.state is not None)
    assert state["after"] == 9
    rest = values(images(predictor, folder / "talk.mp4", resume={find_sources([folder / "talk.mp4"])[0].name: state}))
    before = {key: one for key, one in values(whole).items() if key[0] > 9}
    assert before and rest.keys() == before.keys()
    assert all(np.allclose(rest[key], before[key], atol=1e-6) for key in rest)


def test_two_faces_are_two_clips(predictor, folder):
    probs = values(images(predictor, folder / "pair.mp4"))
    assert len({track for _, track in probs}) >= 2 and all(np.isfinite(one).all() for one in probs.values())


def test_a_photo_is_a_clip_in_which_nothing_moves(predictor, folder, caplog):
    with caplog.at_level(logging.WARNING):
        (found,) = images(predictor, folder / "photo.png")
        images(predictor, folder / "photo.png")
    assert sum("trained on clips of 4 frames: a photo" in record.message for record in caplog.records) == 1
    crop = torch.from_numpy(found.faces[0].crop.transpose(2, 0, 1) / np.float32(255))
    with torch.no_grad():
        want = predictor.network.predict_probs(crop.expand(1, CLIP, -1, -1, -1))[0].numpy()
    np.testing.assert_allclose(found.faces[0].probs, want, atol=1e-6)


def test_memory_does_not_grow_with_the_video(predictor):
    """Waiting frames are let go at the end of each window, once there is a batch of them."""
    held = []
    waiting: list[Any] = []
    for ordinal in range(1000):
        waiting.append(task(ordinal, 0))
        held.append(len(waiting))
        if len(waiting) >= predictor.batch_size and closes(waiting[-1], CLIP, 250):
            waiting = []
    assert max(held) <= predictor.batch_size + CLIP


@pytest.mark.slow
def test_exported_it_says_the_same(predictor, folder, tmp_path):
    file = export_detector(predictor.network, tmp_path / "clips.onnx")
    exported = OnnxDetector(file)
    assert exported.clip_length == CLIP
    clips = torch.rand(3, CLIP, 3, 32, 32)
    with torch.no_grad():
        want = predictor.network.predict_probs(clips)
    np.testing.assert_allclose(exported.predict_probs(clips.numpy()), want, atol=1e-5)
    one, other = (values(images(AUPredictor(each), folder / "talk.mp4")) for each in (exported, predictor.network))
    assert one.keys() == other.keys() and all(np.allclose(one[key], other[key], atol=1e-5) for key in one)

"""Large photographs come smaller out of the decoder where every face in them stays large enough."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from auformer.data.images import write_image
from auformer.faces import make_detector
from auformer.predict import pipeline
from auformer.predict.pipeline import Clock, Cropper, Pipeline
from auformer.predict.sources import find_sources
from auformer.predict.tracking import overlap
from auformer.predict.types import Selection
from tests.helpers.photos import face_image

SIZE = (1600, 2400)


def photograph(path, *faces):
    """Faces (number, side, x, y) before a wall with noise, which makes the file large."""
    image = np.random.default_rng(1).integers(80, 110, (*SIZE, 3), dtype=np.uint8)
    for number, side, x, y in faces:
        face = cv2.resize(face_image(number, 320), (side, side), interpolation=cv2.INTER_CUBIC)
        image[y : y + side, x : x + side] = face
    write_image(path, image)
    return path


def first(path, *, reduce, detector="cascade"):
    stages = Pipeline(make_detector(detector), Cropper("eyes", (64, 64), None), None, Selection(), {}, Clock(), reduce)
    return next(iter(stages.run(find_sources([path]))))


@pytest.fixture
def wholes(monkeypatch):
    """Files that were read as a whole after all."""
    read = []
    plain = pipeline.read_image
    monkeypatch.setattr(pipeline, "read_image", lambda path: read.append(path) or plain(path))
    return read


def test_a_large_face(tmp_path, wholes):
    path = photograph(tmp_path / "a.jpg", (30_001, 900, 300, 200), (30_002, 640, 1500, 500))
    small, whole = first(path, reduce=True), first(path, reduce=False)
    assert small.frame.image.shape == (800, 1200, 3) and small.frame.reduced == 2 and wholes == []
    assert len(small.found) == len(whole.found) == 2
    for one, other in zip(small.found, whole.found, strict=True):
        apart = np.hypot(*(other.face.points[1] - other.face.points[0]))
        assert overlap(one.face.box, other.face.box) > 0.85
        assert np.hypot(*(one.face.points - other.face.points).T).max() < 0.04 * apart
        assert np.abs(one.crop.astype(int) - other.crop).mean() < 4


@pytest.mark.parametrize("faces", [[(30_001, 900, 300, 200), (30_002, 200, 1600, 500)], [(30_001, 200, 800, 500)], []])
def test_a_small_face_or_none_makes_it_read_as_a_whole(tmp_path, wholes, faces):
    path = photograph(tmp_path / "a.jpg", *faces)
    small, whole = first(path, reduce=True), first(path, reduce=False)
    assert wholes == [str(path)] and small.frame.reduced == 1 and small.frame.image.shape == (*SIZE, 3)
    assert [one.face.box for one in small.found] == [one.face.box for one in whole.found]
    assert len(small.found) == len(faces)


def test_what_cannot_be_read_as_a_whole(tmp_path, monkeypatch):
    def fail(path):
        raise ValueError("gone")

    monkeypatch.setattr(pipeline, "read_image", fail)
    task = first(photograph(tmp_path / "a.jpg"), reduce=True)
    assert task.frame.image is None and task.frame.message == "gone" and task.found == []

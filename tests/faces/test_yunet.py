"""The YuNet back-end around a stand-in for FaceDetectorYN that answers as OpenCV documents it; the network itself is not here."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from auformer.faces import make_detector, yunet
from auformer.faces.regressor import MODEL
from auformer.faces.yunet import YUNET, Remote, YuNet, make_yunet, parse

# x, y, w, h; right eye, left eye, nose, right and left corner of the mouth of the person; score.
ROW = [10, 20, 60, 80, 25, 45, 55, 46, 41, 60, 28, 80, 52, 81, 0.9]


class StandIn:
    """Answers each search with the next entry and notes what it was asked."""

    def __init__(self, *answers):
        self.answers, self.sizes, self.images = list(answers), [], []

    def setInputSize(self, size):
        self.sizes.append(size)

    def detect(self, image):
        assert image.shape[1::-1] == self.sizes[-1], "OpenCV refuses an image of another size"
        self.images.append(image)
        rows = self.answers.pop(0)
        return 1, None if rows is None else np.array(rows, np.float32)


@pytest.fixture
def detector(monkeypatch, tmp_path):
    """Makes a detector whose network is a stand-in."""

    def make(*answers, **limits):
        model = tmp_path / "model.onnx"
        model.write_bytes(b"a model")
        standing = StandIn(*answers)
        monkeypatch.setattr(yunet, "_load", lambda path, score: standing)
        monkeypatch.setattr(yunet, "_per_thread", yunet.threading.local())
        return make_detector(f"yunet:{model}", **limits), standing

    return make


def test_an_answer_by_hand(detector):
    found, standing = detector([ROW])
    image = np.zeros((120, 160, 3), np.uint8)
    image[..., 0] = 7  # red
    (face,) = found(image)
    assert face.box == (10, 20, 60, 80) and face.score == pytest.approx(0.9) and face.points_source == "yunet"
    assert np.array_equal(
        face.points, [(25, 45), (55, 46), (41, 60), (28, 80), (52, 81)]
    )  # the person's right is image left
    assert standing.sizes == [(160, 120)] and standing.images[0][0, 0].tolist() == [0, 0, 7], "OpenCV wants blue first"
    assert (found.name, found.version) == ("yunet", "model.onnx 09c95d65edb2") or found.version.startswith(
        "model.onnx "
    )


def test_large_images_are_searched_in_a_copy(detector):
    found, standing = detector([ROW])
    (face,) = found(np.zeros((960, 1280, 3), np.uint8))
    assert (
        standing.sizes == [(640, 480)] and face.box == (20, 40, 120, 160) and np.array_equal(face.points[1], (110, 92))
    )


def test_a_face_too_large_for_the_network_is_searched_in_a_smaller_copy(detector):
    found, standing = detector(None, [ROW])
    (face,) = found(np.zeros((960, 1280, 3), np.uint8))
    assert standing.sizes == [(640, 480), (320, 240)] and face.box == (40, 80, 240, 320)
    found, standing = detector(None)
    assert found(np.zeros((240, 320, 3), np.uint8)) == [] and standing.sizes == [(320, 240)]


def test_several_faces_largest_first_small_ones_left_out(detector):
    second, small = [*ROW], [*ROW]
    second[:4], small[:4] = (100, 20, 70, 80), (200, 100, 30, 30)
    found, _ = detector([ROW, second, small])
    assert [face.box[2] for face in found(np.zeros((200, 300, 3), np.uint8))] == [70, 60]
    found, _ = detector([ROW, second, small], min_size=0, min_score=0.95)
    assert found(np.zeros((200, 300, 3), np.uint8)) == []


def test_no_answer():
    assert parse(None, (1.0, 1.0)) == [] and parse(np.zeros((0, 15), np.float32), (1.0, 1.0)) == []


def test_it_travels(tmp_path):
    assert pickle.loads(pickle.dumps(YuNet("a.onnx", 0.6))) == YuNet("a.onnx", 0.6)


def test_a_missing_or_wrong_file(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*nothing\.onnx"):
        make_detector(f"yunet:{tmp_path / 'nothing.onnx'}")
    (tmp_path / "wrong.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"to be a YuNet model in ONNX, but OpenCV .* cannot read it"):
        make_detector(f"yunet:{tmp_path / 'wrong.onnx'}")


def test_the_score_that_the_network_is_given(monkeypatch):
    scores = []
    monkeypatch.setattr(yunet, "_load", lambda path, score: scores.append(score))
    assert make_yunet(str(MODEL), None, None).min_score == 0.6 and make_yunet(str(MODEL), 0.3, None).min_score == 0.3
    assert scores == [0.6, 0.3]


def test_the_model_is_fetched_on_first_use(monkeypatch, tmp_path):
    """From the cache where it is; else the error names both ways out."""
    monkeypatch.setattr(yunet, "_load", lambda path, score: None)
    monkeypatch.setattr(yunet, "fetch", lambda remote, cache: tmp_path / remote.name if cache == tmp_path else None)
    (tmp_path / YUNET.name).write_bytes(b"a model")
    assert make_detector("yunet", cache=tmp_path).backend.path == str(tmp_path / YUNET.name)


def test_no_network_no_model(monkeypatch, tmp_path):
    monkeypatch.setattr(
        yunet, "YUNET", Remote(YUNET.name, ("http://127.0.0.1:9/x",), YUNET.sha256, YUNET.size, YUNET.instead)
    )
    with pytest.raises(
        ConnectionError,
        match=r"yunet_2023mar\.onnx \(232,589 bytes\).*put it at .*yunet:FILE; or use the detector `cascade`",
    ):
        make_detector("yunet", cache=tmp_path)
    assert all("opencv_zoo" in url and url.startswith("https://") for url in YUNET.urls) and len(YUNET.sha256) == 64

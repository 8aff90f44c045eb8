"""The YuNet back-end around a stand-in for FaceDetectorYN that answers as OpenCV documents it.

The network itself is not here.
"""

import hashlib
import http.server
import pickle
import threading

import numpy as np
import pytest

from auformer.faces import make_detector, yunet
from auformer.faces.regressor import MODEL
from auformer.faces.yunet import YuNet, cache_folder, fetch, make_yunet

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
    # the person's right is image left
    assert np.array_equal(face.points, [(25, 45), (55, 46), (41, 60), (28, 80), (52, 81)])
    assert standing.sizes == [(160, 120)] and standing.images[0][0, 0].tolist() == [0, 0, 7], "OpenCV wants blue first"
    assert found.name == "yunet" and found.version.startswith("model.onnx ")


def test_large_images_are_searched_in_a_copy(detector):
    found, standing = detector([ROW])
    (face,) = found(np.zeros((960, 1280, 3), np.uint8))
    assert standing.sizes == [(640, 480)] and face.box == (20, 40, 120, 160)
    assert np.array_equal(face.points[1], (110, 92))
    # a face too large for the network: a smaller copy still
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


def test_it_travels():
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


BODY = np.random.default_rng(0).bytes(200_000)


@pytest.fixture
def serve(monkeypatch):
    """Start the model's servers on this machine, which answer with the bytes given (None: not found)."""
    servers = []

    def start(*bodies):
        asked = []
        for number, body in enumerate(bodies):

            class Handler(http.server.BaseHTTPRequestHandler):
                number_, body_ = number, body

                def do_GET(self):
                    asked.append(self.number_)
                    if self.body_ is None:
                        self.send_error(404)
                        return
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(self.body_)

                def log_message(self, *words):
                    pass

            servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setattr(yunet, "URLS", [f"http://127.0.0.1:{server.server_port}/x" for server in servers])
        monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(BODY).hexdigest())
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_model_is_fetched_once(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(yunet, "_load", lambda path, score: None)
    asked, cache = serve(BODY), tmp_path / "new" / "cache"
    for _ in range(2):
        assert make_detector("yunet", cache=cache).backend.path == str(cache / yunet.MODEL)
        assert asked == [0] and [each.name for each in cache.iterdir()] == [yunet.MODEL]
    assert (cache / yunet.MODEL).read_bytes() == BODY


@pytest.mark.parametrize("first", [None, b"", BODY[:99], BODY + b"more"])
def test_the_next_address_is_asked(serve, tmp_path, first):
    """For a file that is not there, broken off, or another one."""
    asked = serve(first, BODY)
    assert fetch(tmp_path).read_bytes() == BODY and asked == [0, 1]


def test_no_network_no_model(serve, tmp_path):
    """The error says why, and names the ways out; nothing is left."""
    serve(None, BODY[:-1] + b"?")
    found = r"232,589 bytes.*HTTP Error 404.*invalid hash.*put it at .*yunet:FILE; or use the face detector `cascade`"
    with pytest.raises(ConnectionError, match=found):
        make_detector("yunet", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_addresses_are_the_zoo_s():
    assert all("opencv_zoo" in url and url.startswith("https://") for url in yunet.URLS) and len(yunet.SHA256) == 64


def test_a_damaged_cache_is_never_used(tmp_path):
    (tmp_path / yunet.MODEL).write_bytes(BODY[:99])
    with pytest.raises(ValueError, match=r"remove it, so that it is fetched again"):
        make_detector("yunet", cache=tmp_path)


def test_where_files_are_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("AUFORMER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "auformer"
    monkeypatch.setenv("AUFORMER_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" and cache_folder(tmp_path / "given") == tmp_path / "given"

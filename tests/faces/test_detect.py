"""Finding faces: order, limits, coordinates, bad input, and a real photograph."""

import multiprocessing
import pickle
import threading

import cv2
import numpy as np
import pytest

import auformer.faces.cascade as cascade
from auformer.errors import FaceNotFoundError, MissingExtraError
from auformer.faces import Detector, Face, align, detect, make_detector, require_faces
from auformer.synthetic import Identity, Renderer

SIZE = 160


@pytest.fixture(scope="module")
def portrait():
    """A frontal rendered face that fills its image, and its landmarks."""
    renderer = Renderer(SIZE)
    rendered = renderer.render(renderer.bake(Identity.sample(30_001)), np.zeros(17), points=True)
    return rendered.image, rendered.points


def place(canvas, image, x, y, side):
    canvas[y : y + side, x : x + side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def plain(height, width):
    return np.full((height, width, 3), 120, np.uint8)


class TestFaces:
    def test_a_face_that_fills_the_image(self, portrait):
        image, points = portrait
        (face,) = detect(image)
        distance = np.hypot(*(points[1] - points[0]))
        assert np.hypot(*(face.points - points).T).max() < 0.06 * distance
        assert face.points.shape == (5, 2) and face.points_source == "regressor" and 0.5 <= face.score <= 1
        x, y, w, h = face.box
        assert w == h and x < points[:, 0].min() and points[:, 0].max() < x + w
        assert y < points[:, 1].min() and points[:, 1].max() < y + h

    def test_largest_first_and_where_they_stand(self, portrait):
        image, points = portrait
        canvas = plain(260, 420)
        for x, y, side in ((10, 60, 110), (180, 20, 220)):
            place(canvas, image, x, y, side)
        faces = detect(canvas)
        assert len(faces) == 2 and faces[0].box[2] > 1.5 * faces[1].box[2]
        for face, (x, y, side) in zip(faces, ((180, 20, 220), (10, 60, 110)), strict=True):
            assert np.abs(face.points[:2] - (points[:2] * side / SIZE + (x, y))).max() < 0.04 * side

    @pytest.mark.parametrize("factor", [3, 8])
    def test_coordinates_of_large_photos_are_their_own(self, portrait, factor):
        """Searched in a smaller copy, answered in the photo's pixels."""
        image, points = portrait
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        (face,) = detect(large)
        assert np.hypot(*(face.points[:2] - points[:2] * factor).T).max() < 0.08 * factor * np.hypot(
            *(points[1] - points[0])
        )
        assert np.allclose(face.box, np.array(detect(image)[0].box) * factor, atol=0.08 * SIZE * factor)

    def test_grey_faces_in_colour(self, portrait):
        grey = np.repeat(cv2.cvtColor(portrait[0], cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        assert len(detect(grey)) == 1

    def test_limits_of_size_and_score(self, portrait):
        image, _ = portrait
        (face,) = detect(image)
        assert detect(image, min_size=int(1.3 * face.box[2])) == []
        assert len(detect(image, min_size=int(0.8 * face.box[2]))) == 1
        assert detect(image, min_score=1.0) == []
        small = plain(120, 120)
        place(small, image, 40, 40, 34)
        assert detect(small) == []  # its box would have 33 pixels

    def test_the_input_is_not_touched(self, portrait):
        image = portrait[0].copy()
        detect(image)
        assert np.array_equal(image, portrait[0])

    def test_threads_have_cascades_of_their_own(self, portrait):
        image, _ = portrait
        wanted = detect(image)[0].points
        found: list[np.ndarray] = []
        threads = [
            threading.Thread(target=lambda: found.extend(detect(image)[0].points for _ in range(3))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6 and all(np.array_equal(points, wanted) for points in found)


class TestNothingThere:
    @pytest.mark.parametrize("shape", [(64, 64), (1, 1), (3, 500), (500, 3)])
    def test_empty_images(self, shape, rng):
        assert detect(plain(*shape)) == []
        assert detect(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) == []

    def test_a_face_on_its_side_or_upside_down_is_not_found(self, portrait):
        """What the documentation says it cannot do."""
        for turns in (1, 2, 3):
            assert detect(np.ascontiguousarray(np.rot90(portrait[0], turns))) == []


class TestCascade:
    """What the back-end does around OpenCV's cascades."""

    def test_a_face_without_eyes_scores_less(self, monkeypatch, portrait):
        (sure,) = detect(portrait[0])
        monkeypatch.setattr(
            cascade, "choose_points", lambda gray, box, cascades: (np.zeros((5, 2)), "regressor", False)
        )
        (unsure,) = detect(portrait[0])
        assert unsure.score == pytest.approx(0.6 * sure.score)


class TestTheLargestFaceOnly:
    """What `make_detector(..., largest=True)` may leave out, and what not."""

    @pytest.fixture
    def canvas(self, portrait):
        canvas = plain(768, 1024)
        place(canvas, portrait[0], 700, 40, 110)
        return canvas

    def test_the_largest_is_the_same(self, canvas, portrait):
        place(canvas, portrait[0], 60, 200, 420)
        quick, every = make_detector("cascade", largest=True)(canvas), detect(canvas)
        assert len(every) == 2 and len(quick) == 1
        distance = np.hypot(*(every[0].points[1] - every[0].points[0]))
        assert np.hypot(*(quick[0].points - every[0].points).T).max() < 0.02 * distance

    def test_a_small_one_where_there_is_no_large_one(self, canvas):
        (quick,), (every,) = make_detector("cascade", largest=True)(canvas), detect(canvas)
        assert quick.box == every.box and np.array_equal(quick.points, every.points)

    def test_small_ones_are_not_searched_where_there_is_a_large_one(self, canvas, portrait, monkeypatch):
        place(canvas, portrait[0], 60, 200, 420)
        monkeypatch.setattr(cascade, "find_boxes", lambda *_: pytest.fail("small faces were searched"))
        assert len(make_detector("cascade", largest=True)(canvas)) == 1


class TestBadInput:
    @pytest.mark.parametrize(
        "image",
        [plain(50, 50)[..., 0], np.zeros((50, 50, 4), np.uint8), np.zeros((50, 50, 3)), plain(0, 50), "a.jpg", None],
    )
    def test_images_of_another_form(self, image):
        with pytest.raises(ValueError, match=r"uint8 RGB array of shape \(H, W, 3\)"):
            detect(image)

    def test_an_opencv_without_cascades(self, portrait, monkeypatch):
        monkeypatch.setattr(cascade, "_per_thread", threading.local())
        monkeypatch.delattr(cv2, "CascadeClassifier")
        with pytest.raises(MissingExtraError, match=r'pip install "opencv-python-headless>=4.9,<5"'):
            detect(portrait[0])


def found_by(job):
    """In another process: points of the first face."""
    detector, image = job
    return detector(image)[0].points


def same(one: list[Face], other: list[Face]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.points, b.points) and a.box == b.box for a, b in zip(one, other, strict=True)
    )


def test_the_cascade(portrait):
    portrait = portrait[0]
    detector = make_detector("cascade")
    assert (detector.name, detector.min_score, detector.min_size) == ("cascade", 0.5, 40)
    assert cv2.__version__ in detector.version and "points.onnx" in detector.version
    assert same(detector(portrait), detect(portrait)) and same(
        detector(portrait, file="a.jpg", frame=3), detect(portrait)
    )


def test_it_travels(portrait):
    portrait = portrait[0]
    detector = make_detector("cascade", min_score=0.4)
    again = pickle.loads(pickle.dumps(detector))
    assert isinstance(again, Detector) and again == detector and same(again(portrait), detector(portrait))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (points,) = pool.map(found_by, [(detector, portrait)])
    assert np.array_equal(points, detector(portrait)[0].points)


@pytest.mark.parametrize("spec", ["dlib", "", "cascade:", "cascade:x", "yunet:", "table", "table:", "Cascade"])
def test_unknown_specifications(spec):
    with pytest.raises(ValueError, match="one of cascade, yunet, yunet:FILE, table:FILE, but got"):
        make_detector(spec)


def test_limits():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        make_detector("cascade", min_score=-0.1)
    backend = make_detector("cascade").backend
    assert make_detector("cascade", min_score=0.0, min_size=0) == Detector(
        "cascade", backend.version(), backend, 0.0, 0
    )


def test_a_detector_in_place_of_its_specification(portrait):
    portrait = portrait[0]
    detector = make_detector("cascade")
    assert same(require_faces(portrait, backend=detector), detect(portrait))
    for size in (40, 200):
        with pytest.raises(
            FaceNotFoundError, match=f"no face found in 80 x 50 pixels.*upright.*at least {size} pixels"
        ):
            require_faces(plain(50, 80), backend=make_detector("cascade", min_size=size))


class TestSelection:
    """Which of a back-end's answers stay."""

    def faces(self, *entries, **limits):
        listed = [Face(box, score, np.zeros((5, 2)), "yunet") for box, score in entries]
        backend = type("Listed", (), {"__call__": lambda self, image, file, frame, size: listed})()
        limits = {"min_score": 0.5, "min_size": 40, **limits}
        return [face.box for face in Detector("listed", "1", backend, **limits)(np.zeros((10, 10, 3), np.uint8))]

    def test_of_two_boxes_on_one_place_the_surer_stays(self):
        outer, inner, beside = (0, 0, 100, 100), (30, 30, 50, 50), (90, 0, 80, 80)
        assert self.faces((outer, 0.9), (inner, 0.6), (beside, 0.7)) == [outer, beside]
        assert self.faces((outer, 0.6), (inner, 0.9), (beside, 0.7)) == [beside, inner]

    def test_unsure_and_small_faces_are_left_out(self):
        assert self.faces(((0, 0, 50, 50), 0.49), ((60, 0, 50, 50), 0.5), ((160, 0, 39, 80), 0.9)) == [(60, 0, 50, 50)]
        assert self.faces(((0, 0, 9, 9), 0.1), min_score=0.0, min_size=0) == [(0, 0, 9, 9)]

    def test_an_unsure_box_hides_no_other(self):
        """A face that is left out for its size does not take the place of the one around it."""
        assert self.faces(((0, 0, 100, 100), 0.6), ((40, 40, 20, 20), 0.9)) == [(0, 0, 100, 100)]


def sample(name):
    """A photo that comes with matplotlib."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data(name, asfileobj=True) as file:
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def astronaut():
    """Scikit-image's portrait of Eileen Collins."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed; it brings the photograph")
    return data.astronaut()


@pytest.mark.parametrize(
    ("photo", "pupils", "off"),
    [
        (astronaut, [(203.5, 100.7), (247.0, 103.2)], 0.07),
        (lambda: sample("grace_hopper.jpg"), [(222.5, 189.0), (305.0, 186.5)], 0.10),
    ],
)
def test_real_photographs(photo, pupils, off):
    """Two portraits in the public domain; pupils read off the photos by eye."""
    image = photo()
    (face,) = detect(image)
    assert face.points_source == "regressor" and face.score > 0.8
    assert np.hypot(*(face.points[:2] - pupils).T).max() < off * np.hypot(*np.subtract(*pupils))
    crop, _ = align(image, face.points, size=112)
    assert crop.shape == (112, 112, 3)

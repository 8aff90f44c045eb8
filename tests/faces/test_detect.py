"""Finding faces: order, limits, coordinates, bad input, and a real photograph."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import auformer.faces.cascade as cascade
from auformer.data.images import read_image
from auformer.errors import FaceNotFoundError, MissingExtraError
from auformer.faces import Detector, Face, detect, make_detector, require_faces
from auformer.synthetic import LABS, Identity, Renderer, sample_aus, sample_scene

SIZE = 160


@pytest.fixture
def image(portrait):
    return portrait[0]


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
        distance = factor * np.hypot(*(points[1] - points[0]))
        assert np.hypot(*(face.points[:2] - points[:2] * factor).T).max() < 0.08 * distance
        assert np.allclose(face.box, np.array(detect(image)[0].box) * factor, atol=0.08 * SIZE * factor)

    def test_grey_faces_in_colour(self, image):
        grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        assert len(detect(grey)) == 1

    def test_limits_of_size_and_score(self, image):
        (face,) = detect(image)
        assert detect(image, min_size=int(1.3 * face.box[2])) == []
        assert len(detect(image, min_size=int(0.8 * face.box[2]))) == 1
        assert detect(image, min_score=1.0) == []
        small = plain(120, 120)
        place(small, image, 40, 40, 34)
        assert detect(small) == []  # its box would have 33 pixels

    def test_the_input_is_not_touched(self, image):
        before = image.copy()
        detect(image)
        assert np.array_equal(image, before)

    def test_threads_have_cascades_of_their_own(self, image):
        wanted = detect(image)[0].points
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(lambda _: detect(image)[0].points, range(6)))
        assert all(np.array_equal(points, wanted) for points in found)


class TestNothingThere:
    @pytest.mark.parametrize("shape", [(64, 64), (1, 1), (3, 500), (500, 3)])
    def test_empty_images(self, shape, rng):
        assert detect(plain(*shape)) == []
        assert detect(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) == []

    def test_a_face_on_its_side_or_upside_down_is_not_found(self, image):
        """What the documentation says it cannot do."""
        for turns in (1, 2, 3):
            assert detect(np.ascontiguousarray(np.rot90(image, turns))) == []


def test_a_face_without_eyes_scores_less(monkeypatch, image):
    (sure,) = detect(image)
    monkeypatch.setattr(cascade, "choose_points", lambda *_: (np.zeros((5, 2)), "regressor", False, 0.3))
    (seen,) = detect(image)
    assert seen.score < sure.score and seen.points.any()  # the landmark network has looked for itself
    monkeypatch.setattr(cascade, "search", lambda *_: [])
    (unsure,) = detect(image)
    assert unsure.score == pytest.approx(0.6 * sure.score)


class TestTheLargestFaceOnly:
    """What `make_detector(..., largest=True)` may leave out, and what not."""

    @pytest.fixture
    def canvas(self, image):
        canvas = plain(768, 1024)
        place(canvas, image, 700, 40, 110)
        return canvas

    def test_the_largest_is_the_same(self, canvas, image):
        place(canvas, image, 60, 200, 420)
        quick, every = make_detector("cascade", largest=True)(canvas), detect(canvas)
        assert len(every) == 2 and len(quick) == 1
        distance = np.hypot(*(every[0].points[1] - every[0].points[0]))
        assert np.hypot(*(quick[0].points - every[0].points).T).max() < 0.02 * distance

    def test_a_small_one_where_there_is_no_large_one(self, canvas):
        (quick,), (every,) = make_detector("cascade", largest=True)(canvas), detect(canvas)
        assert quick.box == every.box and np.array_equal(quick.points, every.points)

    def test_small_ones_are_not_searched_where_there_is_a_large_one(self, canvas, image, monkeypatch):
        place(canvas, image, 60, 200, 420)
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

    def test_an_opencv_without_cascades(self, image, monkeypatch):
        monkeypatch.setattr(cascade, "_per_thread", threading.local())
        monkeypatch.delattr(cv2, "CascadeClassifier")
        with pytest.raises(MissingExtraError, match=r'pip install "opencv-python-headless>=4.9,<5"'):
            detect(image)


def same(one: list[Face], other: list[Face]) -> bool:
    assert [face.box for face in one] == [face.box for face in other]
    return all(np.array_equal(a.points, b.points) for a, b in zip(one, other, strict=True))


def test_the_cascade(image):
    detector = make_detector("cascade")
    assert (detector.name, detector.min_score, detector.min_size) == ("cascade", 0.5, 40)
    assert cv2.__version__ in detector.version and "points.onnx" in detector.version
    wanted = detect(image)
    assert same(detector(image), wanted) and same(detector(image, file="a.jpg", frame=3), wanted)


def test_it_travels_to_another_process(image):
    detector = make_detector("cascade", min_score=0.4)
    assert pickle.loads(pickle.dumps(detector)) == detector
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(detector, [image])
    assert same(found, detector(image))


@pytest.mark.parametrize("spec", ["dlib", "", "cascade:", "cascade:x", "yunet:", "table", "table:", "Cascade"])
def test_unknown_specifications(spec):
    with pytest.raises(ValueError, match="one of cascade, yunet, yunet:FILE, table:FILE, but got"):
        make_detector(spec)


def test_limits():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        make_detector("cascade", min_score=-0.1)
    backend = make_detector("cascade").backend
    wanted = Detector("cascade", backend.version(), backend, 0.0, 0)
    assert make_detector("cascade", min_score=0.0, min_size=0) == wanted


def test_a_detector_in_place_of_its_specification(image):
    assert same(require_faces(image, backend=make_detector("cascade")), detect(image))
    for size in (40, 200):
        message = f"no face found in 80 x 50 pixels.*upright.*at least {size} pixels"
        with pytest.raises(FaceNotFoundError, match=message):
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


def admiral():
    """Matplotlib's photograph of Grace Hopper."""
    from matplotlib.cbook import get_sample_data

    return read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))


def astronaut():
    """Scikit-image's portrait of Eileen Collins."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed; it brings the photograph")
    return data.astronaut()


@pytest.mark.parametrize(
    ("photo", "pupils", "off"),
    [(astronaut, [(203.5, 100.7), (247.0, 103.2)], 0.07), (admiral, [(222.5, 189.0), (305.0, 186.5)], 0.10)],
)
def test_real_photographs(photo, pupils, off):
    """Two portraits in the public domain; pupils read off the photos by eye."""
    image = photo()
    (face,) = detect(image)
    assert face.points_source == "regressor" and face.score > 0.8
    assert np.hypot(*(face.points[:2] - pupils).T).max() < off * np.hypot(*np.subtract(*pupils))


@pytest.fixture(scope="module")
def measured():
    """Pupil errors in inter-pupil distances on 24 rendered faces per lab; a missed face has none."""
    renderer = Renderer(128)
    errors: dict[str, list[float]] = {lab: [] for lab in LABS}
    for number in range(24):
        face = renderer.bake(Identity.sample(31_000 + number))
        for lab in LABS:
            rng = np.random.default_rng([number, ord(lab)])
            scene, background = sample_scene(rng, lab)
            look = {"scene": scene, "background": renderer.background(rng, **background), "seed": number}
            rendered = renderer.render(face, sample_aus(rng, lab)[1], points=True, **look)
            true = rendered.points[:2]
            for found in detect(rendered.image)[:1]:
                off = np.hypot(*(found.points[:2] - true).T).mean() / np.hypot(*(true[1] - true[0]))
                errors[lab].append(float(off))
    return errors


@pytest.mark.parametrize(("lab", "found", "median", "most"), [("A", 23, 0.02, 0.035), ("B", 21, 0.025, 0.045)])
def test_how_many_rendered_faces_are_found_and_how_near(measured, lab, found, median, most):
    """Expressions, poses, glasses, beards, skin of all tones."""
    errors = np.array(measured[lab])
    assert len(errors) >= found, f"{len(errors)} of 24 faces found"
    assert np.median(errors) < median and np.percentile(errors, 90) < most, np.round(np.sort(errors), 3)

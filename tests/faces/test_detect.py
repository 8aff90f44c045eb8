"""Finding faces: order, limits, coordinates, bad input, and a real photograph."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

import auformer.faces.cascade as cascade
from auformer.errors import FaceNotFoundError, MissingExtraError
from auformer.faces import align, detect, make_detector, require_faces
from auformer.synthetic import Identity, Renderer

SIZE = 160


@pytest.fixture(scope="module")
def portrait():
    """A frontal rendered face that fills its picture, and its points."""
    renderer = Renderer(SIZE)
    rendered = renderer.render(renderer.bake(Identity.sample(30_001)), np.zeros(17), points=True)
    return rendered.image, rendered.points


def place(canvas, image, x, y, side):
    canvas[y : y + side, x : x + side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def plain(height, width):
    return np.full((height, width, 3), 120, np.uint8)


class TestFaces:
    def test_a_face_that_fills_the_picture(self, portrait):
        image, points = portrait
        (face,) = detect(image)
        distance = np.hypot(*(points[1] - points[0]))
        assert np.hypot(*(face.points - points).T).max() < 0.06 * distance
        assert face.points.shape == (5, 2) and face.points_source == "regressor" and 0.5 <= face.score <= 1
        x, y, w, h = face.box
        assert (
            w == h
            and x < points[:, 0].min()
            and points[:, 0].max() < x + w
            and y < points[:, 1].min()
            and points[:, 1].max() < y + h
        )

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
    def test_empty_pictures(self, shape, rng):
        assert detect(plain(*shape)) == []
        assert detect(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) == []

    def test_a_face_on_its_side_or_upside_down_is_not_found(self, portrait):
        """What the documentation says it cannot do."""
        for turns in (1, 2, 3):
            assert detect(np.ascontiguousarray(np.rot90(portrait[0], turns))) == []

    def test_the_message_says_what_can_be_found(self):
        with pytest.raises(FaceNotFoundError, match="no face found in 80 x 50 pixels.*upright.*at least 40 pixels"):
            require_faces(plain(50, 80))


class TestCascade:
    """What the back-end does around OpenCV's cascades."""

    def test_a_face_without_eyes_scores_less(self, monkeypatch, portrait):
        (sure,) = detect(portrait[0])
        monkeypatch.setattr(
            cascade, "choose_points", lambda gray, box, cascades: (np.zeros((5, 2)), "regressor", False)
        )
        (unsure,) = detect(portrait[0])
        assert unsure.score == pytest.approx(0.6 * sure.score)

    def test_a_second_look_where_the_first_finds_nothing(self, monkeypatch, portrait):
        """The whites of the eyes are the brightest spots of a dark face; the second look darkens them."""
        looks = []
        real = cascade._look

        def look(gray, smallest):
            looks.append(gray)
            return real(gray, smallest) if len(looks) > 1 else (np.zeros((0, 4)), np.zeros(0))

        monkeypatch.setattr(cascade, "_look", look)
        assert len(detect(portrait[0])) == 1 and len(looks) == 2
        dot = plain(40, 40)[..., 0]
        dot[20:22, 20:22] = 255
        dark = cascade._without_highlights(dot)
        assert dark.max() <= 121 and (dark[:10] == 120).all()


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

    def test_options(self, portrait):
        with pytest.raises(ValueError, match="one of cascade, yunet, .*but got 'dlib'"):
            detect(portrait[0], backend="dlib")
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            detect(portrait[0], min_score=2)

    def test_an_opencv_without_cascades(self, portrait, monkeypatch):
        monkeypatch.setattr(cascade, "_per_thread", threading.local())
        monkeypatch.delattr(cv2, "CascadeClassifier")
        with pytest.raises(MissingExtraError, match=r'pip install "opencv-python-headless>=4.9,<5"'):
            detect(portrait[0])


def sample(name):
    """A picture that comes with matplotlib."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data(name, asfileobj=True) as file:
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def astronaut():
    """Scikit-image's portrait of Eileen Collins."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed; it brings the photograph")
    return data.astronaut()


@pytest.mark.parametrize(
    ("picture", "pupils", "off"),
    [
        (astronaut, [(203.5, 100.7), (247.0, 103.2)], 0.07),
        (lambda: sample("grace_hopper.jpg"), [(222.5, 189.0), (305.0, 186.5)], 0.10),
    ],
)
def test_real_photographs(picture, pupils, off):
    """Two portraits in the public domain; pupils read off the pictures by eye."""
    image = picture()
    (face,) = detect(image)
    assert face.points_source == "regressor" and face.score > 0.8
    assert np.hypot(*(face.points[:2] - pupils).T).max() < off * np.hypot(*np.subtract(*pupils))
    crop, _ = align(image, face.points, size=112)
    assert crop.shape == (112, 112, 3)

"""The network for five landmarks: its file, its numbers, its squares, and how well it does."""

import cv2
import numpy as np
import pytest

from auformer.faces import align
from auformer.faces.recipes import Square
from auformer.faces.regressor import INPUT, MODEL, locate, locate_in_any_box, look, model_version, normalise, square_of

COMMITTED = np.array(
    [(0.33195, 0.33046), (0.58466, 0.42239), (0.48126, 0.55145), (0.27355, 0.6453), (0.50591, 0.73043)]
)
FACE = np.array([(100.0, 100.0), (140.0, 100.0), (121.0, 122.0), (104.0, 145.0), (138.0, 143.0)])


@pytest.fixture
def grey(portrait):
    image, points = portrait
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), points.astype(float)


def box_of(points):
    """The cascade's box of a face with these points."""
    side = np.hypot(*(points[1] - points[0])) / 0.4
    x, y = points[:2].mean(0) - (side / 2, 0.413 * side)
    return (x, y, side, side)


def error(found, true):
    return np.hypot(*(found - true).T).max() / np.hypot(*(true[1] - true[0]))


def test_the_file():
    assert MODEL.stat().st_size <= 2**20
    assert len(model_version()) == 12 and int(model_version(), 16)


def test_committed_numbers():
    """What the packaged file answers to a pattern that needs no renderer; another file must come with other numbers."""
    i, j = np.mgrid[:INPUT, :INPUT]
    pattern = ((i * i + 3 * j * j + 2 * i * j) // 32 % 256).astype(np.uint8)
    square = Square(np.array([INPUT / 2, INPUT / 2]), np.array([INPUT / 2, 0.0]))
    assert np.allclose(look(pattern, square) / INPUT, COMMITTED, atol=1e-4)


def test_as_another_runtime_computes_it(grey):
    """ONNX Runtime, where there is one."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    gray, points = grey
    crop = align(gray, points, "eyes", INPUT)[0]
    (wanted,) = session.run(None, {"crop": normalise(crop)[None, None]})
    net = cv2.dnn.readNetFromONNX(str(MODEL))
    net.setInput(normalise(crop)[None, None])
    assert np.abs(net.forward() - wanted).max() < 1e-4 and wanted.shape == (1, 5, 2)


def test_contrast_and_brightness_do_not_matter():
    values = np.random.default_rng(0).integers(60, 120, (INPUT, INPUT), dtype=np.uint8)
    assert np.allclose(normalise(values), normalise(2 * values - 90), atol=1e-5)
    assert np.abs(normalise(np.full((INPUT, INPUT), 9, np.uint8))).max() == 0


class TestWhereItLooks:
    def test_square_by_hand(self):
        """Pupils 40 apart, mouth 44 below: a level square of 110 around 16.8 below the middle."""
        square = square_of(FACE)
        assert np.allclose(square.centre, (120, 116.8)) and np.allclose(square.axis, (55, 0))
        quarter = square_of(np.stack([-FACE[:, 1], FACE[:, 0]], 1))  # clockwise on the screen
        assert np.allclose(quarter.centre, (-116.8, 120)) and np.allclose(quarter.axis, (0, 55))

    def test_turned_heads_are_as_large_as_their_mouth_says(self):
        narrow = FACE.copy()
        narrow[1] = (120, 100)  # pupils 20 apart, mouth 45.1 from the middle between them
        assert np.hypot(*square_of(narrow).axis) == pytest.approx(2.75 / 2 * 0.8 * np.hypot(11, 44))

    def test_points_in_one_place_do_not_divide_by_nothing(self):
        assert np.isfinite(square_of(np.zeros((5, 2))).matrix(8)).all()


class TestHowWell:
    def test_a_frontal_face(self, grey):
        gray, points = grey
        assert error(locate(gray, box_of(points)), points) < 0.06

    @pytest.mark.parametrize("move", [(0.08, 0, 1), (0, -0.08, 1), (0, 0, 1.15), (-0.05, 0.05, 0.87)])
    def test_the_box_hardly_matters(self, grey, move):
        gray, points = grey
        x, y, w, _ = box_of(points)
        dx, dy, factor = move
        side = w * factor
        moved = (x + dx * w - (side - w) / 2, y + dy * w - (side - w) / 2, side, side)
        assert error(locate(gray, moved), locate(gray, box_of(points))) < 0.02

    @pytest.mark.parametrize("degrees", [-25, 25])
    def test_tilted(self, grey, degrees):
        gray, points = grey
        turn = cv2.getRotationMatrix2D((80, 80), degrees, 1.0)
        turned = cv2.warpAffine(gray, turn, (160, 160), borderMode=cv2.BORDER_REPLICATE)
        moved = (points - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
        assert error(locate(turned, box_of(points)), moved) < 0.08

    def test_a_box_of_another_make(self, grey):
        """Tall, from the brows to the chin and from cheek to cheek."""
        gray, points = grey
        unit = np.hypot(*(points[1] - points[0]))
        x, y = points[:2].mean(0)
        assert error(locate_in_any_box(gray, (x - unit, y - 0.7 * unit, 2 * unit, 2.4 * unit)), points) < 0.06

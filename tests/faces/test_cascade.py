"""How pupils are chosen: from what the eye cascades report, and between them and the network."""

import cv2
import numpy as np
import pytest

from auformer.faces import cascade, detect
from auformer.faces.cascade import choose_points, complete_points, contradiction, find_points
from auformer.faces.certainty import search
from auformer.predict.tracking import overlap
from auformer.synthetic import Renderer, sample_scene
from tests.helpers.photos import face_image

BOX = (50.0, 40.0, 100.0, 100.0)
EXPECTED = np.array([(80.0, 81.3), (120.0, 81.3)])  # 0.30, 0.70 and 0.413 of the side
GRAY = np.zeros((200, 200), np.uint8)
PIXEL = 0.44  # of the image per pixel of the searched piece: 44 of 100 pixels
FACE = np.array([(100.0, 100.0), (140.0, 100.0), (121.0, 122.0), (104.0, 145.0), (138.0, 143.0)])


class Cascade:
    """Answers each search with the next windows, whose centres are offsets in image pixels from the expected place."""

    def __init__(self, *answers):
        self.answers, self.searches = list(answers), 0

    def detectMultiScale(self, patch, *args, **options):
        assert patch.shape == (100, 100)
        self.searches += 1
        offsets = self.answers.pop(0)
        return [(50 + x / PIXEL - 25, 50 + y / PIXEL - 25, 50, 50) for x, y in offsets]


@pytest.mark.parametrize(
    ("left", "right", "source", "moved"),
    [
        ([(2, -1)], [(-3, 1)], "eyes", [(2, -1), (-3, 1)]),
        ([(9, 0), (1, 1), (-8, 3)], [(13, 0)], "one_eye", [(1, 1), (0.5, 0.5)]),  # the nearest; far ones are none
        ([], [(4, -6)], "one_eye", [(2, -3), (4, -6)]),  # the other one follows half-way
        ([], [], "box", [(0, 0), (0, 0)]),
        # two that cannot be of one face, of which the nearer to its place stays
        ([(8, 0)], [(-7, 1)], "one_eye", [(-3.5, 0.5), (-7, 1)]),  # 25 of 100 apart: too near
        ([(-9, 0)], [(9.5, 0)], "one_eye", [(-9, 0), (-4.5, 0)]),  # 58.5 apart: too far
        ([(2, -9)], [(0, 9.5)], "one_eye", [(2, -9), (1, -4.5)]),  # the eye line would fall by 27 degrees
    ],
)
def test_pupils_by_the_eye_cascades(left, right, source, moved):
    points, found = find_points(GRAY, BOX, [Cascade(left, right)])
    assert found == source and np.allclose(points[:2], EXPECTED + np.array(moved))


def test_the_second_cascade_is_asked_only_where_the_first_is_silent():
    first, second = Cascade([(1, 0)], []), Cascade([(2, 2)])
    points, source = find_points(GRAY, BOX, [first, second])
    assert source == "eyes" and second.searches == 1 and np.allclose(points[1], EXPECTED[1] + (2, 2))


def test_other_landmarks_by_proportion():
    """Pupils 100 apart: nose 53 below, mouth 110.9 below and 40.4 to the sides; turned with the eye line."""
    level = complete_points(np.array([(0.0, 0.0), (100.0, 0.0)]))
    assert np.allclose(level, [(0, 0), (100, 0), (50, 53), (9.6, 110.9), (90.4, 110.9)])
    quarter = complete_points(np.array([(0.0, 0.0), (0.0, 100.0)]))  # clockwise on the screen
    assert np.allclose(quarter, np.stack([-level[:, 1], level[:, 0]], 1))


@pytest.mark.parametrize(
    ("away", "seen", "result"),
    [
        (11.9, "eyes", (True, "regressor", True)),  # 0.2975 of 40 pixels
        (12.1, "eyes", (False, "eyes", True)),
        (30, "one_eye", (True, "regressor", True)),  # one eye or none cannot contradict
        (30, "box", (True, "regressor", False)),
    ],
)
def test_eyes_that_contradict_a_network_in_doubt_are_believed(monkeypatch, away, seen, result):
    monkeypatch.setattr(cascade, "locate_surely", lambda gray, box: (FACE, 0.89))
    monkeypatch.setattr(cascade, "find_points", lambda gray, box, cascades: (FACE + np.array((away, 0)), seen))
    points, source, eyes, _ = choose_points(GRAY, BOX, [])
    assert (np.array_equal(points, FACE), source, eyes) == result


def test_a_network_that_is_sure_is_not_checked(monkeypatch):
    monkeypatch.setattr(cascade, "locate_surely", lambda gray, box: (FACE, 0.9))
    monkeypatch.setattr(cascade, "find_points", None)
    points, source, eyes, _ = choose_points(GRAY, BOX, [])
    assert np.array_equal(points, FACE) and source == "regressor" and eyes


def test_the_pupil_that_is_further_apart_counts():
    other = FACE.copy()
    other[0] -= (0, 6)
    assert contradiction(FACE, other) == pytest.approx(6 / np.hypot(40, 6))


class TestSearchByTheNetwork:
    """Where the cascade finds nothing the landmark network looks everywhere."""

    def test_a_face_that_the_cascade_misses(self, monkeypatch):
        image = np.full((200, 260, 3), 90, np.uint8)
        image[40:168, 70:198] = face_image(30_001, 128)
        (wanted,) = detect(image)
        nothing = np.zeros((0, 4)), np.zeros(0)
        monkeypatch.setattr(cascade, "_look", lambda *args: nothing)
        (found,) = detect(image)
        assert found.points_source == "regressor" and 0.7 < found.score <= 0.8
        assert np.abs(found.points - wanted.points).max() < 0.06 * 128 / 2.75
        _, _, w, h = found.box
        assert overlap(found.box, wanted.box) > 0.7 and w == h
        assert detect(image, min_size=int(w) + 9) == []

    def test_nothing_is_invented(self, monkeypatch):
        """Walls of the renderer, noise, stripes."""
        rng, renderer = np.random.default_rng(7), Renderer(160)
        for k in range(8):
            wall = renderer.background(rng, **sample_scene(rng, "AB"[k % 2])[1])
            assert search(cv2.cvtColor(np.clip(wall * 255, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY), 40) == []
        stripes = np.broadcast_to(np.arange(160, dtype=np.uint8) // 9 % 2 * 200, (160, 160)).copy()
        for image in (rng.integers(0, 256, (160, 160), dtype=np.uint8), stripes):
            assert search(image, 40) == []

    def test_the_same_face_is_found_once(self):
        (face,) = search(cv2.cvtColor(face_image(30_001, 128), cv2.COLOR_RGB2GRAY), 40)
        assert face[2] >= 0.95

"""How pupils are chosen from what the eye cascades report, with cascades whose answers are written down."""

from __future__ import annotations

import numpy as np
import pytest

from auformer.faces.cascade import complete_points, find_points

BOX = (50.0, 40.0, 100.0, 100.0)
EXPECTED = np.array([(80.0, 81.3), (120.0, 81.3)])  # 0.30, 0.70 and 0.413 of the side
GRAY = np.zeros((200, 200), np.uint8)
PIXEL = 0.44  # of the image per pixel of the searched piece: 44 of 100 pixels


class Cascade:
    """Answers each search with the windows of the next entry.

    Given by centre as an offset in image pixels from the expected place.
    """

    def __init__(self, *answers):
        self.answers, self.searches = list(answers), 0

    def detectMultiScale(self, patch, *args, **options):
        assert patch.shape == (100, 100)
        self.searches += 1
        offsets = self.answers.pop(0)
        return [(50 + x / PIXEL - 25, 50 + y / PIXEL - 25, 50, 50) for x, y in offsets]


def test_both_eyes_found():
    points, source = find_points(GRAY, BOX, [Cascade([(2, -1)], [(-3, 1)])])
    assert source == "eyes" and np.allclose(points[:2], EXPECTED + np.array([(2, -1), (-3, 1)]))


def test_the_nearest_window_counts_and_far_ones_do_not():
    points, source = find_points(GRAY, BOX, [Cascade([(9, 0), (1, 1), (-8, 3)], [(13, 0)])])
    assert source == "one_eye" and np.allclose(points[0], EXPECTED[0] + (1, 1))


def test_an_eye_that_is_not_found_follows_the_other_half_way():
    points, source = find_points(GRAY, BOX, [Cascade([], [(4, -6)])])
    assert source == "one_eye" and np.allclose(points[:2], EXPECTED + np.array([(2, -3), (4, -6)]))


def test_without_eyes_the_box_decides():
    points, source = find_points(GRAY, BOX, [Cascade([], [])])
    assert source == "box" and np.allclose(points[:2], EXPECTED)


def test_the_second_cascade_is_asked_only_where_the_first_is_silent():
    first, second = Cascade([(1, 0)], []), Cascade([(2, 2)])
    points, source = find_points(GRAY, BOX, [first, second])
    assert source == "eyes" and second.searches == 1 and np.allclose(points[1], EXPECTED[1] + (2, 2))


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [
        ((8, 0), (-7, 1), 1),  # 25 of 100 apart: too near
        ((-9, 0), (9.5, 0), 0),  # 58.5 apart: too far
        ((2, -9), (0, 9.5), 0),  # the eye line would fall by 27 degrees
    ],
)
def test_two_eyes_that_cannot_be_of_one_face(left, right, kept):
    """The one nearer to its expected place stays."""
    points, source = find_points(GRAY, BOX, [Cascade([left], [right])])
    assert source == "one_eye" and np.allclose(points[kept], EXPECTED[kept] + (left, right)[kept])


def test_other_points_by_proportion():
    """Pupils 100 apart: nose 53 below, mouth 110.9 below and 40.4 to the sides; turned with the eye line."""
    level = complete_points(np.array([(0.0, 0.0), (100.0, 0.0)]))
    assert np.allclose(level, [(0, 0), (100, 0), (50, 53), (9.6, 110.9), (90.4, 110.9)])
    quarter = complete_points(
        np.array([(0.0, 0.0), (0.0, 100.0)])
    )  # clockwise on the screen: right is down, down is left
    assert np.allclose(quarter, np.stack([-level[:, 1], level[:, 0]], 1))

"""Numbers of faces over time, and landmarks that do not jitter."""

from __future__ import annotations

import json

import numpy as np
import pytest

from auformer.faces import Face
from auformer.predict.tracking import MAX_GAP, LandmarkSmoother, Tracker, follow, match_boxes, overlap, small_grey
from tests.helpers.videos import scene

POINTS = np.array([[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [35.0, 80.0], [65.0, 80.0]])


def face(x, y=0.0, w=40.0):
    return Face((float(x), float(y), w, w), 0.9, POINTS.copy(), "eyes")


def run(frames, fps=10.0, tracker=None):
    """Numbers frame by frame of faces given by the x of their boxes."""
    tracker = tracker or Tracker()
    return [tracker.update([face(x) for x in places], k / fps) for k, places in enumerate(frames)]


class TestTracker:
    def test_overlap_by_hand(self):
        assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1 and overlap((0, 0, 10, 10), (10, 0, 5, 5)) == 0
        assert overlap((0, 0, 10, 10), (5, 5, 10, 10)) == pytest.approx(25 / 175)

    def test_boxes_are_matched_best_first_and_once(self):
        boxes = [(0, 0, 10, 10), (4, 0, 10, 10), (99, 0, 10, 10)]
        assert match_boxes(boxes, [(3, 0, 10, 10), (1, 0, 10, 10)], 0.3) == [(0, 1), (1, 0)]
        assert match_boxes(boxes, [(60, 0, 10, 10)], 0.3) == []

    def test_numbers_stay_whatever_the_order_of_detection(self):
        assert run([[0, 100], [105, 3], [6, 110]]) == [[0, 1], [1, 0], [0, 1]]

    def test_who_leaves_and_comes_back_soon_keeps_the_number_and_late_gets_a_new_one(self):
        assert run([[0, 100], [0], [0], [0, 100]]) == [[0, 1], [0], [0], [0, 1]]
        gap = [[0]] * (int(MAX_GAP * 10) + 1)
        assert run([[0, 100], *gap, [0, 100]])[-1] == [0, 2]

    def test_two_that_cross_keep_their_numbers(self):
        """They pass with 20 pixels a frame and hide one another for three frames."""
        left, right = [20 * k for k in range(14)], [260 - 20 * k for k in range(14)]
        frames = [[a, b] if abs(a - b) > 40 else [a] for a, b in zip(left, right, strict=True)]
        numbers = run(frames)
        assert numbers[0] == [0, 1] and numbers[-1] == [0, 1] and len(frames[6]) == 1

    def test_a_jump_is_another_face(self):
        assert run([[0], [500]]) == [[0], [1]]

    def test_state_through_json_resumes_the_same(self):
        frames = [[20 * k, 300 - 20 * k] for k in range(6)]
        whole, first = Tracker(), Tracker()
        run(frames[:3], tracker=whole)
        run(frames[:3], tracker=first)
        second = Tracker()
        second.restore(json.loads(json.dumps(first.state())))
        for k, places in enumerate(frames[3:], 3):
            faces = [face(x) for x in places]
            assert second.update(faces, k / 10) == whole.update(faces, k / 10)


class TestSmoothing:
    def smooth(self, series, fps=25.0):
        smoother = LandmarkSmoother()
        return np.array([smoother.update(points, k / fps) for k, points in enumerate(series)])

    def test_a_face_at_rest_jitters_less(self, rng):
        series = POINTS + rng.normal(0, 0.8, (100, 1, 2))  # 0.02 inter-pupil distances
        out = self.smooth(series)
        assert out[20:].std(0).max() < 0.5 * series[20:].std(0).min()

    def test_a_face_that_moves_is_not_left_behind(self):
        series = np.array([POINTS + np.array([k * 3.2, 0]) for k in range(50)])  # two inter-pupil distances a second
        assert np.abs(self.smooth(series) - series)[10:].max() < 0.08 * 40

    def test_the_first_sight_and_a_long_gap_are_taken_as_they_are(self):
        smoother = LandmarkSmoother()
        assert np.array_equal(smoother.update(POINTS, 0.0), POINTS)
        assert np.array_equal(smoother.update(POINTS + 50, MAX_GAP + 0.1), POINTS + 50)

    def test_state_through_json_resumes_the_same(self, rng):
        series = POINTS + rng.normal(0, 1, (10, 5, 2))
        whole, first = LandmarkSmoother(), LandmarkSmoother()
        for k in range(5):
            whole.update(series[k], k / 25)
            first.update(series[k], k / 25)
        second = LandmarkSmoother.from_state(json.loads(json.dumps(first.state())))
        assert all(
            np.array_equal(second.update(series[k], k / 25), whole.update(series[k], k / 25)) for k in range(5, 10)
        )


class TestFollowing:
    def test_a_face_is_followed_to_a_pixel(self):
        before, scale = small_grey(scene((30_001, 20, 16)))
        now, _ = small_grey(scene((30_001, 26, 13)))
        moved = follow(before, now, scale, Face((24.0, 20.0, 88.0, 88.0), 0.9, POINTS + np.array([20, 16]), "eyes"))
        assert np.allclose(moved.points - (POINTS + np.array([20, 16])), [6, -3], atol=0.5)
        assert np.allclose(moved.box, (30, 17, 88, 88), atol=1) and moved.score == 0.9

    def test_a_face_that_is_gone_is_lost(self):
        before, scale = small_grey(scene((30_001, 20, 16)))
        noise = np.random.default_rng(0).integers(0, 256, before.shape, dtype=np.uint8)
        assert follow(before, noise, scale, Face((24.0, 20.0, 88.0, 88.0), 0.9, POINTS, "eyes")) is None
        outside = Face((400.0, 20.0, 88.0, 88.0), 0.9, POINTS, "eyes")
        assert follow(before, before, scale, outside) is None

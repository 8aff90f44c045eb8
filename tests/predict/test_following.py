"""Faces followed by their landmarks: rendered scenes in which everybody's place is known, and what may go wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from auformer.faces import Face, make_detector
from auformer.predict import following, pipeline
from auformer.predict.following import (
    BEAT,
    Known,
    appearance,
    follow_face,
    likeness,
    moved_box,
    on_one_place,
    without_doubles,
)
from auformer.predict.pipeline import Clock, Cropper, FaceTracker, Pipeline
from auformer.predict.sources import Source
from auformer.predict.tracking import overlap
from auformer.predict.types import Frame, Selection
from tests.helpers.photos import face_image
from tests.helpers.videos import FACE, scene

ANNA, BERTA, CARLA, DORIS = 30_001, 30_002, 30_005, 30_004
INNER = (0.14, 0.12, 0.72, 0.72)  # of a rendered square: about the cascade's box
VIDEO = Source("v.mp4", "v.mp4", "video")
NEAR = 0.5  # overlap with the true box from which a face is that person's


class Counting:
    """The cascade, which counts its searches and can be blind to some frames."""

    name, min_size = "cascade", 40

    def __init__(self, blind: Sequence[int] = ()) -> None:
        self.searched: list[int] = []
        self._blind, self._detector = set(blind), make_detector("cascade")

    def __call__(self, image, *, file="", frame=None):
        self.searched.append(frame)
        return [] if frame in self._blind else self._detector(image)


def true_box(x, y, side=FACE):
    left, top, w, h = INNER
    return (x + left * side, y + top * side, w * side, h * side)


def follow(images, monkeypatch, *, fps=25.0, detector=None, resume=None, after=-1, faces=None):
    """What is found in each image, in a video of so many frames a second, and the detector with its searches."""
    frames = [Frame(k, k, k / fps, image) for k, image in enumerate(images)]
    monkeypatch.setattr(pipeline, "read_source", lambda *args, after, **more: iter(frames[after + 1 :]))
    detector = detector or Counting()
    known = {} if resume is None else {VIDEO.name: {"after": after, "faces": resume}}
    stages = Pipeline(detector, Cropper("eyes", (32, 32), faces), None, Selection(), known, Clock())
    return [task for task in stages.run([VIDEO]) if task.frame is not None], detector


def whose(tasks, places):
    """By frame, the number of each true face (by its name): what is found on its place; and that nothing else is."""
    answers = []
    for task, true in zip(tasks, places, strict=True):
        answer, free = {}, list(task.found)
        for name, (x, y) in true.items():
            best = max(free, key=lambda found: overlap(found.face.box, true_box(x, y)), default=None)
            if best is not None and overlap(best.face.box, true_box(x, y)) > NEAR:
                answer[name] = best.track
                free.remove(best)
        assert not free, f"frame {task.frame.index}: a face where there is none"
        answers.append(answer)
    return answers


def draw(places, **options):
    return [scene(*((name, x, y) for name, (x, y) in each.items()), **options) for each in places]


def owners(answers):
    """Numbers that each person had, and that no number was two people's."""
    seen: dict[int, set[int]] = {}
    for answer in answers:
        for name, number in answer.items():
            seen.setdefault(name, set()).add(number)
    numbers = [number for each in seen.values() for number in each]
    assert len(numbers) == len(set(numbers)), f"a number was two people's: {seen}"
    return seen


class TestFollowing:
    def test_a_moving_face_is_followed_in_every_frame_and_hardly_searched_for(self, monkeypatch):
        places = [{ANNA: (8 + k, 16 + k // 3)} for k in range(40)]
        tasks, detector = follow(draw(places), monkeypatch)
        answers = whose(tasks, places)
        assert all(answer == {ANNA: 0} for answer in answers)
        assert detector.searched == [0, *(k for k in range(1, 40) if int(k / 25 / BEAT) != int((k - 1) / 25 / BEAT))]

    def test_boxes_and_landmarks_are_those_of_detection_in_every_frame(self, monkeypatch):
        places = [{ANNA: (8 + k, 16)} for k in range(0, 40, 2)]
        images = draw(places)
        tasks, _ = follow(images, monkeypatch)
        tracker, detector = FaceTracker(Cropper("eyes", (32, 32), None), 1), make_detector("cascade")
        for task, image in zip(tasks, images, strict=True):
            (wanted,) = tracker.update(task.frame, image, detector(image))
            (found,) = task.found
            assert overlap(found.face.box, wanted.face.box) > 0.8
            assert np.abs(found.face.points - wanted.face.points).max() < 0.06 * FACE / 2.75

    def test_a_detector_that_goes_blind_loses_no_known_face(self, monkeypatch):
        """As it is at closed eyes."""
        places = [{ANNA: (20 + k, 16)} for k in range(30)]
        tasks, _ = follow(draw(places), monkeypatch, detector=Counting(blind=range(1, 30)))
        assert whose(tasks, places) == [{ANNA: 0}] * 30

    def test_a_face_that_comes_is_found_within_a_beat(self, monkeypatch):
        places = [{ANNA: (4, 16)} | ({BERTA: (150, 16)} if k >= 13 else {}) for k in range(30)]
        tasks, _ = follow(draw(places, size=(256, 128)), monkeypatch)
        answers = whose(tasks, places)
        first = min(k for k, answer in enumerate(answers) if BERTA in answer)
        assert (first - 13) / 25 <= BEAT and all(BERTA in answer for answer in answers[first:])
        assert owners(answers) == {ANNA: {0}, BERTA: {1}}

    def test_only_the_largest(self, monkeypatch):
        images = [np.hstack([scene((ANNA, 10, 10), size=(120, 120)), scene(size=(120, 120))]) for _ in range(4)]
        for image in images:
            image[20:84, 140:204] = face_image(BERTA, 64)
        tasks, _ = follow(images, monkeypatch, faces=1)
        assert [len(task.found) for task in tasks] == [1] * 4
        assert all(task.found[0].face.box[2] > 60 for task in tasks)

    def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(self, monkeypatch):
        places = [{ANNA: (8 + k, 16)} | ({BERTA: (150 - k, 16)} if k < 20 else {}) for k in range(30)]
        images = draw(places, size=(256, 128))
        whole, _ = follow(images, monkeypatch)
        monkeypatch.setattr(pipeline, "RESUME_FRAMES", 17)
        begun, _ = follow(images[:17], monkeypatch)
        state = json.loads(json.dumps(begun[-1].state))
        rest, _ = follow(images, monkeypatch, resume=state, after=16)
        assert len(rest) == 13
        for one, other in zip(whole[17:], rest, strict=True):
            assert [found.track for found in one.found] == [found.track for found in other.found]
            for a, b in zip(one.found, other.found, strict=True):
                assert np.array_equal(a.face.points, b.face.points) and a.face.box == b.face.box


class TestWhatMayGoWrong:
    def test_a_cut_to_somebody_else_on_the_same_place(self, monkeypatch):
        places = [{ANNA if k < 15 else BERTA: (24, 16)} for k in range(30)]
        answers = whose(follow(draw(places), monkeypatch)[0], places)
        assert owners(answers) == {ANNA: {0}, BERTA: {1}} and all(answers)

    def test_a_cut_to_another_place(self, monkeypatch):
        places = [{ANNA: (4, 16)} if k < 15 else {BERTA: (150, 20)} for k in range(30)]
        answers = whose(follow(draw(places, size=(256, 128)), monkeypatch)[0], places)
        assert owners(answers) == {ANNA: {0}, BERTA: {1}} and all(answers)

    def test_two_people_who_cross(self, monkeypatch):
        """One walks in front of the other; rows are theirs, or empty."""
        places = [{BERTA: (250 - 5 * k, 18), ANNA: (5 * k, 16)} for k in range(51)]
        images = draw(places, size=(350, 128))
        visible = [
            each if abs(each[ANNA][0] - each[BERTA][0]) > 40 else {ANNA: each[ANNA]} for each in places
        ]  # hidden for the most part
        tasks = follow(images, monkeypatch)[0]
        answers = []
        for task, true in zip(tasks, visible, strict=True):
            found = [
                one for one in task.found if max(overlap(one.face.box, true_box(*at)) for at in true.values()) > 0.4
            ]
            assert len(found) == len(task.found), f"frame {task.frame.index}"
            best = {
                name: max(found, key=lambda one, at=at: overlap(one.face.box, true_box(*at))).track
                for name, at in true.items()
                if any(overlap(one.face.box, true_box(*at)) > NEAR for one in found)
            }
            answers.append(best)
        seen = owners(answers)
        assert seen[ANNA] == {answers[0][ANNA]} and answers[-1].keys() == {ANNA, BERTA}

    def test_turned_away_and_back(self, monkeypatch):
        """A back of the head for 16 frames: no rows there, the same person after, within half a second."""

        def turned(k):
            image = scene((ANNA, 24, 16))
            if 10 <= k < 26:
                image[16 : 16 + FACE, 24 : 24 + FACE] = 70  # hair
                image[40:90, 44:100] = 58
            return image

        there = [{ANNA: (24, 16)} if not 10 <= k < 26 else {} for k in range(45)]
        answers = whose(follow([turned(k) for k in range(45)], monkeypatch)[0], there)
        back = min(k for k in range(26, 45) if answers[k])
        assert (back - 26) / 25 <= 0.5 and answers[back] == {ANNA: 0} and all(answers[back:])

    def test_a_blank_stretch(self, monkeypatch):
        places = [{ANNA: (24, 16)} if not 10 <= k < 60 else {} for k in range(75)]
        tasks, detector = follow(draw(places), monkeypatch)
        answers = whose(tasks, places)
        back = min(k for k in range(60, 75) if answers[k])
        assert (back - 60) / 25 <= 0.5 and answers[back] == {ANNA: 1}  # away for longer than MAX_GAP
        assert len([k for k in detector.searched if 10 <= k < 60]) < 16  # not in every frame

    def test_a_slide_with_a_face_in_it(self, monkeypatch):
        """The speaker, then a slide with a picture of somebody else, then the speaker: three tracks of two people."""

        def slide():
            image = scene((BERTA, 60, 10), wall=235)
            image[112:118, 20:140] = 20
            return image

        shown = [{ANNA: (24, 16)} if k < 12 or k >= 24 else {BERTA: (60, 10)} for k in range(36)]
        images = [slide() if 12 <= k < 24 else scene((ANNA, 24, 16)) for k in range(36)]
        answers = whose(follow(images, monkeypatch)[0], shown)
        seen = owners(answers)
        assert len(seen[BERTA]) == 1 and all(answers)

    def test_four_seconds_at_five_frames_a_second(self, monkeypatch):
        places = [{ANNA: (4 + 7 * k, 16)} for k in range(20)]
        answers = whose(follow(draw(places, size=(256, 128)), monkeypatch, fps=5.0)[0], places)
        assert answers == [{ANNA: 0}] * 20

    def test_frames_of_changing_size(self, monkeypatch):
        small = draw([{ANNA: (24, 16)}] * 10)
        large = [np.kron(image, np.ones((2, 2, 1), np.uint8)) for image in draw([{ANNA: (24, 16)}] * 10)]
        tasks, _ = follow([*small, *large, *small], monkeypatch)
        for k, task in enumerate(tasks):
            factor = 2 if 10 <= k < 20 else 1
            (found,) = task.found
            assert overlap(found.face.box, tuple(factor * v for v in true_box(24, 16))) > NEAR, k

    def test_a_cut_between_two_who_look_alike(self, monkeypatch):
        """Doris correlates with Berta by .87; what is around them tells that another shot begins."""
        places = [{BERTA if k < 15 else DORIS: (24 + k // 15, 16)} for k in range(30)]
        walls = (np.arange(160) + np.zeros((128, 1))).astype(np.uint8)
        images = []
        for k, each in enumerate(places):
            ((name, (x, y)),) = each.items()
            image = np.repeat((walls if k < 15 else walls[:, ::-1])[..., None], 3, 2).copy()
            image[y : y + FACE, x : x + FACE] = face_image(name, FACE)
            images.append(image)
        answers = whose(follow(images, monkeypatch)[0], places)
        assert owners(answers) == {BERTA: {0}, DORIS: {1}} and all(answers)

    def test_people_met_again_on_the_same_place_are_compared(self, monkeypatch):
        """Somebody else stands there after eight blank frames: another number, though the place is the same."""
        places = [{ANNA: (24, 16)} if k < 10 else {} if k < 18 else {CARLA: (24, 16)} for k in range(34)]
        answers = whose(follow(draw(places), monkeypatch)[0], places)
        assert owners(answers) == {ANNA: {0}, CARLA: {1}}


class TestParts:
    def known(self, image):
        (face,) = make_detector("cascade")(image)
        return Known(face, appearance(image, face.points), 0.0)

    def test_a_wall_and_noise_are_no_face(self):
        before = self.known(scene((ANNA, 24, 16)))
        assert follow_face(scene((ANNA, 25, 16)), before, 0.04) is not None
        noise = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
        assert follow_face(scene(), before, 0.04) is None and follow_face(noise, before, 0.04) is None

    def test_certainty_alone_refuses_what_is_no_face(self, monkeypatch):
        before = self.known(scene((ANNA, 24, 16)))
        monkeypatch.setattr(following, "likeness", lambda one, other: 1.0)
        monkeypatch.setattr(following, "_possible", lambda before, after, shape: True)
        assert follow_face(scene((BERTA, 24, 16)), before, 0.04) is not None  # a face it is, and nothing else is asked
        for seed in range(3):
            noise = np.random.default_rng(seed).integers(0, 256, (128, 160, 3), dtype=np.uint8)
            assert follow_face(noise, before, 0.04) is None

    def test_likeness_alone_refuses_somebody_else(self, monkeypatch):
        before = self.known(scene((ANNA, 24, 16)))
        monkeypatch.setattr(following, "packaged", lambda: lambda features: 1.0)
        monkeypatch.setattr(following, "_possible", lambda before, after, shape: True)
        assert follow_face(scene((ANNA, 25, 16)), before, 0.04) is not None
        assert follow_face(scene((BERTA, 24, 16)), before, 0.04) is None

    def test_too_small_and_outside(self):
        before = self.known(scene((ANNA, 24, 16)))
        assert follow_face(scene((ANNA, 24, 16)), before, 0.04, smallest=1000) is None
        assert follow_face(scene((ANNA, 24, 16))[:20, :20], before, 0.04) is None

    def test_likeness_by_hand(self):
        ramp = np.arange(576, dtype=np.uint8).reshape(24, 24) // 3
        assert likeness(ramp, ramp // 2 + 40) == pytest.approx(1, abs=0.01)
        assert likeness(ramp, ramp.max() - ramp) == pytest.approx(-1)
        assert likeness(ramp, np.full_like(ramp, 7)) == 0

    def test_a_box_goes_with_its_landmarks(self):
        points = np.array([[40.0, 40], [60, 40], [50, 52], [43, 62], [57, 62]])
        assert np.allclose(moved_box((30, 25, 40, 40), points, points + np.array([5, -3])), (35, 22, 40, 40))
        assert np.allclose(moved_box((30, 25, 40, 40), points, 0.5 * points), (15, 12.5, 20, 20))

    def test_doubles(self):
        look = np.arange(576, dtype=np.int64).reshape(24, 24) % 251
        good, other = look.astype(np.uint8), (look * 7 % 251).astype(np.uint8)

        def one(x, crop):
            return Known(Face((x, 0, 40, 40), 0.9, np.zeros((5, 2)), "regressor"), crop, 0.0)

        before = {0: one(0, good), 1: one(60, other), 2: one(300, good)}
        after = {0: one(30, other), 1: one(32, other), 2: one(300, good)}
        assert list(without_doubles(after, before)) == [1, 2] and not on_one_place((0, 0, 4, 4), (9, 0, 4, 4))

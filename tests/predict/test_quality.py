"""Faces that are small, cut or covered: the words, the crop, the score, the probabilities, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from auformer.faces import Face, align, detect
from auformer.predict.pipeline import Cropper
from auformer.predict.predictor import AUPredictor
from auformer.predict.progress import Written, summary_lines
from auformer.predict.quality import find_quality, less_sure, lowered, share_outside
from tests.helpers.photos import face_image
from tests.helpers.predictions import StandIn

POINTS = np.array([(40, 50), (80, 50), (60, 70), (46, 94), (74, 94)], float)
GREY = np.full((200, 200, 3), 90, np.uint8)


def face(shift=(0.0, 0.0), *, width=90.0, certainty=1.0):
    """A face with pupils 40 pixels apart, away from where it lies whole in `GREY`."""
    points = POINTS + np.array((40, 40)) + np.array(shift)
    return Face((*(points[0] - 30), width, width), 0.8, points, "regressor", certainty)


class TestWords:
    def test_a_good_face_has_none(self):
        assert find_quality(GREY, face()) == () and share_outside(face(), GREY.shape) == 0

    @pytest.mark.parametrize(("width", "words"), [(39.9, ("small",)), (40.0, ())])
    def test_small(self, width, words):
        assert find_quality(GREY, face(width=width)) == words

    @pytest.mark.parametrize("shift", [(-80, 0), (80, 0), (0, -95), (0, 60)])
    def test_cut_at_every_side(self, shift):
        assert find_quality(GREY, face(shift)) == ("cut",)

    def test_a_crop_that_reaches_beyond_the_border_cuts_no_face(self):
        assert find_quality(GREY, face((-40, 0))) == ()

    def test_a_turned_head_is_measured_along_its_eye_line(self):
        """Lying on its side, the chin leaves the image."""
        along = POINTS - POINTS[:2].mean(0)
        turned = np.stack([-along[:, 1], along[:, 0]], 1) + np.array((40, 100))
        lying = Face((0, 0, 90, 90), 0.8, turned, "regressor", 1.0)
        assert share_outside(lying, GREY.shape) > 0.2 and "cut" in find_quality(GREY, lying)

    @pytest.mark.parametrize(("certainty", "words"), [(0.79, ("covered",)), (0.8, ())])
    def test_covered_as_following_or_detection_found(self, certainty, words):
        assert find_quality(GREY, face(certainty=certainty)) == words

    def test_all_at_once_in_their_order(self):
        assert find_quality(GREY, face((-80, 0), width=30, certainty=0.1)) == ("small", "cut", "covered")

    def test_a_rendered_face_behind_a_patch(self):
        image = np.full((200, 200, 3), 90, np.uint8)
        image[36:164, 36:164] = face_image(30_001, 128)
        (found,) = detect(image)
        assert find_quality(image, found) == ()
        hidden = image.copy()
        x, y, w, h = (int(value) for value in found.box)
        hidden[y + h // 2 : y + h + 20, x - 10 : x + w + 10] = (150, 110, 90)
        unknown = Face(found.box, found.score, found.points, "table")  # the network looks for itself
        assert find_quality(hidden, unknown) == ("covered",) and find_quality(image, unknown) == ()

    def test_a_table_of_boxes(self):
        """Nothing is known of what lies in front; the border still counts."""
        nothing = np.full((5, 2), np.nan)
        assert find_quality(GREY, Face((20, 20, 90, 90), 1.0, nothing, "table")) == ()
        assert find_quality(GREY, Face((-20, 20, 90, 90), 1.0, nothing, "table")) == ("cut",)


class TestCrop:
    cropper = Cropper("eyes", (64, 64), None)
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)

    def test_a_cut_face_is_not_mirrored(self):
        found = self.cropper.find(self.image, face((0, 70)), 3)
        assert found.quality == ("cut",) and found.track == 3
        assert np.array_equal(found.crop, align(self.image, found.face.points, "eyes", 64, border="edge")[0])
        assert not np.array_equal(found.crop, align(self.image, found.face.points, "eyes", 64)[0])
        assert (np.abs(np.diff(found.crop[-8:].astype(int), axis=0)) <= 1).all()  # the last row, repeated

    def test_every_other_crop_is_as_it_was(self):
        found = self.cropper.find(self.image, face((-40, 0)), 0)
        assert not found.quality and np.array_equal(found.crop, align(self.image, found.face.points, "eyes", 64)[0])


class TestValues:
    def test_probabilities_come_nearer_to_a_half_and_decide_as_before(self):
        rng = np.random.default_rng(0)
        probs, cuts = rng.random((500, 24)).round(7), rng.uniform(0.05, 0.95, 24)
        probs[0], probs[1], probs[2] = 0, 1, cuts  # ends, and thresholds themselves
        drawn = np.stack([less_sure(row, cuts, ("cut",)) for row in probs])
        assert ((drawn >= cuts) == (probs >= cuts)).all()
        assert ((drawn.round(7) >= cuts) == (probs >= cuts))[3:].all()  # and as they are written
        assert (np.abs(drawn - 0.5) <= np.abs(probs - 0.5) + 1e-12).all()
        assert np.abs(drawn - 0.5).mean() < 0.75 * np.abs(probs - 0.5).mean()

    def test_without_words_they_stay(self):
        probs = np.array([0.1, 0.9])
        assert less_sure(probs, np.array([0.5, 0.5]), ()) is probs and lowered(0.7, ()) == 0.7

    def test_in_a_prediction(self):
        network = StandIn(("AU1", "AU12"))
        predictor = AUPredictor(network, detector=lambda image, **_: [face(certainty=0.2), face((-80, 0), width=80)])
        one, two = predictor.predict_image(GREY)
        assert (one.quality, two.quality) == (("covered",), ("cut",))
        assert one.face.score == two.face.score == pytest.approx(0.4)
        raw = predictor.predict_proba([one.crop])[0]
        assert np.array_equal(one.probs, less_sure(raw, predictor.thresholds, one.quality))


def test_the_summary_counts_them(tmp_path):
    counts = {"pictures": {"ok": 3}, "points_source": {"regressor": 3}, "quality": {"covered": 1, "small": 2}}
    lines = summary_lines(Written(tmp_path, [], [tmp_path / "p.csv"], counts, [], photos_read=3))
    assert "faces whose values are less sure (column quality): 2 small, 1 covered" in lines

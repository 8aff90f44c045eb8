"""`make_detector`: specifications, limits, and that a detector travels to other processes."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle

import cv2
import numpy as np
import pytest

from auformer.errors import FaceNotFoundError
from auformer.faces import Detector, Face, detect, make_detector, require_faces
from auformer.synthetic import Identity, Renderer

module = importlib.import_module("auformer.faces.detect")  # the package calls its function by the same name


@pytest.fixture(scope="module")
def portrait():
    renderer = Renderer(128)
    return renderer.render(renderer.bake(Identity.sample(30_001)), np.zeros(17)).image


def found_by(job):
    """In another process: points of the first face."""
    detector, image = job
    return detector(image)[0].points


def same(one: list[Face], other: list[Face]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.points, b.points) and a.box == b.box for a, b in zip(one, other, strict=True)
    )


def test_the_cascade(portrait):
    detector = make_detector("cascade")
    assert (detector.name, detector.min_score, detector.min_size) == ("cascade", 0.5, 40)
    assert cv2.__version__ in detector.version and "points.onnx" in detector.version
    assert same(detector(portrait), detect(portrait)) and same(
        detector(portrait, file="a.jpg", frame=3), detect(portrait)
    )


def test_it_travels(portrait):
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
    detector = make_detector("cascade")
    assert same(require_faces(portrait, backend=detector), detect(portrait))
    with pytest.raises(FaceNotFoundError, match=r"no face found in 80 x 50 pixels.*at least 200 pixels"):
        require_faces(np.zeros((50, 80, 3), np.uint8), backend=make_detector("cascade", min_size=200))


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

"""What is drawn into pictures: boxes where the faces are, bars as long as the probabilities, the same AU order as everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from auformer.faces import Face
from auformer.predict.annotate import draw
from auformer.predict.types import FacePrediction, ImagePrediction
from tests.helpers.videos import photo_source

AUS = ("AU12", "AU1")
CUTS = np.array([0.5, 0.5])
BLUE = (86, 180, 233)  # of the bars, by Okabe and Ito's palette


def picture(
    height: int, width: int, *faces: tuple[int, tuple[float, float, float, float], list[float]]
) -> ImagePrediction:
    found = [
        FacePrediction(Face(box, 0.9, np.zeros((5, 2)), "eyes"), np.zeros((8, 8, 3), np.uint8), np.array(probs), number)
        for number, box, probs in faces
    ]
    image = np.full((height, width, 3), 200, np.uint8)
    return ImagePrediction(photo_source(), "ok" if found else "no_face", "", found, size=(height, width), image=image)


def bars(panel: np.ndarray) -> list[int]:
    """How many pixels of each bar, from above, are filled; a hollow bar counts with its outline."""
    blue = (panel == BLUE).all(2).sum(1)
    runs = np.split(np.arange(len(blue)), np.flatnonzero(np.diff(blue > 0)) + 1)
    return [int(blue[run].sum()) for run in runs if blue[run[0]] > 0]


def test_colours_are_those_of_all_figures():
    from auformer.report.style import SERIES

    assert SERIES["dark"][0] == "#{:02x}{:02x}{:02x}".format(*BLUE)


@pytest.mark.parametrize(("height", "width", "factor"), [(480, 640, 1), (479, 641, 1), (100, 80, 4)])
def test_sizes_are_even_and_small_pictures_grow(height, width, factor):
    drawn = draw(picture(height, width, (0, (20.0, 30.0, 40.0, 40.0), [0.2, 0.2])), AUS, CUTS)
    assert (
        drawn.shape[0] == height * factor + height * factor % 2
        and drawn.shape[1] > width * factor
        and drawn.shape[1] % 2 == 0
    )
    assert tuple(drawn[-1, 0]) == (200, 200, 200)
    box = drawn[30 * factor : 32 * factor, 20 * factor : 60 * factor]
    assert (box == BLUE).all(2).any()  # the upper side of the box of face 0


def test_bars_by_number_full_where_active():
    """AU1 (0.25, hollow) stands above AU12 (0.75, full), whatever their order in the network."""
    drawn = draw(picture(480, 640, (1, (20.0, 30.0, 40.0, 40.0), [0.75, 0.25])), AUS, CUTS)
    low, high = bars(drawn[:, 640:])
    assert high > 4 * low
    low, high = bars(draw(picture(480, 640, (1, (20.0, 30.0, 40.0, 40.0), [0.75, 0.74])), AUS, CUTS)[:, 640:])
    assert low == pytest.approx(high, rel=0.05)


def test_without_a_face_there_is_no_bar():
    assert bars(draw(picture(480, 640), AUS, CUTS)[:, 640:]) == []


def test_the_panel_is_of_the_largest_face_and_boxes_may_leave_the_picture():
    small, large = (1, (10.0, 300.0, 60.0, 60.0), [0.1, 0.1]), (2, (500.0, -40.0, 300.0, 300.0), [0.9, 0.9])
    both = draw(picture(480, 640, small, large), AUS, CUTS)
    assert np.array_equal(both[:, 640:], draw(picture(480, 640, large), AUS, CUTS)[:, 640:])

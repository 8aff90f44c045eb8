"""AUs over time: strips of probabilities, bands of intensities, and the same as a drawing to point at."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.patches import StepPatch

from auformer.report.timeline import bin_times, hover_timeline, timeline
from tests.helpers.figures import cut_texts, texts

NAN = np.nan
TIMES = np.arange(6) / 10
PROBS = np.array([[0.0, 1.0], [0.5, 1.0], [NAN, NAN], [NAN, NAN], [1.0, 0.2], [1.0, 0.2]])
LEVELS = np.array([[0.0, NAN], [2.5, NAN], [NAN, NAN], [NAN, NAN], [5.0, NAN], [5.0, NAN]])
NAMES = ["AU12", "AU1"]  # not in the order of their numbers
EVENTS = {"AU12": [(0.4, 0.6)], "AU1": []}


def patches(figure, filled):
    """Steps of areas or of lines, by row from above."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch) and patch.get_fill() == filled]
    return [patch.get_data().values for patch in found]


def test_without_intensities_there_are_strips():
    figure = timeline(TIMES, PROBS, NAMES, EVENTS, title="talk.mp4")
    meshes = [mesh for mesh in figure.axes[0].collections if isinstance(mesh, QuadMesh)]
    assert len(meshes) == 2 and not patches(figure, True) and "Intensity, 0 to 5" not in texts(figure)
    assert np.ma.getmaskarray(meshes[0].get_array()).ravel().tolist() == [False, False, True, True, False, False]
    assert cut_texts(figure) == []


def test_a_band_is_the_intensity_under_the_line_of_the_probability():
    """From the floor of its row (its number plus .28) up to .7 above it; AU1, without intensity, has a line only."""
    figure = timeline(TIMES, PROBS, NAMES, EVENTS, intensity=LEVELS, title="talk.mp4", footer="about")
    areas, lines = patches(figure, True), patches(figure, False)
    np.testing.assert_allclose(areas[1], 1.28 - 0.7 * LEVELS[:, 0] / 5)
    np.testing.assert_allclose(lines[1], 1.28 - 0.7 * PROBS[:, 0])
    np.testing.assert_allclose(lines[0], 0.28 - 0.7 * PROBS[:, 1])
    assert np.isnan(areas[0]).all()
    said = texts(figure)
    assert {"AU1 Inner brow raiser", "AU12 Lip corner puller", "Intensity, 0 to 5", "Probability, 0 to 1"} <= set(said)
    assert said.count("5") == 2 and any("under a band" in text for text in said) and cut_texts(figure) == []
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_fontweight() for label in labels] == ["normal", "bold"]  # AU12 was active
    with pytest.raises(ValueError, match="`intensity`"):
        timeline(TIMES, PROBS, NAMES, EVENTS, intensity=LEVELS[:, :1])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_long_videos_are_means_of_both(theme):
    times, rng = np.arange(2000) / 25, np.random.default_rng(0)
    probs, levels = rng.random((2000, 1)), 5 * rng.random((2000, 1))
    figure = timeline(times, probs, ["AU1"], {}, intensity=levels, theme=theme)
    np.testing.assert_allclose(patches(figure, True)[0], 0.28 - 0.7 * bin_times(times, levels)[1][:, 0] / 5)


def drawing(**options):
    """The SVG as a tree."""
    text = hover_timeline(TIMES, PROBS, NAMES, EVENTS, label="a < b", **options)
    return ElementTree.fromstring(text[text.index("<svg") : text.index("</div>")])


def test_the_drawing_with_intensities():
    root = drawing(intensity=LEVELS)
    paths = [path.attrib for path in root.iter("path")]
    areas = [path["d"] for path in paths if "fill-opacity" in path]
    lines = [path["d"] for path in paths if path.get("class") == "p"]
    assert len(areas) == 2 and len(lines) == 4  # before and after the gap
    left, right = 190, 190 + 720
    third = (right - left) / 3  # 0.2 of 0.6 s
    assert areas[0] == f"M{left:.1f} 66V66H{left + third / 2:.1f}V53H{left + third:.1f}V66Z"  # 0, then half of 26 units
    assert re.fullmatch(rf"M{left + 2 * third:.1f} 66V40H{right:.1f}V66Z", areas[1])  # 5: the whole of them
    titles = [title.text for title in root.iter("title")]
    assert titles[1].splitlines() == [
        "0.10 s",
        "AU1 Inner brow raiser 1.00",
        "AU12 Lip corner puller 0.50, intensity 2.5",
    ]
    assert titles[2] == "0.20 s: no face" and titles[4].endswith("AU12 Lip corner puller 1.00 active, intensity 5.0")


def test_the_drawing_without_intensities_says_nothing_of_them():
    root = drawing()
    assert not [path for path in root.iter("path") if "fill-opacity" in path.attrib]
    assert all("intensity" not in title.text for title in root.iter("title"))

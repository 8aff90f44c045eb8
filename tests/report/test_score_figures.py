"""Intervals, reliability, training sizes and train x test show the numbers they are given, whole, in both themes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auformer.report.scores import MEAN, cross_matrix, f1_bars, reliability_diagram, training_size_curves
from auformer.report.style import copy_layout, image_bytes
from tests.helpers.figures import cut_texts, texts

F1 = {"AU1": 0.25, "AU12": 0.9}
BINS = np.array([[0.1, 0.2, 30], [math.nan, math.nan, 0], [0.8, 0.6, 10]])
POINTS = {
    "auformer": {"1,000": (0.5, 0.4, 0.6), "100": (0.3, 0.2, 0.4)},
    "probe": {"1,000": (0.45, math.nan, math.nan)},
}
MATRIX = {"auformer": np.array([[0.6, 0.4], [math.nan, 0.55]])}
NOTE = "† The epoch was chosen on the test part itself, so these numbers are too high; they are never bold."


def draw_all(theme: str, footnote: str | None = None) -> list:
    ends = {"auformer †": {"AU1": (0.2, 0.3), MEAN: (0.5, 0.7)}}
    return [
        f1_bars({"auformer †": F1, "probe": F1}, floor=F1, intervals=ends, footnote=footnote, theme=theme),
        reliability_diagram({"auformer †": BINS, "probe": BINS}, footnote=footnote, theme=theme),
        training_size_curves(POINTS, ["100", "1,000"], floor=0.2, footnote=footnote, theme=theme),
        cross_matrix(
            MATRIX, ["lab_a", "a_rather_long_name_of_data"], ["lab_a", "lab_b"], footnote=footnote, theme=theme
        ),
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_and_the_footnote_is_there(theme: str) -> None:
    for figure in draw_all(theme, NOTE):
        assert cut_texts(figure) == []
        assert any("chosen on the test part" in text for text in texts(figure))
    assert not any("chosen" in text for figure in draw_all(theme) for text in texts(figure))


def test_the_dark_twin_needs_no_layout_of_its_own() -> None:
    for light, dark, alone in zip(*(draw_all(theme, NOTE) for theme in ("light", "dark", "dark")), strict=True):
        image_bytes(light)
        copy_layout(light, dark)
        assert image_bytes(dark) == image_bytes(alone)


def test_intervals_lie_across_the_ends_of_their_bars() -> None:
    axes = f1_bars({"a": F1, "b": F1}, intervals={"a": {"AU12": (0.8, 0.95), MEAN: (0.5, 0.7)}}).axes[0]
    (lines,) = axes.collections  # of `a` alone: `b` has none
    drawn = [
        [*segment[:, 0], segment[0, 1]]
        for segment in lines.get_segments()
        if len(segment) and not np.isnan(segment).any()
    ]
    centres = [bar.get_y() + bar.get_height() / 2 for bar in axes.containers[0]]
    np.testing.assert_allclose(drawn, [[80, 95, centres[1]], [50, 70, centres[2]]])
    number = next(text for text in axes.texts if text.get_text() == "57.5")
    assert number.get_position()[0] > 70  # behind the interval, not on it


def test_reliability_shows_filled_bins_by_their_size() -> None:
    upper, lower = reliability_diagram({"auformer": BINS}).axes
    line = next(line for line in upper.lines if line.get_label() == "auformer")
    assert line.get_xdata().tolist() == [0.1, 0.8] and line.get_ydata().tolist() == [0.2, 0.6]
    sizes = upper.collections[0].get_sizes()
    assert sizes[0] > sizes[1] > 0
    assert lower.lines[0].get_ydata().tolist() == [75, 25]
    reliability_diagram({"empty": np.array([[math.nan, math.nan, 0]])})


def test_sizes_stand_in_their_order_with_intervals() -> None:
    axes = training_size_curves(POINTS, ["100", "1,000"], floor=0.2).axes[0]
    first, second, floor = axes.lines
    assert first.get_ydata().tolist() == [30, 50] and second.get_ydata().tolist() == [45] and floor.get_ydata()[0] == 20
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "1,000"]
    assert abs(first.get_xdata()[1] - second.get_xdata()[0]) > 0.05  # beside each other
    ends = [sorted(segment[:, 1].tolist()) for segment in axes.collections[0].get_segments()]
    assert ends == [[20, 40], [40, 60]]
    assert {"50.0", "45.0"} <= set(texts(axes.figure))


def test_cells_hold_their_numbers_and_missing_runs_say_so() -> None:
    axes = cross_matrix(MATRIX, ["x", "y"], ["x", "y"]).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "60.0", (1, 0): "40.0", (0, 1): "no run", (1, 1): "55.0"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]


def test_bad_arguments() -> None:
    for call, text in (
        (lambda: reliability_diagram({}), "at least one method"),
        (lambda: reliability_diagram({"a": np.zeros((3, 2))}), r"\(M, 3\)"),
        (lambda: training_size_curves({}, []), "at least one method"),
        (lambda: training_size_curves(POINTS, ["100"]), "1,000"),
        (lambda: cross_matrix({}, [], []), "at least one method"),
        (lambda: cross_matrix(MATRIX, ["x"], ["x", "y"]), r"\(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=text):
            call()

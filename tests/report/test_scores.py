"""Figures of numbers show the numbers that they are given, whole, in the order of the AUs, and say what is missing."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from auformer.report.scores import (
    MEAN,
    cross_matrix,
    f1_bars,
    read_training_log,
    reliability_diagram,
    training_curves,
    training_size_curves,
)
from auformer.report.style import copy_layout, image_bytes
from tests.helpers.figures import cut_texts, texts, visible_texts

F1 = {"AU12": 0.9, "AU4": 0.5, "AU1": 0.25}  # not in numerical order
WEAK = {"AU12": 0.7, "AU4": math.nan, "AU1": 0.1}
SHORT = {"AU1": 0.25, "AU12": 0.9}
BINS = np.array([[0.1, 0.2, 30], [math.nan, math.nan, 0], [0.8, 0.6, 10]])
POINTS = {
    "auformer": {"1,000": (0.5, 0.4, 0.6), "100": (0.3, 0.2, 0.4)},
    "probe": {"1,000": (0.45, math.nan, math.nan)},
}
MATRIX = {"auformer": np.array([[0.6, 0.4], [math.nan, 0.55]])}
NOTE = "† The epoch was chosen on the test part itself, so these numbers are too high; they are never bold."
FLOOR = {"AU12": 0.6, "AU4": 0.4, "AU1": 0.2}


def _widths(container) -> list[float]:
    return [bar.get_width() for bar in container]


def test_bars_floors_and_means_are_the_given_rates_in_au_order():
    axes = f1_bars({"AUFormer": F1, "probe": WEAK}, floor=FLOOR).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["AU1 Inner brow raiser", "AU4 Brow lowerer", "AU12 Lip corner puller", "Mean"]
    first, second = axes.containers
    np.testing.assert_allclose(_widths(first), [25, 50, 90, 55])
    np.testing.assert_allclose(_widths(second), [10, 0, 70, 40])  # the mean is over the two defined ones
    marks = [segment[0][0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(marks, [20, 40, 60, 40])


def test_bars_run_downwards_and_a_floor_mark_spans_its_group():
    axes = f1_bars({"AUFormer": F1, "probe": WEAK}, floor=FLOOR).axes[0]
    bottom, top = axes.get_ylim()
    assert bottom > top
    for number, segment in enumerate(axes.collections[0].get_segments()):
        bars = [container[number] for container in axes.containers]
        edges = [y for bar in bars for y in (bar.get_y(), bar.get_y() + bar.get_height())]
        assert segment[:, 1].min() < min(edges) and segment[:, 1].max() > max(edges)


def test_another_score_has_its_own_words_and_below_zero_no_bar():
    """The mean is that of the values, not of the bars."""
    values = {"AU1": -0.4, "AU12": 0.6, "AU4": math.nan}
    figure = f1_bars({"AUFormer": values}, axis="ICC x 100", undefined="codes do not differ")
    axes = figure.axes[0]
    np.testing.assert_allclose(_widths(axes.containers[0]), [0, 0, 60, 10])
    assert axes.get_xlabel() == "ICC x 100" and "codes do not differ" in texts(figure)
    worst = f1_bars({"AUFormer": {"AU1": -0.4}}, intervals={"AUFormer": {MEAN: (-0.6, -0.2)}})
    assert "-40.0" in [text.get_text() for text in visible_texts(worst)] and not cut_texts(worst)


def test_what_is_undefined_says_so_and_what_was_not_made_here_is_hatched():
    figure = f1_bars({"AUFormer": F1, "probe": WEAK}, hatched={"probe"})
    assert [text for text in texts(figure) if text == "no positives"] == ["no positives"]
    first, second = figure.axes[0].containers
    assert first[0].get_hatch() is None and second[0].get_hatch()


def test_a_mean_s_number_stands_beside_the_floor_s_mark():
    figure = f1_bars({"AUFormer": F1}, floor=dict.fromkeys(F1, 0.58))
    number = next(text for text in visible_texts(figure) if text.get_text() == "55.0").get_window_extent()
    axes = figure.axes[0]
    mark = axes.transData.transform((58, 0))[0]
    assert number.x0 > mark
    assert number.x1 < axes.transData.transform((100, 0))[0]


def test_the_log_has_one_row_per_epoch_and_a_repeated_epoch_counts_once(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text(
        "epoch,step,train/loss,val/f1,val/loss\n0,9,,0.4,1.1\n0,9,1.5,,\n1,19,,0.5,1.0\n1,19,1.2,,\n1,19,,0.6,0.9\n"
        "1,19,1.25,,\n",
        encoding="utf-8",
    )
    table = read_training_log(log)
    expected = pd.DataFrame(
        {"train/loss": [1.5, 1.25], "val/f1": [0.4, 0.6], "val/loss": [1.1, 0.9]}, index=pd.Index([0, 1], name="epoch")
    )
    pd.testing.assert_frame_equal(table, expected)
    log.write_text("subject,frame\nA,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="column epoch"):
        read_training_log(log)


def test_curves_are_the_log_and_the_best_epoch_is_ringed():
    log = pd.DataFrame({"train/loss": [1.5, 1.2, 1.0], "val/loss": [1.6, 1.4, 1.5], "val/f1": [0.4, 0.7, 0.6]})
    figure = training_curves({"AUFormer": log, "probe": log.drop(columns=["val/f1"])})
    upper, lower = figure.axes
    drawn = [line.get_ydata().tolist() for line in upper.lines]
    assert drawn == [[1.5, 1.2, 1.0], [1.6, 1.4, 1.5]] * 2
    np.testing.assert_allclose(lower.lines[0].get_xydata(), [[1, 40], [2, 70], [3, 60]])
    ring = next(line for line in lower.lines if line.get_fillstyle() == "none")
    np.testing.assert_allclose(ring.get_xydata(), [[2, 70]])
    assert "70.0" in texts(figure)
    assert to_hex(upper.lines[0].get_color()) != to_hex(upper.lines[2].get_color())
    assert upper.lines[0].get_marker() != upper.lines[2].get_marker()
    assert upper.lines[0].get_linestyle() != upper.lines[1].get_linestyle()


def draw_all(theme: str, footnote: str | None = None) -> list:
    ends = {"auformer †": {"AU1": (0.2, 0.3), MEAN: (0.5, 0.7)}}
    look = {"footnote": footnote, "theme": theme}
    return [
        f1_bars({"auformer †": SHORT, "probe": SHORT}, floor=SHORT, intervals=ends, **look),
        reliability_diagram({"auformer †": BINS, "probe": BINS}, **look),
        training_size_curves(POINTS, ["100", "1,000"], floor=0.2, **look),
        cross_matrix(MATRIX, ["lab_a", "a_rather_long_name_of_data"], ["lab_a", "lab_b"], **look),
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_and_the_footnote_is_there(theme):
    for figure in draw_all(theme, NOTE):
        assert cut_texts(figure) == []
        assert any("chosen on the test part" in text for text in texts(figure))
    assert not any("chosen" in text for figure in draw_all(theme) for text in texts(figure))


def test_the_dark_twin_needs_no_layout_of_its_own():
    for light, dark, alone in zip(*(draw_all(theme, NOTE) for theme in ("light", "dark", "dark")), strict=True):
        image_bytes(light)
        copy_layout(light, dark)
        assert image_bytes(dark) == image_bytes(alone)


def test_intervals_lie_across_the_ends_of_their_bars():
    axes = f1_bars({"a": SHORT, "b": SHORT}, intervals={"a": {"AU12": (0.8, 0.95), MEAN: (0.5, 0.7)}}).axes[0]
    (lines,) = axes.collections  # of `a` alone: `b` has none
    segments = [segment for segment in lines.get_segments() if len(segment) and not np.isnan(segment).any()]
    drawn = [[*segment[:, 0], segment[0, 1]] for segment in segments]
    centres = [bar.get_y() + bar.get_height() / 2 for bar in axes.containers[0]]
    np.testing.assert_allclose(drawn, [[80, 95, centres[1]], [50, 70, centres[2]]])
    number = next(text for text in axes.texts if text.get_text() == "57.5")
    assert number.get_position()[0] > 70  # behind the interval, not on it


def test_reliability_shows_filled_bins_by_their_size():
    upper, lower = reliability_diagram({"auformer": BINS}).axes
    line = next(line for line in upper.lines if line.get_label() == "auformer")
    assert line.get_xdata().tolist() == [0.1, 0.8] and line.get_ydata().tolist() == [0.2, 0.6]
    sizes = upper.collections[0].get_sizes()
    assert sizes[0] > sizes[1] > 0
    assert lower.lines[0].get_ydata().tolist() == [75, 25]
    reliability_diagram({"empty": np.array([[math.nan, math.nan, 0]])})


def test_sizes_stand_in_their_order_with_intervals():
    axes = training_size_curves(POINTS, ["100", "1,000"], floor=0.2).axes[0]
    first, second, floor = axes.lines
    assert first.get_ydata().tolist() == [30, 50] and second.get_ydata().tolist() == [45] and floor.get_ydata()[0] == 20
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "1,000"]
    assert abs(first.get_xdata()[1] - second.get_xdata()[0]) > 0.05  # beside each other
    ends = [sorted(segment[:, 1].tolist()) for segment in axes.collections[0].get_segments()]
    assert ends == [[20, 40], [40, 60]]
    assert {"50.0", "45.0"} <= set(texts(axes.figure))


def test_cells_hold_their_numbers_and_missing_runs_say_so():
    axes = cross_matrix(MATRIX, ["x", "y"], ["x", "y"]).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "60.0", (1, 0): "40.0", (0, 1): "no run", (1, 1): "55.0"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]


def test_bad_arguments():
    for call, text in (
        (lambda: training_curves({}), "at least one training"),
        (lambda: f1_bars({}), "at least one method"),
        (lambda: f1_bars({"AUFormer": F1, "probe": {"AU1": 0.5}}), "'probe'"),
        (lambda: f1_bars({"AUFormer": F1}, floor={**FLOOR, "AU2": 0.1}), "'floor'"),
        (lambda: reliability_diagram({}), "at least one method"),
        (lambda: reliability_diagram({"a": np.zeros((3, 2))}), r"\(M, 3\)"),
        (lambda: training_size_curves({}, []), "at least one method"),
        (lambda: training_size_curves(POINTS, ["100"]), "1,000"),
        (lambda: cross_matrix({}, [], []), "at least one method"),
        (lambda: cross_matrix(MATRIX, ["x"], ["x", "y"]), r"\(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=text):
            call()

"""Bars and curves show the numbers they are given, in the order of the AUs, and say what is missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from auformer.report.scores import f1_bars, read_training_log, training_curves
from tests.helpers.figures import texts, visible_texts

F1 = {"AU12": 0.9, "AU4": 0.5, "AU1": 0.25}  # not in numerical order
WEAK = {"AU12": 0.7, "AU4": math.nan, "AU1": 0.1}
FLOOR = {"AU12": 0.6, "AU4": 0.4, "AU1": 0.2}


def _widths(container) -> list[float]:
    return [bar.get_width() for bar in container]


def test_bars_floors_and_means_are_the_given_rates_in_au_order() -> None:
    axes = f1_bars({"AUFormer": F1, "probe": WEAK}, floor=FLOOR).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "AU1 Inner brow raiser",
        "AU4 Brow lowerer",
        "AU12 Lip corner puller",
        "Mean",
    ]
    first, second = axes.containers
    np.testing.assert_allclose(_widths(first), [25, 50, 90, 55])
    np.testing.assert_allclose(_widths(second), [10, 0, 70, 40])  # the mean is over the two defined ones
    marks = [segment[0][0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(marks, [20, 40, 60, 40])


def test_bars_run_downwards_and_a_floor_mark_spans_its_group() -> None:
    axes = f1_bars({"AUFormer": F1, "probe": WEAK}, floor=FLOOR).axes[0]
    bottom, top = axes.get_ylim()
    assert bottom > top
    for number, segment in enumerate(axes.collections[0].get_segments()):
        edges = [
            y
            for container in axes.containers
            for y in (container[number].get_y(), container[number].get_y() + container[number].get_height())
        ]
        assert segment[:, 1].min() < min(edges) and segment[:, 1].max() > max(edges)


def test_what_is_undefined_says_so_and_what_was_not_made_here_is_hatched() -> None:
    figure = f1_bars({"AUFormer": F1, "probe": WEAK}, hatched={"probe"})
    assert [text for text in texts(figure) if text == "no positives"] == ["no positives"]
    first, second = figure.axes[0].containers
    assert first[0].get_hatch() is None and second[0].get_hatch()


def test_a_mean_s_number_stands_beside_the_floor_s_mark() -> None:
    figure = f1_bars({"AUFormer": F1}, floor=dict.fromkeys(F1, 0.58))
    number = next(text for text in visible_texts(figure) if text.get_text() == "55.0").get_window_extent()
    axes = figure.axes[0]
    mark = axes.transData.transform((58, 0))[0]
    assert number.x0 > mark
    assert number.x1 < axes.transData.transform((100, 0))[0]


def test_no_method_or_other_aus_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one method"):
        f1_bars({})
    with pytest.raises(ValueError, match="'probe'"):
        f1_bars({"AUFormer": F1, "probe": {"AU1": 0.5}})
    with pytest.raises(ValueError, match="'floor'"):
        f1_bars({"AUFormer": F1}, floor={**FLOOR, "AU2": 0.1})


def test_the_log_has_one_row_per_epoch_and_a_repeated_epoch_counts_once(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text(
        "epoch,step,train/loss,val/f1,val/loss\n0,9,,0.4,1.1\n0,9,1.5,,\n1,19,,0.5,1.0\n1,19,1.2,,\n1,19,,0.6,0.9\n1,19,1.25,,\n",
        encoding="utf-8",
    )
    table = read_training_log(log)
    expected = pd.DataFrame(
        {"train/loss": [1.5, 1.25], "val/f1": [0.4, 0.6], "val/loss": [1.1, 0.9]}, index=pd.Index([0, 1], name="epoch")
    )
    pd.testing.assert_frame_equal(table, expected)


def test_another_table_is_no_training_log(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("subject,frame\nA,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="column epoch"):
        read_training_log(tmp_path / "m.csv")


def test_curves_are_the_log_and_the_best_epoch_is_ringed() -> None:
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


def test_curves_need_a_training() -> None:
    with pytest.raises(ValueError, match="at least one training"):
        training_curves({})

"""The figures of the ablation page: labels that can be read, lines that lead where they should, values where they belong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.text import Annotation

from experiments.ablations.figures import noise_figure, parameters_figure
from tests.helpers.figures import cut_texts, visible_texts

MANY = {
    "linear_probe": (2_316, 0.61, 0.004), "bitfit": (28_800, 0.70, 0.01), "ssf": (45_100, 0.71, math.nan), "vpt_deep": (36_000, 0.68, 0.01),
    "lora": (190_000, 0.74, 0.006), "convpass": (88_000, 0.73, 0.01), "adaptformer": (160_000, 0.735, 0.01),
    "houlsby": (310_000, 0.745, 0.01), "auformer": (362_952, 0.75, 0.005), "last_blocks": (460_000, 0.66, 0.01),
    "full_finetuning": (2_806_000, 0.742, 0.01),
}  # fmt: skip


def test_every_method_has_a_label_that_covers_nothing() -> None:
    other = {name: (size, mean - 0.05, spread) for name, (size, mean, spread) in MANY.items()}
    figure = parameters_figure(
        {"unseen": {"demo": MANY, "masks": other}, "lab_b": {"demo": other}}, reference="auformer"
    )
    assert not cut_texts(figure)
    for axes in figure.axes:
        boxes = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text()}
        assert set(boxes) == {name.replace("_", " ") for name in MANY}
        names = list(boxes)
        assert not [(a, b) for i, a in enumerate(names) for b in names[:i] if boxes[a].overlaps(boxes[b])]
    assert {"demo", "masks"} <= {text.get_text() for text in visible_texts(figure)}
    with pytest.raises(ValueError, match="at least one point"):
        parameters_figure({"unseen": {"demo": {}}}, reference="auformer")


def test_no_line_to_a_mark_runs_over_another_mark() -> None:
    """With these points AUFormer's line ran over the mark of Houlsby's adapters once."""
    high = {
        "adaptformer": (158_844, 0.7285, 0.0148), "auformer": (362_952, 0.7600, 0.0059), "bitfit": (23_076, 0.7268, 0.0055),
        "both_heads": (362_952, 0.7892, 0.0014), "convpass": (56_124, 0.7548, 0.0091), "full_finetuning": (2_815_572, 0.7588, 0.0024),
        "houlsby": (312_828, 0.7704, 0.0032), "last_blocks": (455_100, 0.7647, 0.0048), "linear_probe": (2_316, 0.7417, 0.0073),
        "lora": (157_308, 0.7706, 0.0026), "ssf": (35_964, 0.7462, 0.0055), "vpt_deep": (21_372, 0.7304, 0.0050),
    }  # fmt: skip
    low = {
        "adaptformer": (158_844, 0.4939, 0.0133), "auformer": (362_952, 0.5067, 0.0147), "bitfit": (23_076, 0.4952, 0.0127),
        "both_heads": (362_952, 0.4882, 0.0151), "convpass": (56_124, 0.4884, 0.0066), "full_finetuning": (2_815_572, 0.5348, 0.0167),
        "houlsby": (312_828, 0.5198, 0.0103), "last_blocks": (455_100, 0.4902, 0.0100), "linear_probe": (2_316, 0.5030, 0.0202),
        "lora": (157_308, 0.5394, 0.0201), "ssf": (35_964, 0.5008, 0.0080), "vpt_deep": (21_372, 0.4927, 0.0169),
    }  # fmt: skip
    figure = parameters_figure({"unseen": {"demo": high, "masks": low}, "lab_b": {"demo": high}}, reference="auformer")
    axes, scale = figure.axes[0], figure.dpi / 72
    marks = axes.transData.transform(
        [(size, 100 * mean) for points in (high, low) for size, mean, _ in points.values()]
    )
    lines = [text for text in axes.texts if isinstance(text, Annotation) and not text.get_text()]
    assert lines
    for line in lines:
        end = axes.transData.transform(line.xy)
        way = np.linspace(end, end + scale * np.array(line.get_position()), 200)
        others = marks[np.abs(marks - end).max(axis=1) > 5 * scale]  # marks that touch share their surroundings
        assert (
            np.linalg.norm(way[:, None] - others, axis=2).min() > 3.25 * scale
        )  # half of a mark, which is 6.5 points wide


def test_a_line_per_loss() -> None:
    curves = {
        name: [(0.0, 0.7 - i / 50, 0.01), (0.05, 0.69 - i / 40, math.nan), (0.2, 0.6 - i / 30, 0.02)]
        for i, name in enumerate("abcd")
    }
    figure = noise_figure(curves)
    assert not cut_texts(figure) and {"a", "b", "c", "d", "0", "5", "20"} <= {
        text.get_text() for text in visible_texts(figure)
    }
    assert figure.axes[0].lines[0].get_xydata().round(6).tolist()[2] == [20, 60]
    for wrong in ({}, {str(i): curves["a"] for i in range(7)}):
        with pytest.raises(ValueError, match="1 to 6 losses"):
            noise_figure(wrong)

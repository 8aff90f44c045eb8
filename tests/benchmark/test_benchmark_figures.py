"""Which figures a group has, and that each says what its table says."""

from __future__ import annotations

import pytest

from auformer.benchmark.fold_scores import GroupScorer
from auformer.benchmark.groups import group_lines
from auformer.benchmark.report import SHOWN, group_figures, matrix_figure
from auformer.benchmark.tables import cross_matrix_of
from tests.helpers.figures import texts
from tests.helpers.run_lines import line_of, some_predictions, three_fold_lines


def scored(lines):
    groups = []
    for group in group_lines(lines):
        scorer = GroupScorer(group, draws=10)
        groups.append((scorer, [scorer.score(method) for method in group.methods]))
    return groups


def crossed(**given):
    pairs = [("lab_a", "lab_b"), ("lab_b", "lab_a")]
    return [
        line_of(
            some_predictions("x", skill=0.5, subjects="abc", dataset=test),
            protocol="cross",
            data=data,
            test=test,
            **given,
        )
        for data, test in pairs
    ]


def all_figures(**given):
    """Figures of every kind."""
    found = group_figures(*scored(three_fold_lines({"auformer": 0.8}, **given))[0])
    found += group_figures(*scored(three_fold_lines({"auformer": 0.8}, protocol="efficiency", subset=100, **given))[0])
    return [*found, matrix_figure(cross_matrix_of(scored(crossed(**given))))]


@pytest.mark.parametrize("select", ["test", "validation"])
def test_every_figure_carries_dagger_and_footnote(select: str) -> None:
    figures = all_figures(select=select)
    assert [one.name for one in figures] == [
        "within-lab_a",
        "within-lab_a-reliability",
        "efficiency-lab_a",
        "cross-matrix",
    ]
    for one in figures:
        said = texts(one.draw("light"))
        assert any("auformer" in text for text in said)
        assert ("auformer †" in said) == any("chosen on the test part" in text for text in said) == (select == "test")


def test_numbers_are_those_of_the_table() -> None:
    ((scorer, (scores,)),) = scored(three_fold_lines({"auformer": 0.8}))
    bars, reliability = group_figures(scorer, [scores])
    mean = f"{100 * scores.f1.mean.value:.1f}"
    assert mean in texts(bars.draw("dark")) and f"auformer {mean}" in bars.alt
    axes = bars.draw("light").axes[0]
    assert [bar.get_width() for bar in axes.containers[0]][:3] == pytest.approx((100 * scores.f1.values).tolist())
    assert f"auformer {100 * scores.scores['ece'].mean.value:.1f}" in reliability.caption


def test_more_methods_than_colours_are_left_out_aloud() -> None:
    lines = three_fold_lines({f"method {i}": 0.1 * i for i in range(SHOWN + 2)})
    bars, _ = group_figures(*scored(lines)[0])
    assert f"The best {SHOWN} of {SHOWN + 2} methods are shown." in bars.caption
    assert len(bars.draw("light").axes[0].containers) == SHOWN


def test_a_dollar_in_a_name_is_a_dollar() -> None:
    bars, _ = group_figures(*scored(three_fold_lines({"$a$ b": 0.5}))[0])
    assert r"\$a\$ b" in texts(bars.draw("light"))  # which matplotlib shows as $a$ b

"""From lines to files: the committed small benchmark byte for byte, the page in a browser, and nothing that depends on
order.
"""

import random
import shutil
from pathlib import Path

import pandas as pd
import pytest

from auformer.benchmark.fold_scores import GroupScorer
from auformer.benchmark.groups import group_lines
from auformer.benchmark.report import SHOWN, group_figures, matrix_figure, write_results
from auformer.benchmark.tables import cross_matrix_of
from auformer.data.manifest import write_predictions
from auformer.data.splits import PUBLISHED_FOLDS
from tests.helpers.browser import console, measure
from tests.helpers.figures import texts
from tests.helpers.run_lines import line_of, some_predictions, three_fold_lines

SMALL = Path(__file__).parent / "small_benchmark"
AUS = ("AU1", "AU2", "AU4", "AU6", "AU12")
CUTS = dict.fromkeys(AUS, 0.35)
DRAWS = 200


def small_lines(shuffle=None):
    """Lines of the committed predictions; with a number, rows and lines in a random order."""
    table = pd.read_csv(SMALL / "predictions.csv", dtype={"subject": str, "fold": str}).fillna({"fold": ""})
    if shuffle is not None:
        table = table.sample(frac=1, random_state=shuffle)
    lines = []
    for (test, method, fold), rows in table.groupby(["dataset", "method", "fold"]):
        protocol = "within" if test == "DISFA" else "cross"
        select = "test" if method == "linear_probe" and protocol == "within" else "validation"
        warnings = ["DISFA has crops by 'eyes', lab_a by 'box'"] if protocol == "cross" else []
        given = {"protocol": protocol, "data": "DISFA", "test": test, "method": method, "fold": fold, "select": select}
        lines.append(line_of(rows.drop(columns="method"), thresholds=CUTS, warnings=warnings, **given))
    if shuffle is not None:
        random.Random(shuffle).shuffle(lines)
    return lines


def make_small():
    """Write the predictions and their tables anew."""
    parts = []
    for method, skill in (("auformer", 1.0), ("linear_probe", 0.6)):
        for fold, subjects in PUBLISHED_FOLDS["disfa"].items():
            rows = some_predictions(fold, skill=skill, rows=40, subjects=subjects[:4], dataset="DISFA", aus=AUS)
            if fold == "D2":
                rows["AU2_true"] = 0  # no positives in this fold
            parts.append(rows.assign(method=method))
        rows = some_predictions("", skill=skill, rows=40, subjects="abcd", dataset="lab_a", aus=AUS)
        parts.append(rows.assign(method=method))
    table = pd.concat(parts, ignore_index=True)
    table.loc[table.index % 11 == 0, "AU12_true"] = -1
    table["status"] = "ok"
    table.loc[table["frame"] == 39, "status"] = "no_face"
    for au in AUS:
        table.loc[table["frame"] == 39, f"{au}_prob"] = None
    table.to_csv(SMALL / "predictions.csv", index=False, lineterminator="\n")
    write_results(small_lines(), SMALL, bootstraps=DRAWS)
    (SMALL / "report.html").unlink()
    shutil.rmtree(SMALL / "figures")


def contents(folder):
    return {path.name: path.read_bytes().decode("utf-8") for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    assert write_results(small_lines(), out, bootstraps=DRAWS) == out / "report.html"
    return out


def test_the_committed_tables_byte_for_byte(made):
    assert contents(made / "tables") == contents(SMALL / "tables")
    assert len(contents(SMALL / "tables")) == 4 * 9


def test_order_of_rows_and_lines_does_not_matter(made, tmp_path):
    write_results(small_lines(shuffle=5), tmp_path, bootstraps=DRAWS)
    assert contents(tmp_path / "tables") == contents(made / "tables")
    for path in sorted((made / "figures").iterdir()):
        assert (tmp_path / "figures" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "report.html").read_bytes() == (made / "report.html").read_bytes()


def test_figures_and_what_the_page_says(made):
    names = {path.stem for path in (made / "figures").iterdir()}
    assert names == {f"{name}{end}" for name in ("cross-DISFA-lab_a", "within-DISFA") for end in ("", "-reliability")}
    page = (made / "report.html").read_text(encoding="utf-8")
    dagger = "† The epoch was chosen on the test split"
    assert all(text in page for text in ("as published", dagger, "by &#x27;eyes&#x27;", "commit abc1234", "<strong>"))
    assert page.count("<img") == 4 and page.count("(prefers-color-scheme: dark)") >= 4
    assert 'src="http' not in page and "seen rendered faces only" not in page


def test_a_page_about_rendered_faces_says_so(tmp_path):
    lines = [line_of(some_predictions("P1", skill=1.0, dataset="synthetic_a"), data="lab_a")]
    assert "seen rendered faces only" in write_results(lines, tmp_path, bootstraps=5).read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("width, dark", [(390, False), (1280, True)])
def test_the_page_in_a_browser(made, tmp_path, width, dark):
    seen = measure(made / "report.html", tmp_path, width=width, dark=dark)
    assert seen["scrollWidth"] == seen["width"] and all(picture["loaded"] for picture in seen["pictures"])
    if not dark:
        assert console(made / "report.html", tmp_path) == []


@pytest.mark.slow
def test_all_protocols_and_intervals_of_ranks(tmp_path):
    lines, paths = [], {}
    runs = [{"protocol": "micro", "fold": fold} for fold in ("sub1", "sub2")]
    runs += [{"protocol": "efficiency", "subset": size} for size in (100, 1.0)]
    for number, given in enumerate(runs):
        table = some_predictions(str(number), skill=0.8, subjects=[given["fold"]] if "fold" in given else "xy")
        lines.append(line_of(table, **given))
        paths[lines[-1]["key"]] = tmp_path / f"{number}.csv"
        write_predictions(table, paths[lines[-1]["key"]], {})
    write_results(lines, tmp_path / "out", bootstraps=20, rank_predictions=paths)
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {
        "efficiency-lab_a.png", "micro-lab_a.png", "micro-lab_a-reliability.png",
    }  # fmt: skip
    text = (tmp_path / "out" / "tables" / "micro-lab_a-scores.csv").read_text(encoding="utf-8")
    assert "AUROC 95 % interval" in text and text.splitlines()[1].count("[") == 2
    write_results(lines, tmp_path / "without", bootstraps=20)
    text = (tmp_path / "without" / "tables" / "micro-lab_a-scores.csv").read_text(encoding="utf-8")
    assert "95 %" not in text.splitlines()[0]


def test_an_interrupted_writer_leaves_the_old_page(tmp_path, monkeypatch):
    write_results(three_fold_lines({"auformer": 1.0}), tmp_path, bootstraps=5)
    before = (tmp_path / "report.html").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("auformer.benchmark.report.report_page", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_results(three_fold_lines({"auformer": 0.1}), tmp_path, bootstraps=5)
    assert (tmp_path / "report.html").read_bytes() == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def scorers(lines):
    return [GroupScorer(group, draws=10) for group in group_lines(lines)]


def crossed(**given):
    lines = []
    for data, test in (("lab_a", "lab_b"), ("lab_b", "lab_a")):
        table = some_predictions("x", skill=0.5, subjects="abc", dataset=test)
        lines.append(line_of(table, protocol="cross", data=data, test=test, **given))
    return lines


def all_figures(**given):
    """Figures of every kind."""
    found = group_figures(scorers(three_fold_lines({"auformer": 0.8}, **given))[0])
    found += group_figures(scorers(three_fold_lines({"auformer": 0.8}, protocol="efficiency", subset=100, **given))[0])
    return [*found, matrix_figure(cross_matrix_of(scorers(crossed(**given))))]


@pytest.mark.parametrize("select", ["test", "validation"])
def test_every_figure_carries_dagger_and_footnote(select):
    figures = all_figures(select=select)
    names = [one.name for one in figures]
    assert names == ["within-lab_a", "within-lab_a-reliability", "efficiency-lab_a", "cross-matrix"]
    for one in figures:
        said = texts(one.draw("light"))
        assert any("auformer" in text for text in said)
        assert ("auformer †" in said) == any("chosen on the test split" in text for text in said) == (select == "test")


def test_numbers_are_those_of_the_table():
    (scorer,) = scorers(three_fold_lines({"auformer": 0.8}))
    (scores,) = scorer.ranked
    bars, reliability = group_figures(scorer)
    mean = f"{100 * scores.f1.mean.value:.1f}"
    assert mean in texts(bars.draw("dark")) and f"auformer {mean}" in bars.alt
    axes = bars.draw("light").axes[0]
    assert [bar.get_width() for bar in axes.containers[0]][:3] == pytest.approx((100 * scores.f1.values).tolist())
    assert f"auformer {100 * scores.scores['ece'].mean.value:.1f}" in reliability.caption


def test_more_methods_than_colours_are_left_out_aloud():
    lines = three_fold_lines({f"method {i}": 0.1 * i for i in range(SHOWN + 2)})
    bars, _ = group_figures(scorers(lines)[0])
    assert f"The best {SHOWN} of {SHOWN + 2} methods are shown." in bars.caption
    assert len(bars.draw("light").axes[0].containers) == SHOWN


def test_a_dollar_in_a_name_is_a_dollar():
    bars, _ = group_figures(scorers(three_fold_lines({"$a$ b": 0.5}))[0])
    assert r"\$a\$ b" in texts(bars.draw("light"))  # which matplotlib shows as $a$ b


if __name__ == "__main__":
    make_small()

import subprocess
import sys
from pathlib import Path

import pytest

from auformer.aus import AU_SETS
from auformer.benchmark import protocols
from auformer.benchmark.protocols import Common, DataSet, Facts, data_name, find_facts
from auformer.data.splits import PUBLISHED_FOLDS
from tests.helpers.benchmarks import rewrite, tiny_clips
from tests.helpers.faces import tiny_manifest

ONE = Common((("auformer", "validation"),))


def absent(name, *, rendered=False):
    return DataSet(name, Path("nowhere", f"{name}.csv"), None, rendered)


def known(name, **facts):
    subjects = tuple(f"{name}/S{number}" for number in range(8))
    given = {"au_names": ("AU1", "AU12"), "datasets": (name,), "subjects": subjects}
    return DataSet(name, Path(f"{name}.csv"), Facts(**(given | facts)))


def parts(runs):
    return [(run.fold, run.test.fold) for run in runs]


def test_facts_of_a_manifest(tmp_path):
    path = tiny_manifest(tmp_path, subjects=4, frames=3)
    facts = find_facts(path)
    assert facts == Facts(
        ("AU1", "AU4", "AU12"), ("tiny",), tuple(f"tiny/S00{i}" for i in range(4)), ("T1", "T2", "T3"), 0, False
    )
    rewrite(path, status=["no_face"] * 3 + ["ok"] * 9, fold=["T1"] * 6 + [None] * 6)
    facts = find_facts(path)
    assert facts is not None and facts.subjects[0] == "tiny/S001" and (facts.folds, facts.without_fold) == (("T1",), 6)
    clips = find_facts(tiny_clips(tmp_path / "clips"))
    assert clips is not None and clips.has_clips and clips.folds == ()
    assert find_facts(tmp_path / "nowhere.csv") is None
    assert (data_name(path), data_name(Path("a/bp4d.csv"))) == (tmp_path.name, "bp4d")


def test_published_folds_are_known_without_data():
    assert parts(protocols.within(absent("bp4d"), ONE)) == [(name, name) for name in PUBLISHED_FOLDS["bp4d"]]
    assert parts(protocols.within(absent("DISFA"), ONE)) == [(name, name) for name in ("D1", "D2", "D3")]
    (run,) = protocols.within(absent("mine"), ONE)
    assert run.stands_for == "each fold" and run.text() == "within  mine  each fold  auformer  seed 0"
    assert [run.fold for run in protocols.within(absent("lab", rendered=True), ONE)] == ["ours1", "ours2", "ours3"]


def test_the_column_fold_decides():
    assert parts(protocols.within(known("mine", folds=("a", "b")), ONE)) == [("a", "a"), ("b", "b")]
    runs = protocols.within(known("bp4d", folds=("P1", "P3")), ONE)
    assert parts(runs) == [("P1", "P1"), ("P3", "P3")] and runs[0].warnings == (
        "bp4d: the published folds P2 are missing",
    )


@pytest.mark.parametrize("facts", [{"folds": ("a",)}, {"folds": ("a", "b"), "without_fold": 7}])
def test_folds_that_are_missing_are_refused(facts):
    with pytest.raises(ValueError, match="at least two folds|7 rows have an empty `fold`"):
        protocols.within(known("mine", **facts), ONE)


def test_without_the_column_folds_are_ours_by_subject():
    data = known("mine")
    runs = protocols.within(data, ONE)
    tested = [subject for run in runs for subject in run.test.subjects or ()]
    assert data.facts is not None and sorted(tested) == list(data.facts.subjects)
    assert [run.fold for run in runs] == ["ours1", "ours2", "ours3"]
    assert all("ours" in run.warnings[0] for run in runs)
    other = protocols.within(data, Common((("probe", "last"), ("auformer", "last")), (5, 6)))
    assert {run.test for run in other} == {run.test for run in runs}  # the same for every method and seed
    each = [(method, seed) for method in ("probe", "auformer") for seed in (5, 6)]
    assert [(run.method, run.seed) for run in other[::3]] == each


@pytest.mark.parametrize("folds", [1, 9])
def test_folds_of_ours_are_at_most_one_per_subject(folds):
    data = known("mine")
    assert data.facts is not None and len(data.facts.subjects) == 8
    with pytest.raises(ValueError, match=f"at least 2 and at most the 8 subjects of mine, but got {folds}"):
        protocols.within(data, ONE, folds=folds)


def test_cross_is_about_the_aus_that_both_sides_have():
    train, test = known("a", au_names=("AU1", "AU4", "AU12")), known("b", au_names=("AU4", "AU12", "AU25"))
    (run,) = protocols.cross([train], [test], ONE)
    assert (run.au_names, run.train, run.test.data) == (("AU4", "AU12"), ("a",), "b")
    both = protocols.cross([train, known("c", au_names=("AU25",))], [test], ONE)[0]
    assert both.au_names == ("AU4", "AU12", "AU25") and both.text() == "cross  a+c -> b  auformer  seed 0"
    assert [run.test.data for run in protocols.cross([absent("a")], [absent("b"), absent("c")], ONE)] == ["b", "c"]


def test_cross_refuses_what_cannot_be_tested():
    with pytest.raises(ValueError, match=r"a and b to share an action unit, but got AU1, AU12 and AU25; take"):
        protocols.cross([known("a")], [known("b", au_names=("AU25",))], ONE)
    for sides in (([absent("a")], [absent("a")]), ([absent("a")], [])):
        with pytest.raises(ValueError, match="others to test on"):
            protocols.cross(*sides, ONE)


def test_efficiency_is_within_on_fewer_frames():
    runs = protocols.efficiency(absent("bp4d"), ONE, sizes=[100, 0.5])
    assert [(run.subset, run.fold) for run in runs] == [
        (size, fold) for size in (100, 0.5) for fold in ("P1", "P2", "P3")
    ]
    assert runs[0].text() == "efficiency  bp4d  fold P1  100 frames  auformer  seed 0"
    assert "50 % of the frames" in runs[3].text()
    assert {run.test for run in runs} == {run.test for run in protocols.within(absent("bp4d"), ONE)}


@pytest.mark.parametrize("size", [0, -5, 1.5, True, "all"])
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match="`sizes`"):
        protocols.efficiency(absent("bp4d"), ONE, sizes=[size])


def test_leave_one_subject_out():
    (run,) = protocols.micro([absent("casme2")], "loso", ONE)
    assert run.text() == "micro  casme2  each subject left out  auformer  seed 0" and run.clips
    data = known("casme2", has_clips=True)
    runs = protocols.micro([data], "loso", ONE)
    assert [(run.fold, run.test.subjects) for run in runs[:2]] == [("S0", ("casme2/S0",)), ("S1", ("casme2/S1",))]
    assert len(runs) == 8
    joined = known("x", has_clips=True, subjects=("a/S1", "b/S1"))
    assert [run.fold for run in protocols.micro([joined], "loso", ONE)] == ["a/S1", "b/S1"]


def test_four_folds_and_leave_one_data_set_out():
    one, two = known("a", has_clips=True), known("b", has_clips=True)
    runs = protocols.micro([one, two], "4fold", ONE)
    assert [(run.train, run.fold) for run in runs[3:5]] == [(("a",), "ours4"), (("b",), "ours1")] and len(runs) == 8
    names = ("ours1", "ours2", "ours3", "ours4")
    prepared = protocols.micro([known("a", has_clips=True, folds=names)], "4fold", ONE)
    assert parts(prepared) == [(name, name) for name in names] and "ours" in prepared[0].warnings[0]
    other = protocols.micro([known("a", has_clips=True, folds=names[:3])], "4fold", ONE)
    assert [run.test for run in other] == [run.test for run in runs[:4]]
    out = protocols.micro([one, two, absent("c")], "lodo", Common((("auformer", "last"),), init="demo"))
    assert [(run.train, run.test.data, run.fold) for run in out] == [
        (("b", "c"), "a", "a"), (("a", "c"), "b", "b"), (("a", "b"), "c", "c"),
    ]  # fmt: skip
    assert out[0].au_names == AU_SETS["cd6me"] and out[0].text().endswith("experts from demo")


def test_micro_refuses_stills_and_single_sets():
    alone = known("a", has_clips=True, subjects=("a/S1",))
    for data, split, message in (
        (known("a"), "loso", "to hold clips"), (absent("a"), "lodo", "at least two data sets"),
        (absent("a"), "5fold", "`split`"), (alone, "loso", "at least two subjects"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            protocols.micro([data], split, ONE)


def test_planning_and_tables_need_no_torch():
    names = ("suite", "store", "record", "groups", "tables", "report")
    modules = ", ".join(["auformer.commands.benchmark", *(f"auformer.benchmark.{name}" for name in names)])
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

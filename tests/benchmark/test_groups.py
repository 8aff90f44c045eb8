import random

import pytest

from auformer.benchmark.groups import group_lines
from tests.helpers.run_lines import counted_line, three_fold_lines

COUNTS = {"AU1": {"d/a": [1, 2, 3, 4]}, "AU12": {"d/a": [4, 3, 2, 1]}}


def labels(*lines):
    return [method.label for method in group_lines(lines)[0].methods]


def test_groups_are_protocol_name_and_data():
    lines = [
        counted_line(COUNTS, protocol="micro", data="casme2", fold="sub01"),
        counted_line(COUNTS, protocol="cross", data="lab_a", test="lab_b"),
        counted_line(COUNTS, protocol="within", data="lab_b"),
        counted_line(COUNTS, protocol="within", data="lab_a"),
        counted_line(COUNTS, protocol="within", data="lab_a", name="other"),
    ]
    groups = group_lines(lines)
    names = "within-other-lab_a within-lab_a within-lab_b cross-lab_a-lab_b micro-casme2"
    assert [group.name for group in groups] == names.split()
    assert groups[3].title == "Cross-domain: lab_a → lab_b"
    assert groups[0].title == "Within: lab_a (other)"
    mixed = [lines[i] for i in random.Random(0).sample(range(5), 5)]
    assert group_lines(mixed) == groups


def test_one_data_set_left_out_is_one_group():
    names = ["casme2", "mmew", "samm"]
    lines = []
    for one in names:
        counts = {au: {f"{one}/a": cells["d/a"]} for au, cells in COUNTS.items()}
        # the AUs follow from the data sets that are there
        given = {"config": {"epochs": 3, "au_names": [one]}, "config_hash": one}
        rest = "+".join(name for name in names if name != one)
        lines.append(counted_line(counts, protocol="micro", fold=one, test=one, data=rest, **given))
    (group,) = group_lines(lines)
    assert group.one_data_set_left_out and group.folds == tuple(names) and group.name == "micro-casme2-mmew-samm"
    assert group.title.endswith("casme2, mmew, samm, one data set left out at a time") and len(group.methods) == 1


def test_rows_differ_in_method_start_size_selection_and_configuration():
    for given, end in (
        ({"init": "bp4d.safetensors"}, "from bp4d.safetensors"), ({"select": "test"}, "†"),
        ({"select": "last"}, "(last epoch)"),
    ):  # fmt: skip
        assert labels(counted_line(COUNTS), counted_line(COUNTS, **given)) == ["auformer", f"auformer {end}"]
    configs = [counted_line(COUNTS, config_hash=letter * 64) for letter in "ab"]
    assert labels(*configs) == ["auformer (config aaaaaa)", "auformer (config bbbbbb)"]
    # 1 frame and all of them, 1.0, are two rows, though Python holds them for equal, also as keys
    sizes = [counted_line(COUNTS, protocol="efficiency", subset=size) for size in (1.0, 1000, 0.5, 1, None)]
    assert [repr(method.subset) for method in group_lines(sizes)[0].methods] == ["1", "1000", "0.5", "1.0", "None"]
    assert len(set(labels(*sizes))) == 1


def test_missing_runs_are_named_also_folds_that_no_method_has():
    lines = three_fold_lines(seeds=(0, 1))
    assert group_lines(lines)[0].missing() == []
    lines = [line for line in lines if (line["method"], line["seed"], line["fold"]) != ("linear_probe", 1, "P2")]
    assert group_lines(lines)[0].missing() == ["linear_probe, seed 1: P2"]
    published = [counted_line(COUNTS, data="bp4d", fold=fold) for fold in ("P1", "P3")]
    assert group_lines(published)[0].missing() == ["auformer, seed 0: P2"]


def test_other_data_is_another_row():
    lines = [counted_line(COUNTS, data_sha256={"lab_a": text}) for text in ("0", "1")]
    assert all(label.startswith("auformer (data ") for label in labels(*lines)) and len(set(labels(*lines))) == 2


def test_warnings_say_which_folds_they_are_about():
    (group,) = group_lines(
        [counted_line(COUNTS, fold=f"P{i}", warnings=["everywhere", *(["here"] if i == 2 else [])]) for i in range(4)]
    )
    assert group.methods[0].warnings() == ["everywhere", "here (fold P2)"]
    (group,) = group_lines([counted_line(COUNTS, fold=f"P{i}", warnings=["often"] if i else []) for i in range(9)])
    assert group.methods[0].warnings() == ["often (8 folds)"]


def test_the_last_line_of_a_run_counts():
    old, new = counted_line(COUNTS), counted_line({"AU1": {"d/a": [9, 0, 0, 0]}})
    (group,) = group_lines([old, new])
    assert group.others == 0 and group.methods[0].runs[0, ""] == new  # the same run, done again
    (group,) = group_lines([old | {"key": "0" * 64}, new])
    assert group.others == 1 and group.methods[0].runs[0, ""] == new


def test_subjects_and_aus_are_in_natural_order():
    lines = [counted_line(COUNTS, protocol="micro", fold=fold) for fold in ("sub10", "sub2", "sub1")]
    (group,) = group_lines(lines)
    assert group.folds == ("sub1", "sub2", "sub10") and group.au_names == ("AU1", "AU12")


@pytest.mark.parametrize("cells", [[1, 2, 3], [1, 2, 3, -4], [1, 2, 3, 0.5], None])
def test_counts_that_are_none(cells):
    with pytest.raises(ValueError, match="four counts per subject of every AU, but not for AU1"):
        group_lines([counted_line(COUNTS) | {"counts": {"AU1": {"d/a": cells}, "AU12": {}}}])


def test_lines_that_no_table_can_be_made_from():
    with pytest.raises(ValueError, match="at least one finished run"):
        group_lines([])
    line = counted_line(COUNTS)
    with pytest.raises(ValueError, match="not for AU12"):
        group_lines([line | {"counts": {"AU1": {"d/a": [1, 2, 3, 4]}}}])
    del line["counts"]
    with pytest.raises(ValueError, match="line 2 of the finished runs to hold counts"):
        group_lines([counted_line(COUNTS), line])

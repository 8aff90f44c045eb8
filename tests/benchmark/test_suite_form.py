"""What stands in the wrong place of a suite's file is refused, with its key and its place, and never taken for something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from auformer.benchmark.suite import check_form, read_suite

ROOT = Path(__file__).resolve().parents[2]
PLAIN: dict[str, Any] = {
    "data": {"a": {"manifest": "a.csv"}},
    "methods": {"m": {"config": "m.yaml"}},
    "runs": [{"protocol": "within", "data": "a"}],
}


def entry(**keys: Any) -> dict[str, Any]:
    """A suite whose entry has other keys."""
    return {"runs": [PLAIN["runs"][0], {"protocol": "efficiency", "name": "other", "data": "a", **keys}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ["a"]}, "`data` of s.yaml to be a mapping by name"),
        ({"data": {1: {"manifest": "a.csv"}}}, "`data` of s.yaml .* needs quotes"),
        ({"data": {"a": {"manifest": None}}}, "`manifest` of the data set a in s.yaml to be text, but got None"),
        ({"methods": "m.yaml"}, "`methods` of s.yaml"),
        ({"methods": {"m": {"config": None}}}, "`config` of the method m in s.yaml to be text"),
        (
            {"methods": {"m": {"config": "m.yaml", "set": ["x=1"]}}},
            "`set` of the method m in s.yaml to be settings by dotted name",
        ),
        ({"needs": ["x"]}, "`needs` of s.yaml"),
        ({"out": ["x"]}, "`out` of s.yaml to be text"),
        ({"fast": [1]}, "`fast` of s.yaml"),
        ({"runs": "within"}, "`runs` of s.yaml to be a list of entries"),
        ({"runs": ["within"]}, "`runs` of s.yaml to be a list of entries"),
        ({"runs": {"protocol": "within"}}, "`runs` of s.yaml to be a list of entries"),
        ({"seeds": "many"}, "`seeds` of s.yaml to be whole numbers"),
        ({"seeds": [0.5]}, "`seeds` of s.yaml"),
        ({"seeds": -1}, "`seeds` of s.yaml .* but got -1"),
        ({"seeds": True}, "`seeds` of s.yaml"),
        ({"seeds": []}, "`seeds` of s.yaml"),
        ({"seeds": [0, 0]}, "`seeds` of s.yaml .* each once"),
        (entry(seeds={"m": "x"}), "`seeds` of entry 2 of `runs` in s.yaml .* or a mapping of them by method"),
        (
            entry(select_on_test="no"),
            "`select_on_test` of entry 2 of `runs` in s.yaml to be true or false, but got 'no'",
        ),
        (entry(folds="three"), "`folds` of entry 2"),
        (entry(folds=1), "`folds` of entry 2 .* at least 2, but got 1"),
        (entry(folds=2.5), "`folds` of entry 2"),
        (entry(sizes=[1.0, 1.0]), "`sizes` of entry 2 .* each once"),
        (entry(sizes=["100"]), "`sizes` of entry 2"),
        (entry(min_steps=-3), "`min_steps` of entry 2"),
        (entry(data={"x": 1}), "`data` of entry 2 .* a name or a list of names"),
        (entry(init=[1]), "`init` of entry 2"),
        (entry(split=4), "`split` of entry 2"),
    ],
)
def test_what_stands_in_the_wrong_place_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_form({**PLAIN, **changes}, Path("s.yaml"))


def test_what_may_be_given_in_several_ways_passes() -> None:
    check_form(PLAIN, Path("s.yaml"))
    check_form({}, Path("s.yaml"))  # what is missing is told by the reader
    given = entry(
        seeds={"default": [0], "m": [0, 1]},
        select_on_test=False,
        folds=2,
        sizes=[1, 1.0],
        min_steps=0,
        init=[None, "demo"],
        set=None,
    )
    check_form({**PLAIN, **given, "seeds": 3, "out": None, "fast": {"runs": [{"protocol": "within"}]}}, Path("s.yaml"))


def test_every_suite_of_this_tree_passes() -> None:
    paths = [
        path
        for path in sorted((ROOT / "experiments").glob("*.yaml"))
        if "runs" in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    assert len(paths) >= 5
    for path in paths:
        check_form(yaml.safe_load(path.read_text(encoding="utf-8")), path)


def test_the_reader_checks_the_file_and_its_short_form(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, "seeds": "many"}), encoding="utf-8")
    with pytest.raises(ValueError, match="`seeds` of"):
        read_suite(path)
    path.write_text(yaml.safe_dump({**PLAIN, "fast": {"seeds": [0, 0]}}), encoding="utf-8")
    assert read_suite(path).seeds == (0,)
    with pytest.raises(ValueError, match="each once"):
        read_suite(path, fast=True)

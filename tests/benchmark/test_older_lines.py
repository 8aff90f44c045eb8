"""Runs from before an option existed are the runs of today as long as it has its default; lines of all versions keep their keys."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from auformer.benchmark.older_lines import renew_lines
from auformer.benchmark.runner import finished_line
from auformer.benchmark.store import (
    IDENTITY,
    append_line,
    check_claims,
    folder_of,
    read_json,
    read_lines,
    run_key,
    write_json,
)
from auformer.cli import main
from tests.helpers.benchmarks import jobs_of, suite_of, two_labs, write_config

CROSS = {"protocol": "cross", "train": "one", "test": "two"}
SOURCES = ("init_sha256", "test_subjects", "data_sha256")
RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


def key_of(line: Any) -> str:
    """The key as it has been made from the first version on."""
    return run_key({name: line[name] for name in (*IDENTITY, "config", *SOURCES)})


@pytest.fixture
def job(tmp_path: Path) -> Any:
    return jobs_of(suite_of(tmp_path, two_labs(tmp_path), CROSS))[0]


def without(claim: Any, *options: str) -> dict[str, Any]:
    """A claim as a version would have made it that did not know some options of the model."""
    older = deepcopy(dict(claim))
    for name in options:
        del older["config"]["model"]["init_args"][name]
    return {**older, "key": key_of(older), "config_hash": run_key(older["config"])}


def test_keys_are_made_as_ever(job: Any) -> None:
    assert job.claim["key"] == key_of(job.claim) and job.claim["config_hash"] == run_key(job.claim["config"])
    lines = [
        json.loads(text)
        for path in sorted(RESULTS.rglob("runs.jsonl"))
        for text in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(lines) >= 70
    for line in lines:
        assert line["key"] == key_of(line) and line["config_hash"] == run_key(line["config"])
        assert line["folder"] == folder_of(Path(), line).as_posix()


@pytest.mark.parametrize("where", ["file", "folder", "both"])
def test_a_run_that_knew_fewer_options_is_finished(job: Any, where: str) -> None:
    older = without(job.claim, "carry", "blocks")
    line, other = {**older, "seconds": 3.5}, {**older, "seed": 7, "seconds": 1.0}
    write_json(older, job.folder / "run.json")
    if where != "folder":
        append_line(job.out, other)
        append_line(job.out, line)
    if where != "file":
        write_json(line, job.folder / "line.json")
    with pytest.raises(ValueError, match="carry was .absent. and is now True"):
        check_claims(job.out, [job.claim])
    assert renew_lines(job.out, [job.claim]) == 1
    check_claims(job.out, [job.claim])
    assert finished_line(job) == {**job.claim, "seconds": 3.5} and read_json(job.folder / "run.json") == job.claim
    if where != "folder":  # of other runs nothing is known here
        assert other in read_lines(job.out).values()
    assert renew_lines(job.out, [job.claim]) == 0


def test_a_run_that_only_was_planned(job: Any) -> None:
    write_json(without(job.claim, "carry"), job.folder / "run.json")
    assert renew_lines(job.out, [job.claim]) == 0
    check_claims(job.out, [job.claim])


@pytest.mark.parametrize("change", ["not the default", "other value", "option gone", "other data", "not of the model"])
def test_another_configuration_is_still_refused(job: Any, change: str) -> None:
    older = without(job.claim, "carry")
    claim = deepcopy(dict(job.claim))
    if change == "not the default":
        claim["config"]["model"]["init_args"]["carry"] = False
    elif change == "other value":
        older["config"]["model"]["init_args"]["window"] = 5
    elif change == "option gone":
        older["config"]["model"]["init_args"]["sight"] = 1
    elif change == "other data":
        older["data_sha256"] = {**older["data_sha256"], "one": "x"}
    else:
        claim["config"]["min_steps"] = 300
    claim["key"] = key_of(claim)
    append_line(job.out, older)
    before = (job.out / "runs.jsonl").read_bytes()
    assert renew_lines(job.out, [claim]) == 0 and (job.out / "runs.jsonl").read_bytes() == before
    with pytest.raises(ValueError, match="Expected .* to be new or of this configuration"):
        check_claims(job.out, [claim])


def test_the_command_keeps_what_an_earlier_version_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labs, config = two_labs(tmp_path), write_config(tmp_path)
    words = [
        "--train",
        str(labs["one"].manifest),
        "--test",
        str(labs["two"].manifest),
        "--config",
        str(config),
        "--out",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr("auformer.commands.benchmark._write", lambda *_: None)
    assert main(["benchmark", "cross", *words]) == 0
    (line,) = read_lines(tmp_path / "out").values()
    folder = tmp_path / "out" / line["folder"]
    for path in (folder / "run.json", folder / "line.json"):
        write_json(without(read_json(path), "carry"), path)
    (tmp_path / "out" / "runs.jsonl").write_text(json.dumps(without(line, "carry")) + "\n", encoding="utf-8")
    monkeypatch.setattr("auformer.benchmark.runner._run", lambda *_: pytest.fail("ran again"))
    assert main(["benchmark", "cross", *words]) == 0
    assert "kept: 1 run of an earlier version" in capsys.readouterr().out
    assert list(read_lines(tmp_path / "out").values()) == [line] and read_json(folder / "line.json") == line

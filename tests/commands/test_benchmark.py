import json
from pathlib import Path

import pandas as pd
import pytest

from auformer.benchmark import runner
from auformer.benchmark.store import RunLock, read_lines
from auformer.cli import main
from auformer.synthetic.writing import render_options
from tests.helpers.benchmarks import rewrite, two_labs, write_config

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "experiments" / "suites" / "suite-synthetic.yaml"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    two_labs(folder)
    write_config(folder)
    return folder


def words(folder, *more):
    """Within-domain on the lab `one`."""
    given = {"--data": folder / "one" / "manifest.csv", "--config": folder / "tiny.yaml", "--out": folder / "out"}
    options = [str(word) for pair in given.items() for word in pair]
    return ["benchmark", "within", *options, "--bootstraps", "20", *more]


def test_a_dry_run_needs_no_data(capsys, tmp_path):
    config = str(ROOT / "experiments" / "configs" / "base.yaml")
    calls = {
        "within --data bp4d.csv disfa.csv": 6,
        "within --data unbc.csv --folds loso": 1,
        "cross --train bp4d.csv --test disfa.csv casme2.csv": 2,
        "efficiency --data bp4d.csv --sizes 100 1000 1.0": 9,
        "micro --data casme2.csv --protocol loso": 1,
        "micro --data casme2.csv samm.csv --protocol lodo --init demo": 2,
        "micro --data casme2.csv --protocol 4fold --seeds 0 1": 8,
    }
    for call, number in calls.items():
        assert main(["benchmark", *call.split(), "--config", config, "--dry-run", "--out", str(tmp_path / "out")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == number and {line.split()[0] for line in lines} == {call.split()[0]}
    assert main(["benchmark", "within", "--data", "disfa.csv", "--dry-run"]) == 0  # AUFormer by default
    assert capsys.readouterr().out.splitlines()[0] == "within  disfa  fold D1  auformer  seed 0"
    assert not (tmp_path / "out").exists()


def test_only_some_runs(capsys):
    assert main(["benchmark", "suite", str(SUITE), "--dry-run", "--only", "within", "lab_b", "linear_probe"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and all(line.startswith("within  lab_b") and "linear_probe" in line for line in lines)
    assert main(["benchmark", "suite", str(SUITE), "--dry-run", "--only", "within", "svm"]) == 1
    assert "none of" in capsys.readouterr().err


@pytest.mark.slow
def test_three_folds_tables_and_going_on(workspace, capsys, monkeypatch):
    assert main(words(workspace, "--only", "T2")) == 0
    assert "1 run, 0 of them finished" in capsys.readouterr().out
    assert main(words(workspace)) == 0
    assert "3 runs, 1 of them finished" in capsys.readouterr().out
    monkeypatch.setattr(runner, "_run", lambda *_: pytest.fail("ran again"))
    assert main(words(workspace)) == 0
    out = capsys.readouterr().out
    results = workspace / "out" / "results"
    assert "3 runs, 3 of them finished" in out and out.splitlines()[-1] == str(results / "report.html")
    assert (results / "tables" / "summary.txt").read_text(encoding="utf-8") in out
    assert (results / "report.html").stat().st_size > 10_000
    assert main(["benchmark", "status", str(workspace / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 finished"
    (workspace / "out" / "runs" / "within" / "one" / "auformer" / "T3-seed0" / "predictions.csv").unlink()
    assert main(words(workspace, "--bootstrap-ranks")) == 1
    assert "T3-seed0" in (error := capsys.readouterr().err) and "leave the option out" in error
    assert main(words(workspace, "--set", "trainer.max_epochs=2")) == 1
    error = capsys.readouterr().err
    assert "config.fit.epochs was 1 and is now 2" in error and "--no-resume" in error


def test_a_changed_configuration_begins_anew_when_told_so(workspace, capsys):
    first = words(workspace, "--out", str(workspace / "anew"), "--only", "T1")
    assert main(first) == 0
    assert main([*first, "--no-resume", "--set", "trainer.max_epochs=2", "--seeds", "0"]) == 0
    (line,) = read_lines(workspace / "anew").values()
    assert line["epochs"] == 2


@pytest.mark.parametrize(
    "option, value, least",
    [("--bootstraps", "0", 1), ("--jobs", "0", 1), ("--seeds", "-1", 0), ("--folds", "1", 2), ("--folds", "many", 2)],
)
def test_options_out_of_range_are_told_before_anything_is_trained(tmp_path, option, value, least, capsys):
    assert main(["benchmark", "within", "--data", "bp4d.csv", "--out", str(tmp_path / "out"), option, value]) == 2
    assert (
        f"a whole number, at least {least}, but got '{value}'" in capsys.readouterr().err
        and not (tmp_path / "out").exists()
    )


def test_sizes_are_numbers_of_frames_or_fractions(capsys):
    call = ["benchmark", "efficiency", "--data", "bp4d.csv", "--dry-run", "--sizes"]
    assert main([*call, "1", "1.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "  1 frames  " in lines[0] and "  100 % of the frames  " in lines[-1]
    for wrong in ("abc", "1e3"):
        assert main([*call, wrong]) == 2
        assert f"or a fraction like 0.5 or 1.0, but got '{wrong}'" in capsys.readouterr().err


def test_the_same_seed_twice_is_one_run(capsys):
    assert main(["benchmark", "within", "--data", "bp4d.csv", "--dry-run", "--seeds", "3", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_what_a_reader_should_know_is_told_before_the_runs(tmp_path, capsys):
    labs = two_labs(tmp_path)
    write_config(tmp_path)
    rewrite(labs["one"].manifest, fold=None)
    assert main(words(tmp_path, "--only", "ours1")) == 0
    out = capsys.readouterr().out
    assert out.index("note: one: the folds are ours") < out.index("[1/1]")


def test_runs_of_another_process_are_left_to_it(workspace, capsys):
    lock = RunLock(workspace / "locked" / "runs" / "within" / "one" / "auformer" / "T1-seed0" / "run.lock")
    assert lock.acquire()
    assert main(words(workspace, "--out", str(workspace / "locked"))) == 0
    out = capsys.readouterr().out
    assert "another process is at work on it" in out and "1 run left to another process" in out
    assert [line["fold"] for line in read_lines(workspace / "locked").values()] == ["T2", "T3"]
    assert main(["benchmark", "status", str(workspace / "locked")]) == 0
    assert "1 running, 2 finished" in capsys.readouterr().out


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, capsys):
    labs = two_labs(tmp_path)
    write_config(tmp_path)
    frame = pd.read_csv(labs["one"].manifest)
    rewrite(labs["one"].manifest, AU4=frame["AU4"].where(frame["fold"] == "T1", 0))
    assert main(words(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "1 of 3 runs failed" in error and "fold T1" in error and "AU4" in error and "log.txt" in error
    assert len(read_lines(tmp_path / "out")) == 2 and (tmp_path / "out" / "results" / "report.html").is_file()


@pytest.mark.slow
def test_the_synthetic_suite_in_its_short_form(tmp_path, capsys):
    """All four protocols on rendered faces with the packaged backbone and detector."""
    out = tmp_path / "fast"
    call = ["benchmark", "suite", str(SUITE), "--fast", "--out", str(out), "--bootstraps", "50"]
    assert main(call) == 0
    text = capsys.readouterr().out
    assert "11 runs, 0 of them finished" in text and "failed" not in text
    lines = [json.loads(line) for line in (out / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["protocol"] for line in lines} == {"within", "cross", "efficiency", "micro"}
    cross = next(line for line in lines if line["protocol"] == "cross")
    assert cross["aus"] == ["AU1", "AU2", "AU4", "AU6", "AU12"] and cross["rows"] == 48
    micro = [line for line in lines if line["protocol"] == "micro"]
    assert sum(line["rows"] for line in micro) == 12 and {line["init"] for line in micro} == {"demo"}
    assert main(call) == 0  # the data and the runs are there
    assert "11 runs, 11 of them finished" in capsys.readouterr().out


def test_data_sets_are_rendered_from_a_suite_s_options(tmp_path):
    options = {"lab": "B", "subjects": 2, "frames": 2, "size": 32, "first-subject": 7, "no_jitter": True}
    manifest = render_options(tmp_path / "lab", options)
    side = json.loads(manifest.with_suffix(".json").read_text(encoding="utf-8"))
    wanted = {"lab": "B", "subjects": 2, "first_subject": 7, "jitter": False, "roll": True}
    assert {name: side["parameters"][name] for name in wanted} == wanted
    for wrong in ({"people": 3}, {"out": "x"}, {"subjects": "many"}, {"lab": True}, {"no_roll": "yes"}):
        with pytest.raises(ValueError, match="options of `auformer synth`"):
            render_options(tmp_path / "other", wrong)
    with pytest.raises(ValueError, match="`lab` to be one of A, B"):
        render_options(tmp_path / "other", {"lab": "C"})

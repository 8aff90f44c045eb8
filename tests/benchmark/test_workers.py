import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from auformer.benchmark.runner import claim
from auformer.benchmark.store import check_claims, read_lines
from auformer.benchmark.workers import Progress, run_jobs
from tests.helpers.benchmarks import jobs_of, suite_of, two_labs, write_config

WITHIN = {"protocol": "within", "data": "one"}
KILLS = 10


def do(jobs, workers):
    told = {}
    for job in jobs:
        claim(job)
    run_jobs(jobs, workers, lambda job, line, error: told.update({job.run.fold: (line, error)}))
    return told


@pytest.mark.slow
def test_several_processes_do_what_one_does(labs, tmp_path):
    """Three runs of which one fails, in two processes; a fourth whose process dies."""
    alone = do(jobs_of(suite_of(tmp_path, labs, WITHIN, out="alone")), 1)
    jobs = jobs_of(suite_of(tmp_path, labs, WITHIN, out="shared"))
    folder = tmp_path / "shared/runs/a/b/c/broken"
    broken = replace(jobs[0], run=replace(jobs[0].run, fold="broken"), au_names=("AU99",), folder=folder)
    told = do([broken, *jobs], 2)
    assert list(alone) == ["T1", "T2", "T3"] and set(told) == {"broken", "T1", "T2", "T3"}
    assert told["broken"][0] is None and "AU99" in told["broken"][1]
    assert "AU99" in (broken.folder / "log.txt").read_text(encoding="utf-8")
    for fold, (line, error) in alone.items():
        same, other = (
            {name: value for name, value in one.items() if name != "seconds"} for one in (line, told[fold][0])
        )
        assert error is None and same == other
    check_claims(tmp_path / "shared", [job.claim for job in jobs])


class Deadly:
    """Kills the process that is sent it."""

    def __reduce__(self):
        return _die, ()


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
def test_a_process_that_dies_is_told_of(labs, tmp_path):
    jobs = [replace(job, warnings=(Deadly(),)) for job in jobs_of(suite_of(tmp_path, labs, WITHIN))]
    told = []
    with pytest.raises(ValueError, match="all of them have died"):
        run_jobs(jobs, 2, lambda job, line, error: told.append((line, error)))
    assert len(told) == 2 and all(line is None and "ended with code -9" in str(error) for line, error in told)
    with pytest.raises(ValueError, match="at least one process"):
        run_jobs(jobs, 0, lambda *_: None)


def write_suite(folder):
    """Four runs of a fraction of a second each."""
    write_config(folder)
    content = {
        "data": {name: {"manifest": str(source.manifest)} for name, source in two_labs(folder).items()},
        "methods": {"auformer": {"config": "tiny.yaml"}},
        "runs": [
            {"protocol": "within", "data": "one", "set": {"trainer.max_epochs": 3}},
            {"protocol": "cross", "train": "one", "test": "two"},
        ],
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "suite.yaml"


def run_suite(suite, out):
    """The command in a process of its own, which leaves without a word."""
    from auformer.cli import main

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        code = main(["benchmark", "suite", str(suite), "--out", str(out), "--bootstraps", "20"])
    os._exit(code)


def tables(out):
    return {path.name: path.read_bytes() for path in sorted((out / "results" / "tables").iterdir())}


@pytest.mark.kill
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes that start at once, with everything imported")
def test_a_suite_killed_ten_times_ends_in_the_same_tables(tmp_path):
    suite = write_suite(tmp_path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"auformer.benchmark.{name}" for name in ("workers", "runner", "report")])

    def start(out, target=run_suite):
        process = context.Process(target=target, args=(suite, tmp_path / out))
        process.start()
        return process

    start("", os.path.join).join(240)  # the imports
    began = time.monotonic()
    process = start("clean")
    process.join(240)
    whole = time.monotonic() - began
    assert process.exitcode == 0 and len(read_lines(tmp_path / "clean")) == 4
    rng = np.random.default_rng(0)
    killed = 0
    for moment in rng.uniform(0.05, 0.6, KILLS) * whole:
        process = start("killed")
        process.join(float(moment))
        killed += process.is_alive()
        process.kill()
        process.join()
    process = start("killed")
    process.join(240)
    assert process.exitcode == 0 and killed >= 2
    assert tables(tmp_path / "killed") == tables(tmp_path / "clean")
    lines = (tmp_path / "killed" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4 == len({json.loads(text)["key"] for text in lines})


def job(fold):
    """A run of one fold."""
    return SimpleNamespace(run=SimpleNamespace(text=lambda: f"within  one  fold {fold}"), folder=Path("out") / fold)


def test_each_run_is_one_line():
    said = []
    progress = Progress(3, said.append)
    progress.report(job("P1"), {"seconds": 12.4}, None)
    progress.report(job("P2"), None, None)
    progress.report(job("P3"), {"seconds": 0.2}, None)
    assert said == [
        "[1/3] within  one  fold P1  12 s",
        "[2/3] within  one  fold P2  another process is at work on it",
        "[3/3] within  one  fold P3  0 s",
    ]
    progress.close()
    assert len(said) == 4 and said[-1].startswith("1 run left to another process; run the same command again")


def test_every_reason_is_told_once_with_its_first_run():
    said = []
    progress = Progress(4, said.append)
    no_au, full = "ValueError: no AU4", "OSError: disk full"
    for fold, error in (("P1", no_au), ("P2", full), ("P3", no_au), ("P4", None)):
        progress.report(job(fold), None if error else {"seconds": 1}, error)
    assert [line.rpartition("  ")[2] for line in said] == ["failed"] * 3 + ["1 s"]
    with pytest.raises(ValueError, match="3 of 4 runs failed") as caught:
        progress.close()
    assert str(caught.value).splitlines()[1:] == [
        f"  within  one  fold P1 ({Path('out/P1/log.txt')}) and 1 more: ValueError: no AU4",
        f"  within  one  fold P2 ({Path('out/P2/log.txt')}): OSError: disk full",
    ]

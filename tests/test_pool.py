"""The pool of processes: results, order, errors, ticks, processes that are killed, and a parent that is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest

from auformer.pool import run_tasks, tick

UNIX = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
_place: list[Any] = []


class Unpicklable(Exception):
    """An error that cannot be made again from its arguments, as some libraries raise."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def prepare(*place: Any) -> None:
    _place[:] = place


def work(task: Any) -> Any:
    """What the tests have done: a number is squared, text is an order."""
    if task == "error":
        raise KeyError("row 7")
    if task == "unpicklable error":
        raise Unpicklable("row", "8")
    if task == "unpicklable result":
        return lambda: 0
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "where":
        return os.getpid(), os.environ.get("OMP_NUM_THREADS"), cv2.getNumThreads(), list(_place)
    if isinstance(task, float):
        time.sleep(task)
    tick()
    tick(2)
    return task * task


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_results_ticks_and_setup(workers: int) -> None:
    ticks: list[int] = []
    done = run_tasks(work, [1, 2, 3], workers, on_tick=ticks.append)
    assert sorted(done) == [(1, 1), (2, 4), (3, 9)] and sum(ticks) == 9
    before = cv2.getNumThreads()
    found = dict(run_tasks(work, ["where", 1], workers, setup=prepare, arguments=("a", 1), threads=1))
    process, _, threads, place = found["where"]
    assert (threads, place, process == os.getpid()) == (1, ["a", 1], workers == 1)
    assert cv2.getNumThreads() == before
    assert list(run_tasks(work, [], workers)) == []
    tick()  # outside a task nothing happens
    assert sum(ticks) == 9


def test_each_process_takes_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    for _, (process, libraries, threads, _) in run_tasks(work, ["where", "where"], 2):
        assert (libraries, threads) == ("3", 3) and process != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_here(workers: int) -> None:
    with pytest.raises(KeyError, match="row 7") as caught:
        list(run_tasks(work, ["error", 1], workers))
    if workers > 1:
        assert "in work" in str(caught.value.__cause__)  # the traceback of the process
        with pytest.raises(RuntimeError, match="Unpicklable: row 8"):
            list(run_tasks(work, ["unpicklable error", 1], workers))
        with pytest.raises(Exception, match="lambda"):
            list(run_tasks(work, ["unpicklable result", 1], workers))
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(work, [1, 2], workers, setup=divmod, arguments=(1, 0)))
    with pytest.raises(ValueError, match="at least one process"):
        list(run_tasks(work, [1], 0))


def test_tasks_are_chosen_among_those_that_may_be_begun() -> None:
    """Even numbers wait while another even one is in progress."""
    together: list[tuple[Any, list[Any]]] = []

    def choose(waiting: list[Any], busy: list[Any]) -> Any:
        for index, task in enumerate(waiting):
            if task % 2 or not any(other % 2 == 0 for other in busy):
                together.append((task, busy))
                return waiting.pop(index)
        return None

    assert sorted(run_tasks(work, [2, 4, 6, 1], 3, choose=choose)) == [(1, 1), (2, 4), (4, 16), (6, 36)]
    assert [task for task, _ in together][:2] == [2, 1]
    assert not any(task % 2 == 0 and any(other % 2 == 0 for other in busy) for task, busy in together)


@UNIX
def test_a_process_that_is_killed_takes_its_task_with_it() -> None:
    tasks = ["die", 1, 2, 3]
    with pytest.raises(ChildProcessError, match="with fewer workers, to resume"):
        list(run_tasks(work, tasks, 2))
    done = dict(run_tasks(work, tasks, 2, on_death=lambda task, code: f"{task} {code}"))
    assert done == {"die": "die -9", 1: 1, 2: 4, 3: 9}
    with pytest.raises(ValueError, match="1 more tasks, but all of them have died"):
        list(run_tasks(work, ["die", "die", 1], 2, on_death=lambda *_: None))


@UNIX
def test_a_process_that_is_killed_while_it_waits_costs_no_task() -> None:
    """The first process is killed while the other is at 1.5; what waited for that is done by the one that is left."""
    tasks = run_tasks(
        work,
        ["where", 1.5, 1, 2],
        2,
        choose=lambda waiting, busy: waiting.pop(0) if waiting and busy != [1.5] else None,
    )
    results: dict[Any, Any] = {}
    for task, result in tasks:
        results[task] = result
        if task == "where":
            os.kill(result[0], signal.SIGKILL)
    assert (results[1.5], results[1], results[2]) == (2.25, 1, 4)


@UNIX
def test_a_loop_that_is_left_ends_the_processes() -> None:
    tasks = run_tasks(work, [0.01, 60.0, 60.0], 2)
    assert next(tasks) == (0.01, pytest.approx(0.0001))
    began = time.monotonic()
    tasks.close()
    assert time.monotonic() - began < 5


@UNIX
@pytest.mark.kill
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path: Path, kind: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib, signal, time\n"
        "from auformer.pool import run_tasks\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs begin without
        "def work(task):\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.pid').touch()\n"
        "    time.sleep(120)\n"
        "if __name__ == '__main__':\n"
        "    list(run_tasks(work, [1, 2], 2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(found := [int(path.stem) for path in tmp_path.glob("*.pid")]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(kind)
    parent.wait(120)
    while time.monotonic() < deadline and any(Path("/proc", str(number), "exe").exists() for number in found):
        time.sleep(0.05)
    assert len(found) == 2 and not any(Path("/proc", str(number), "exe").exists() for number in found)

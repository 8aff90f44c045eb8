from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auformer.benchmark import store as run_lock
from auformer.benchmark.store import RunLock, waiting_lock

HERE = {"host": socket.gethostname(), "pid": os.getpid()}


def write(path: Path, **content: object) -> RunLock:
    path.write_text(json.dumps({**HERE, **content}), encoding="utf-8")
    return RunLock(path)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_at_a_time(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path / "run.lock"), RunLock(tmp_path / "run.lock")
    assert first.holder() is None and first.acquire() and not second.acquire()
    assert second.holder() == f"process {os.getpid()} on {socket.gethostname()}"
    first.release()
    assert second.acquire() and json.loads((tmp_path / "run.lock").read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    lock = write(tmp_path / "run.lock", pid=dead_process())
    assert lock.holder() is None and lock.acquire() and lock.holder() is not None
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


def test_a_process_that_got_the_number_of_a_dead_one_is_not_its_holder(tmp_path: Path) -> None:
    if run_lock._started(os.getpid()) is None:
        pytest.skip("the system does not say when a process began")
    assert write(tmp_path / "a", started="1").acquire()
    assert not write(tmp_path / "b", started=run_lock._started(os.getpid())).acquire()


def test_of_other_hosts_nothing_is_known(tmp_path: Path) -> None:
    lock = write(tmp_path / "run.lock", host="elsewhere", pid=1)
    assert not lock.acquire() and lock.holder() == "process 1 on elsewhere"


def test_a_damaged_lock_is_stale_unless_it_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_text("", encoding="utf-8")
    assert not RunLock(path).acquire()
    os.utime(path, (time.time() - 5,) * 2)
    assert RunLock(path).acquire()


def _count(path: Path, counter: Path, times: int) -> None:
    for _ in range(times):
        with waiting_lock(path):
            value = int(counter.read_text(encoding="utf-8"))
            counter.write_text(str(value + 1), encoding="utf-8")


def test_processes_take_turns(tmp_path: Path) -> None:
    """Unlocked, some of the 90 additions would be lost. The first lock is a dead process's, which all three want to take over."""
    (tmp_path / "n").write_text("0", encoding="utf-8")
    write(tmp_path / "lock", pid=dead_process())
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path / "lock", tmp_path / "n", 30)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert (tmp_path / "n").read_text(encoding="utf-8") == "90"


def test_waiting_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with waiting_lock(path), pytest.raises(TimeoutError, match="delete it if that is gone"), waiting_lock(path, 0.1):
        pass
    assert not path.exists()

import json
import multiprocessing
import os
import socket
import time

import pytest

from auformer.benchmark.store import (
    RunLock,
    append_line,
    check_claims,
    folder_of,
    forget,
    identity,
    read_lines,
    restore_lines,
    status_text,
)
from auformer.files import write_json


def line(**changes):
    plain = {
        "key": "k", "protocol": "within", "name": "within", "data": "bp4d", "test": "bp4d", "method": "auformer",
        "fold": "P1",
        "subset": None, "seed": 0, "select": "validation", "init": None, "config": {"fit": {"epochs": 3}},
        "data_sha256": {"bp4d": "x"},
    }  # fmt: skip
    return {**plain, **changes}


def test_lines_are_kept_and_the_last_of_a_run_counts(tmp_path):
    for each in (line(), line(fold="P2"), line(key="newer")):
        append_line(tmp_path, each)
    found = read_lines(tmp_path)
    assert [one["key"] for one in found.values()] == ["newer", "k"]
    assert len((tmp_path / "runs.jsonl").read_bytes().splitlines()) == 3
    assert identity(line(subset=1)) != identity(line(subset=1.0)) and identity(line(key="other")) == identity(line())


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_last_line_is_dropped_and_replaced(tmp_path, cut):
    append_line(tmp_path, line())
    append_line(tmp_path, line(fold="P2"))
    path = tmp_path / "runs.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one["fold"] for one in read_lines(tmp_path).values()] == ["P1"]
    append_line(tmp_path, line(fold="P3"))
    assert [one["fold"] for one in read_lines(tmp_path).values()] == ["P1", "P3"]


def test_a_damaged_line_in_between_is_an_error(tmp_path):
    append_line(tmp_path, line())
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'{"key": 1}\n' + path.read_bytes())
    with pytest.raises(ValueError, match="line 1 of .*runs.jsonl"):
        read_lines(tmp_path)


def test_the_index_is_made_of_file_and_folders(tmp_path):
    write_json(folder_of(tmp_path, line()) / "line.json", line())
    append_line(tmp_path, line(fold="P2"))
    assert len(read_lines(tmp_path)) == 2
    restore_lines(tmp_path)
    restore_lines(tmp_path)
    assert len((tmp_path / "runs.jsonl").read_bytes().splitlines()) == 2
    forget(tmp_path, [line()])
    assert [one["fold"] for one in read_lines(tmp_path).values()] == ["P2"]


def test_folders_are_readable_and_differ(tmp_path):
    assert folder_of(tmp_path, line()) == tmp_path / "runs/within/bp4d/auformer/P1-seed0"
    other = line(test="disfa", fold="", subset=0.5, seed=2, select="test", init="demo")
    assert folder_of(tmp_path, other) == tmp_path / "runs/within/bp4d-to-disfa/auformer-from-demo-on-test/0.5-seed2"
    slashed, scored = (folder_of(tmp_path, line(fold=fold)) for fold in ("a/S1", "a_S1"))
    assert slashed != scored and slashed.parent == scored.parent
    assert folder_of(tmp_path, line(name="..")).is_relative_to(tmp_path / "runs")
    assert ".." not in folder_of(tmp_path, line(name="..")).parts


@pytest.mark.parametrize("where", ["line", "last.ckpt", "adapter.safetensors", "run.lock"])
def test_another_configuration_is_refused_with_what_differs(tmp_path, where):
    folder = folder_of(tmp_path, line())
    if where == "line":
        append_line(tmp_path, line())
    else:
        write_json(folder / "run.json", line())
        check_claims(tmp_path, [line(key="other", config={"fit": {"epochs": 5}})])  # so far, it is only planned
        if where == "run.lock":
            held = RunLock(folder / where)
            assert held.acquire()
        else:
            (folder / where).touch()
    check_claims(tmp_path, [line(), line(key="other", fold="P2")])
    with pytest.raises(ValueError, match=r"config.fit.epochs was 3 and is now 5.*--no-resume"):
        check_claims(tmp_path, [line(key="other", config={"fit": {"epochs": 5}})])
    with pytest.raises(ValueError, match=r"data_sha256.bp4d was x and is now y"):
        check_claims(tmp_path, [line(key="other", data_sha256={"bp4d": "y"})])
    with pytest.raises(ValueError, match="another checkpoint"):
        check_claims(tmp_path, [line(key="other")])


def test_status(tmp_path):
    append_line(tmp_path, line())
    for fold in ("P2", "P3", "P4"):
        write_json(folder_of(tmp_path, line(fold=fold)) / "run.json", line(fold=fold))
    (folder_of(tmp_path, line(fold="P3")) / "last.ckpt").touch()
    lock = RunLock(folder_of(tmp_path, line(fold="P4")) / "run.lock")
    assert lock.acquire()
    rows = status_text(tmp_path).splitlines()
    assert [row.split()[0] for row in rows[:-1]] == ["finished", "waiting", "interrupted", "running"]
    assert rows[1].endswith("within/bp4d/auformer/P2-seed0")
    assert rows[-1] == "1 finished, 1 waiting, 1 interrupted, 1 running"
    with pytest.raises(ValueError, match="holds no runs"):
        status_text(tmp_path / "nowhere")


def _append_many(out, first):
    for number in range(first, first + 20):
        append_line(out, line(fold=str(number), filler="x" * 5000))


def test_two_processes_append_whole_lines(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(tmp_path, first)) for first in (0, 100)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    lines = [json.loads(text) for text in (tmp_path / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(int(one["fold"]) for one in lines) == [*range(20), *range(100, 120)]


def test_runs_of_earlier_builds_are_refused_with_what_to_do(tmp_path):
    old = {"model": {"class_path": "auformer.lit.AUModule", "init_args": {"backbone": "x", "adapter_size": 8}}}
    new = {"model": {"init_args": {"network": {"class_path": "auformer.models.auformer.AUFormer"}}}}
    append_line(tmp_path, line(config=old))
    with pytest.raises(ValueError, match=r"earlier build of this package.* another --out, or say --no-resume"):
        check_claims(tmp_path, [line(key="other", config=new)])


def test_one_process_at_a_time(tmp_path):
    first, second = RunLock(tmp_path / "run.lock"), RunLock(tmp_path / "run.lock")
    assert first.holder() is None and first.acquire() and not second.acquire()
    assert second.holder() == f"process {os.getpid()} on {socket.gethostname()}"
    first.release()
    assert first.holder() is None and second.acquire()
    second.release()


def _hold(path):
    held = RunLock(path)
    assert held.acquire()
    time.sleep(600)


@pytest.mark.kill
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "run.lock"
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(path,), daemon=True)
    process.start()
    while not RunLock(path).note.is_file():
        time.sleep(0.05)
    assert not RunLock(path).acquire() and RunLock(path).holder() == f"process {process.pid} on {socket.gethostname()}"
    process.kill()
    process.join()
    lock = RunLock(path)
    assert lock.holder() is None and lock.acquire()
    lock.release()

"""The queue of runs: in turn, with a rate, cancelled, resumed, and past the death of the process."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest

from auformer.page.jobs import Jobs, _progress
from auformer.page.users import Item
from auformer.page.worker import Cancelled, Reports
from tests.helpers.page import wait_for
from tests.page import stand_in


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("auformer.page.jobs.work", stand_in.work)
    found = Jobs({"checkpoint": "mine"})
    yield found
    found.close()
    assert not found._process.is_alive()


def item(folder: Path, name: str, **options: Any) -> Item:
    (folder / name).mkdir()
    return Item(name, name, folder / name, {"a.mp4": 1}, "run", options={"frames": 5, **options})


def ended(one: Item) -> str:
    return wait_for(lambda: one.state not in ("waiting", "running") and one.state)


def test_runs_go_in_turn(jobs: Jobs, tmp_path: Path) -> None:
    first, second, third = (item(tmp_path, name, frames=20) for name in "abc")
    for one in (first, second, third):
        jobs.add(one)
    wait_for(lambda: first.state == "running")
    assert (jobs.before(second), jobs.before(third)) == (1, 2) and third.state == "waiting"
    jobs.cancel(third)
    assert third.state == "cancelled"
    assert ended(second) == "done" and first.state == "done"
    assert first.table == tmp_path / "a" / "predictions.csv" and first.message == "a note"
    assert first.media == {"a.mp4": tmp_path / "a" / "a.mp4"} and first.progress["done"] == 20
    assert jobs.header == {"header": {"who": "mine"}}


def test_a_run_that_is_cancelled_goes_on_where_it_was(jobs: Jobs, tmp_path: Path) -> None:
    one = item(tmp_path, "a", frames=60)
    jobs.add(one)
    wait_for(lambda: one.progress.get("done", 0) > 5)
    jobs.cancel(one)
    jobs.settle(one)
    assert one.state == "cancelled"
    kept = one.progress["done"]
    jobs.add(one)
    wait_for(lambda: one.progress.get("done", 0) > 0)
    assert one.progress["done"] >= kept and ended(one) == "done"


def test_a_run_that_fails_says_why_and_the_next_one_runs(jobs: Jobs, tmp_path: Path) -> None:
    bad, good = item(tmp_path, "a", fail=True), item(tmp_path, "b")
    jobs.add(bad)
    jobs.add(good)
    assert ended(bad) == "failed" and bad.message == "no room" and ended(good) == "done"


def test_a_process_that_dies_takes_one_run_with_it(jobs: Jobs, tmp_path: Path) -> None:
    bad, good = item(tmp_path, "a", die=3), item(tmp_path, "b")
    jobs.add(bad)
    jobs.add(good)
    assert ended(bad) == "failed" and "want of memory" in bad.message and "resume" in bad.message
    assert ended(good) == "done"
    bad.options.pop("die")
    jobs.add(bad)
    assert ended(bad) == "done" and bad.message == "a note"


def test_rate_and_time_left() -> None:
    marks = deque([(10.0, 100), (12.0, 150)])
    assert _progress(marks, 150, 400) == {"done": 150, "total": 400, "rate": 25.0, "left_s": 10.0}
    assert _progress(deque([(1.0, 0)]), 0, 400) == {"done": 0, "total": 400}
    assert _progress(marks, 150, 0) == {"done": 150, "total": 0, "rate": 25.0}  # a video that does not say its length
    assert _progress(marks, 450, 400)["left_s"] == 0 and _progress(marks, 450, 400)["total"] == 450


def test_reports_stop_the_work_when_nobody_wants_it() -> None:
    class Pipe:
        sent: list[Any] = []
        send = sent.append

    class Event:
        wanted = True

        def is_set(self) -> bool:
            return not self.wanted

    event = Event()
    reports = Reports(Pipe(), event)  # type: ignore[arg-type]
    reports.begun("frames", 10, 4, finished=0, sources=0)
    reports.advanced(None)
    assert Pipe.sent == [("begun", 4, 10), ("advanced", 5, 10)]
    event.wanted = False
    for call in (lambda: reports.advanced(None), lambda: reports.loaded(None, None)):
        with pytest.raises(Cancelled):
            call()

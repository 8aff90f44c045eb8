"""Runs one after the other in this process, or in several long-lived ones, so that imports are paid once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import connection, get_context, parent_process
from typing import Any

from auformer.benchmark.jobs import Job, next_job
from auformer.benchmark.store import Line

FAREWELL = 5.0  # seconds that a process gets to end by itself
# what is told of each run: the job, its line (None: another process is at it), and what went wrong
Report = Callable[[Job, "Line | None", "str | None"], None]


def run_jobs(jobs: Sequence[Job], workers: int, report: Report) -> None:
    """Do runs.

    Args:
        jobs: The runs, in this order.
        workers: How many at a time; 1 does them in this process, more in spawned ones with a share of the cores each.
        report: Called after each run, here. A run that fails does not keep the others from being done.

    Raises:
        KeyboardInterrupt: Interrupted; processes are ended, and what is unfinished goes on from its last checkpoint next time.
        ValueError: `workers` is below 1.
    """
    if workers < 1:
        raise ValueError(f"Expected at least one job at a time, but got {workers}")
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            report(job, *attempt(job, progress=True))
        return
    _share(list(jobs), min(workers, len(jobs)), report)


def attempt(job: Job, *, progress: bool = False) -> tuple[Line | None, str | None]:
    """Do one run: its line, and what went wrong."""
    from auformer.benchmark.runner import execute

    try:
        return execute(job, progress=progress), None
    except Exception as error:  # told at the end; the traceback is in the run's log
        return None, f"{type(error).__name__}: {error}"


def _share(waiting: list[Job], workers: int, report: Report) -> None:
    """Deal runs out to processes as they become free."""
    context = get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read once, when a process loads its libraries
    processes: dict[Any, Any] = {}
    try:
        for _ in range(workers):
            mine, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, threads), daemon=True)
            process.start()
            theirs.close()
            processes[mine] = process
        _deal(waiting, processes, report)
        _end(processes, politely=True)
    finally:
        _set("OMP_NUM_THREADS", before)
        _end(processes, politely=False)


def _end(processes: dict[Any, Any], *, politely: bool) -> None:
    """End processes: those that wait for a job leave when their pipe is closed, others are terminated."""
    for pipe, process in processes.items():
        pipe.close()
        if not politely:
            process.terminate()
    for process in processes.values():
        process.join(FAREWELL)


def _deal(waiting: list[Job], processes: dict[Any, Any], report: Report) -> None:
    """Until all runs are done: send, wait, report. A process that dies takes its run with it and is not replaced.

    A run whose training another one is at waits for that one, whose adapter file it then takes over.
    """
    busy: dict[Any, Job] = {}
    free = list(processes)
    while waiting or busy:
        while free and (job := next_job(waiting, list(busy.values()))) is not None:
            pipe = free.pop()
            busy[pipe] = job
            pipe.send(job)
        if not busy:
            raise ValueError(
                f"Expected processes to run {len(waiting)} more runs, but all of them have died; see their logs"
            )
        ready: list[Any] = connection.wait(list(busy))
        for pipe in ready:
            job = busy.pop(pipe)
            try:
                line, error = pipe.recv()
                free.append(pipe)
            except (EOFError, OSError):
                process = processes[pipe]
                process.join(FAREWELL)
                line, error = None, f"its process ended with code {process.exitcode} (killed, or out of memory)"
            report(job, line, error)


def work(pipe: Any, threads: int) -> None:
    """What a process does: take jobs until there are none, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    threading.Thread(target=_follow_parent, daemon=True).start()
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(attempt(job))


def _follow_parent() -> None:
    """End this process as soon as its parent has ended, however that came about."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


def _set(name: str, value: str | None) -> None:
    """Set an environment variable, or remove it."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


class Progress:
    """Says what has become of each run.

    Args:
        total: Runs to do.
        say: Takes each line, as `print` does.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.total, self.say, self.done = total, say, 0
        self.failed: dict[str, list[str]] = {}  # error -> the runs that it ended
        self.elsewhere = 0

    def report(self, job: Job, line: Line | None, error: str | None) -> None:
        """One run has ended.

        Args:
            job: The run.
            line: Its line; None where there is none.
            error: What went wrong; None with a line, or where another process is at it.
        """
        self.done += 1
        text = job.run.text()
        if error is not None:
            self.failed.setdefault(error, []).append(f"{text} ({job.folder / 'log.txt'})")
        elif line is None:
            self.elsewhere += 1
        state = (
            "failed"
            if error is not None
            else "another process is at it"
            if line is None
            else f"{line['seconds']:.0f} s"
        )
        self.say(f"[{self.done}/{self.total}] {text}  {state}")

    def close(self) -> None:
        """Say what is missing.

        Raises:
            ValueError: Runs have failed; each reason is told once, with the first run that it ended.
        """
        if self.elsewhere:
            told = "the same command again makes tables with them; where a process of another host is gone, delete its files *.lock"
            self.say(f"{number_of(self.elsewhere)} left to another process; {told}")
        if self.failed:
            reasons = [
                f"{runs[0]}{f' and {len(runs) - 1} more' if len(runs) > 1 else ''}: {error}"
                for error, runs in self.failed.items()
            ]
            failed = sum(map(len, self.failed.values()))
            raise ValueError(f"{failed} of {number_of(self.total)} failed:\n  " + "\n  ".join(reasons))


def number_of(runs: int) -> str:
    """So many runs, in words.

    >>> number_of(1), number_of(1200)
    ('1 run', '1,200 runs')
    """
    return f"{runs:,} run{'' if runs == 1 else 's'}"

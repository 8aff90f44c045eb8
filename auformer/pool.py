"""The one pool of processes: spawned, with a share of the cores each, ended with their parent.

A process takes one task after another, so that imports are paid once. One that is killed takes its task with it and is
not replaced. Ctrl-C is handled by the parent; workers leave when their pipe closes, or at once when the parent is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from multiprocessing.reduction import ForkingPickler
from typing import Any

FAREWELL = 5.0  # seconds that a process gets to end by itself [ours]
_TICK, _DONE, _FAILED = "tick", "done", "failed"  # what a worker sends

Died = Callable[[Any, "int | None"], Any]
_report: Callable[[int], None] | None = None  # what `tick` does in this process


def tick(number: int = 1) -> None:
    """Report that so many units of the work are done to whoever started it; outside a task this does nothing."""
    if _report is not None:
        _report(number)


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    *,
    setup: Callable[..., None] | None = None,
    arguments: Iterable[Any] = (),
    threads: int | None = None,
    choose: Callable[[list[Any], list[Any]], Any] | None = None,
    on_tick: Callable[[int], None] | None = None,
    on_death: Died | None = None,
) -> Generator[tuple[Any, Any], None, None]:
    """Do tasks, yielding each with its result as soon as it is done.

    Args:
        function: Does one task; a module's own function, so that it can be sent to another process. It may call `tick`.
        tasks: Values that can be pickled and are not None, begun in this order.
        workers: Processes; with 1, or a single task, the work is done in this one.
        setup: Called once in each process before its first task.
        arguments: What `setup` is given.
        threads: Of torch, OpenCV and their libraries in each process; a share of the cores by default.
        choose: Takes the next task off the list of those that wait, given also those in progress; None where all have
            to wait.
        on_tick: Called here with the numbers that `tick` was given.
        on_death: Gives the result of a task whose process was killed, from the task and the exit code; without it that
            is an error.

    Raises:
        ValueError: `workers` is below 1, or every process has died.
        ChildProcessError: A process was killed.
        Exception: What `function` or `setup` raised; the other processes are ended.
    """
    if workers < 1:
        raise ValueError(f"Expected at least one process, but got {workers}")
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from _alone(function, tasks, setup, arguments, threads, on_tick)
        return
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    processes: dict[Any, Any] = {}
    finished = False
    try:
        with _environment("OMP_NUM_THREADS", str(threads)):  # read once, when a process loads its libraries
            for _ in range(workers):
                pipe, process = _start(function, setup, tuple(arguments), threads)
                processes[pipe] = process
        yield from _deal(list(tasks), processes, choose or _first, on_tick, on_death)
        finished = True
    finally:
        for pipe, process in processes.items():
            pipe.close()  # a process that waits for a task leaves
            if not finished:
                process.terminate()
        for process in processes.values():
            process.join(FAREWELL)
            process.kill()
            process.join()


def _alone(
    function: Callable[[Any], Any], tasks: Sequence[Any], setup: Callable[..., None] | None, arguments: Iterable[Any],
    threads: int | None, on_tick: Callable[[int], None] | None,
) -> Iterator[tuple[Any, Any]]:  # fmt: skip
    """Tasks one after the other in this process."""
    global _report
    before, _report = _report, on_tick
    try:
        with _threads(threads):
            if setup is not None and tasks:
                setup(*arguments)
            for task in tasks:
                yield task, function(task)
    finally:
        _report = before


def _start(function: Any, setup: Any, arguments: tuple[Any, ...], threads: int) -> tuple[Any, Any]:
    """A process, after the parent's end of its pipe."""
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function, setup, arguments, threads), daemon=True)
    process.start()
    theirs.close()
    return mine, process


def _first(waiting: list[Any], busy: list[Any]) -> Any:
    return waiting.pop(0) if waiting else None


def _deal(
    waiting: list[Any], processes: dict[Any, Any], choose: Callable[[list[Any], list[Any]], Any],
    on_tick: Callable[[int], None] | None, on_death: Died | None,
) -> Iterator[tuple[Any, Any]]:  # fmt: skip
    """Until all tasks are done: send, wait, yield."""
    busy: dict[Any, Any] = {}
    free = list(processes)
    while waiting or busy:
        while free and (task := choose(waiting, list(busy.values()))) is not None:
            pipe = free.pop()
            try:
                pipe.send(task)
                busy[pipe] = task
            except OSError:  # it was killed while it waited
                waiting.insert(0, task)
        if not busy:
            raise ValueError(f"Expected processes to do {len(waiting)} more tasks, but all of them have died")
        ready: list[Any] = connection.wait(list(busy))
        for pipe in ready:
            try:
                kind, value = pipe.recv()
            except (EOFError, OSError):
                task, process = busy.pop(pipe), processes[pipe]
                process.join(FAREWELL)
                if on_death is None:
                    raise ChildProcessError(
                        "Expected the workers to go on, but one was killed, perhaps for lack of memory. Run the same "
                        "command again, with fewer workers, to resume"
                    ) from None
                yield task, on_death(task, process.exitcode)
                continue
            if kind == _TICK:
                if on_tick is not None:
                    on_tick(value)
                continue
            task = busy.pop(pipe)
            if kind == _FAILED:
                error, trace = value
                raise error from ChildProcessError(trace)
            free.append(pipe)
            yield task, value


def _work(pipe: Any, function: Callable[[Any], Any], setup: Any, arguments: tuple[Any, ...], threads: int) -> None:
    """What a process does: take tasks until there are none, or its parent is gone."""
    global _report
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    _report = lambda number: pipe.send((_TICK, number))  # noqa: E731
    ready = setup is None
    with _threads(threads):
        while True:
            try:
                task = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                if not ready:
                    setup(*arguments)
                    ready = True
                answer = ForkingPickler.dumps((_DONE, function(task)))
            except Exception as error:
                answer = _failure(error)
            try:
                pipe.send_bytes(answer)
            except OSError:
                return


def _failure(error: Exception) -> Any:
    """An error with its traceback, pickled; one that does not survive pickling is replaced by its text."""
    trace = traceback.format_exc()
    try:
        message = ForkingPickler.dumps((_FAILED, (error, trace)))
        ForkingPickler.loads(message)
    except Exception:
        message = ForkingPickler.dumps((_FAILED, (RuntimeError(f"{type(error).__name__}: {error}"), trace)))
    return message


def _follow_parent() -> None:
    """End this process as soon as its parent has ended, however that came about."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Inside, OpenCV and torch take so many threads, where they are loaded; None leaves them as they are."""
    if number is None:
        yield
        return
    import cv2

    torch = sys.modules.get("torch")
    before = cv2.getNumThreads(), torch.get_num_threads() if torch else None
    cv2.setNumThreads(number)
    if torch:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        if torch:
            torch.set_num_threads(before[1])


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Inside, an environment variable has a value."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before

"""The one pool of processes: spawned, so that it works on every system; each takes a share of the cores and ends with its parent.

A process takes one task after another, so that imports are paid once. One that is killed takes its task with it and is not replaced:
the others go on. Ctrl-C is the parent's; workers leave when their pipe closes, or at once when the parent is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any

FAREWELL = 5.0  # seconds that a process gets to end by itself [ours]
_TICK, _DONE, _FAILED = "tick", "done", "failed"  # what a worker sends

Died = Callable[[Any, "int | None"], Any]
_report: Callable[[int], None] = lambda number: None  # noqa: E731  what `tick` does in this process


def tick(number: int = 1) -> None:
    """Tell whoever started the work that so many of its units are done; anywhere else this does nothing."""
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
        tasks: Values that can be pickled, begun in this order.
        workers: Processes; with 1, or a single task, the work is done in this one.
        setup: Called once in each process before its first task, with `arguments`.
        arguments: What `setup` is given.
        threads: Of torch, OpenCV and their libraries in each process; a share of the cores by default.
        choose: Takes the next task off the list of those that wait, given also those at work; None where all have to wait.
        on_tick: Called here with what `tick` was told.
        on_death: Gives the result of a task whose process was killed, from the task and the exit code; without it that is an error.

    Yields:
        A task and its result.

    Raises:
        ValueError: `workers` is below 1, or every process has died.
        ChildProcessError: A process was killed.
        Exception: What `function` raised.
    """
    if workers < 1:
        raise ValueError(f"Expected at least one process, but got {workers}")
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from _alone(function, tasks, setup, arguments, threads, on_tick)
        return
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    with _environment("OMP_NUM_THREADS", str(threads)):  # read once, when a process loads its libraries
        processes = _start(workers, function, setup, tuple(arguments), threads)
    try:
        yield from _deal(
            list(tasks),
            processes,
            choose or (lambda waiting, busy: waiting.pop(0) if waiting else None),
            on_tick,
            on_death,
        )
        _end(processes, politely=True)
    finally:
        _end(processes, politely=False)


def _alone(
    function: Callable[[Any], Any], tasks: Sequence[Any], setup: Callable[..., None] | None, arguments: Iterable[Any],
    threads: int | None, on_tick: Callable[[int], None] | None,
) -> Iterator[tuple[Any, Any]]:  # fmt: skip
    """Tasks one after the other in this process."""
    global _report
    with _threads(threads):
        if setup is not None:
            setup(*arguments)
        before, _report = _report, on_tick or (lambda number: None)
        try:
            for task in tasks:
                yield task, function(task)
        finally:
            _report = before


def _start(workers: int, function: Any, setup: Any, arguments: tuple[Any, ...], threads: int) -> dict[Any, Any]:
    """Processes by the parent's end of their pipes."""
    context = get_context("spawn")
    processes: dict[Any, Any] = {}
    for _ in range(workers):
        mine, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, function, setup, arguments, threads), daemon=True)
        process.start()
        theirs.close()
        processes[mine] = process
    return processes


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
            busy[pipe] = task
            pipe.send(task)
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
                        "Expected the workers to go on, but one was killed, perhaps for want of memory. Run the same command again to "
                        "go on, with fewer workers"
                    ) from None
                yield task, on_death(task, process.exitcode)
                continue
            if kind == _TICK:
                if on_tick is not None:
                    on_tick(value)
                continue
            task = busy.pop(pipe)
            if kind == _FAILED:
                raise value
            free.append(pipe)
            yield task, value


def _end(processes: dict[Any, Any], *, politely: bool) -> None:
    """End processes: those that wait for a task leave when their pipe is closed, others are terminated."""
    for pipe, process in processes.items():
        pipe.close()
        if not politely:
            process.terminate()
    for process in processes.values():
        process.join(FAREWELL)


def _work(pipe: Any, function: Callable[[Any], Any], setup: Any, arguments: tuple[Any, ...], threads: int) -> None:
    """What a process does: take tasks until there are none, or its parent is gone."""
    global _report
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    _report = lambda number: pipe.send((_TICK, number))  # noqa: E731
    try:
        with _threads(threads):
            if setup is not None:
                setup(*arguments)
            while True:
                task = pipe.recv()
                try:
                    answer = (_DONE, function(task))
                except Exception as error:
                    answer = (_FAILED, error)
                pipe.send(answer)
    except (EOFError, OSError):
        return


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

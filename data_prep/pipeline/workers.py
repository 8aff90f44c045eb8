"""Units done by several processes at once, or by this one; progress is counted in frames."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import pandas as pd

from .crops import Detector, Settings, clear_partial, cut_unit
from .units import Unit

_PATIENCE = 0.2  # seconds between two looks at the progress [ours]


class _Stopped(Exception):
    """The parent has asked to stop."""


class _Worker:
    """What a process keeps: settings, detector, and what it shares with the parent."""

    settings: Settings
    detector: Detector
    counter: Any
    stop: Any


def do_units(
    units: Sequence[Unit], settings: Settings, detector: Detector, workers: int, progress: Callable[[int], None]
) -> Generator[tuple[Unit, pd.DataFrame], None, None]:
    """Make the crops of units, yielding each as soon as it is done.

    Args:
        units: what to do.
        settings: how.
        detector: finds the faces; it travels to the workers.
        workers: processes; 1 is this one.
        progress: called with the number of rows that were done since the last call.

    Yields:
        A unit and what was found in its rows, see `cut_unit`.

    Raises:
        OSError: A crop cannot be written, or a process was killed.
    """
    if workers == 1 or len(units) < 2:
        yield from _alone(units, settings, detector, progress)
    else:
        yield from _together(units, settings, detector, min(workers, len(units)), progress)


def _alone(
    units: Sequence[Unit], settings: Settings, detector: Detector, progress: Callable[[int], None]
) -> Iterator[tuple[Unit, pd.DataFrame]]:
    """Units one after the other in this process, with one thread as workers have."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for unit in units:
            clear_partial(unit, Path(settings.out))
            yield unit, cut_unit(unit, settings, detector, lambda: progress(1))
    finally:
        cv2.setNumThreads(threads)


def _together(
    units: Sequence[Unit], settings: Settings, detector: Detector, workers: int, progress: Callable[[int], None]
) -> Iterator[tuple[Unit, pd.DataFrame]]:
    """Units in several processes, the longest first."""
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(settings, detector, counter, stop)
    )
    done = 0
    try:
        pending: dict[Future, Unit] = {
            pool.submit(_work, unit): unit for unit in sorted(units, key=lambda unit: -len(unit.rows))
        }
        while pending:
            ready, _ = wait(pending, timeout=_PATIENCE, return_when=FIRST_COMPLETED)
            before, done = done, counter.value
            progress(done - before)
            for future in ready:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "Expected the workers to go on, but one was killed, perhaps for want of memory. Run the same command again to go on, "
            "with fewer --workers"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _start(settings: Settings, detector: Detector, counter: Any, stop: Any) -> None:
    """Prepare a worker: it leaves Ctrl-C to its parent, takes one core, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.settings, _Worker.detector, _Worker.counter, _Worker.stop = settings, detector, counter, stop


def _end_with_parent() -> None:
    """Wait for the parent to end, however it does, and leave at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(unit: Unit) -> pd.DataFrame:
    """Do one unit in a worker."""
    clear_partial(unit, Path(_Worker.settings.out))
    return cut_unit(unit, _Worker.settings, _Worker.detector, _tick)


def _tick() -> None:
    """Count a row, or leave where the parent has stopped."""
    with _Worker.counter.get_lock():
        _Worker.counter.value += 1
    if _Worker.stop.is_set():
        raise _Stopped

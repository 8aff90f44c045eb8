"""Work ahead in threads: reading, finding faces and predicting go on at the same time, with bounded queues between them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_WAIT = 0.1  # seconds between looks whether the reader has left [ours]


class _End:
    """Last item of a queue: nothing more comes, or an error did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], size: int) -> Iterator[T]:
    """The same items in the same order, made by a thread that is at most `size` items ahead.

    Args:
        items: what to go through; an error of theirs comes out after the items before it.
        size: how many items wait at most, so that memory stays constant.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=size)
    left = threading.Event()

    def put(item: T | _End) -> bool:
        """Hand one item over; False once the reader has left."""
        while not left.is_set():
            try:
                waiting.put(item, timeout=_WAIT)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        """Fill the queue."""
        iterator = iter(items)
        try:
            for item in iterator:
                if not put(item):
                    break
            put(_End())
        except BaseException as error:  # any: it is raised again where the items are used
            put(_End(error))
        finally:
            close = getattr(iterator, "close", None)  # a generator's files and threads
            if close is not None:
                close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        left.set()
        thread.join()


def spread(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map` over several threads, in order, at most twice as many items ahead as there are threads.

    Args:
        function: what to do with each item; safe to call from several threads.
        items: what to go through.
        workers: number of threads; 1 works in the caller's.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

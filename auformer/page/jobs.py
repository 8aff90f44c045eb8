"""The queue of runs, one at a time, and the process that does them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Mapping
from multiprocessing import get_context
from typing import Any

from auformer.page.users import Item
from auformer.page.worker import work

_RATE_S = 8.0  # seconds over which the rate is taken [ours]
_PATIENCE = 5.0  # seconds that the process gets to end [ours]
GONE = (
    "The process that predicts was ended, perhaps for want of memory. What it had finished is kept: resume, or try "
    "fewer frames."
)


class Jobs:
    """Runs, in the order in which they were asked for.

    Args:
        options: Arguments of `predict_to_files` that are the same in every run.

    Attributes:
        header: What the checkpoint says of itself, as of `worker`; None until that is known.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._context = get_context("spawn")
        self._cancelled = self._context.Event()
        self._waiting: deque[Item] = deque()
        self._running: Item | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._process: Any = None
        self._pipe: Any = None
        self.header: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, item: Item) -> None:
        """Let an item's files be predicted; what an earlier run of it has done is not done again."""
        with self._changed:
            item.state, item.message, item.progress = "waiting", "", {}
            self._waiting.append(item)
            self._changed.notify()

    def cancel(self, item: Item) -> None:
        """Stop a run, or take it out of the queue."""
        with self._changed:
            if item in self._waiting:
                self._waiting.remove(item)
                item.state = "cancelled"
            elif item is self._running:
                self._cancelled.set()

    def before(self, item: Item) -> int:
        """How many runs come first."""
        with self._changed:
            place = list(self._waiting).index(item) if item in self._waiting else 0
            return place + (self._running is not None and self._running is not item)

    def settle(self, item: Item, seconds: float = _PATIENCE) -> None:
        """Wait until an item that was cancelled is no longer worked on."""
        until = time.monotonic() + seconds
        while self._running is item and time.monotonic() < until:
            time.sleep(0.02)

    def close(self) -> None:
        """End the process."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        if self._process is not None:
            self._process.terminate()
            self._process.join(_PATIENCE)
            self._process.kill()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        """What the thread does."""
        self._ensure()
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                item = self._waiting.popleft()
                self._running, item.state = item, "running"
                self._cancelled.clear()
            try:
                self._do(item)
            finally:
                with self._changed:
                    self._running = None

    def _ensure(self) -> None:
        """Start the process where there is none, and hear what it says of the checkpoint."""
        if self._process is not None and self._process.is_alive():
            return
        mine, theirs = self._context.Pipe()
        arguments = (theirs, self._cancelled, self._options)
        process = self._context.Process(target=work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._process, self._pipe = process, mine  # only now: `close` ends what has been started
        if self._closed:
            process.terminate()
        with contextlib.suppress(EOFError, OSError):
            self.header = mine.recv()[1]

    def _do(self, item: Item) -> None:
        """One run, from its beginning to its end."""
        try:
            self._ensure()
            if self._cancelled.is_set():
                item.state = "cancelled"
                return
            item.progress = {"done": 0, "total": 0}
            self._pipe.send((str(item.folder), list(item.files), item.options))
            self._listen(item)
        except (EOFError, OSError):
            if not self._closed:
                item.state, item.message = "failed", GONE
            self._process.join(_PATIENCE)

    def _listen(self, item: Item) -> None:
        marks: deque[tuple[float, int]] = deque()
        while True:
            word, *said = self._pipe.recv()
            if word in ("begun", "advanced"):
                marks.append((time.monotonic(), said[0]))
                while len(marks) > 2 and marks[-1][0] - marks[0][0] > _RATE_S:
                    marks.popleft()
                item.progress = _progress(marks, *said)
            elif word == "done":
                assert item.folder is not None
                item.table, item.message = item.folder / "predictions.csv", "\n".join(said[0])
                item.media = {name: item.folder / name for name in item.files}
                item.state = "done"
                return
            else:
                item.state, item.message = word, said[0] if said else ""
                return


def _progress(marks: deque[tuple[float, int]], done: int, total: int) -> dict[str, Any]:
    """Frames done, of how many, a second, and the seconds that are left; without what is not known yet."""
    found: dict[str, Any] = {"done": done, "total": max(total, done) if total else 0}
    seconds = marks[-1][0] - marks[0][0]
    if seconds > 0 and marks[-1][1] > marks[0][1]:
        found["rate"] = (marks[-1][1] - marks[0][1]) / seconds
        if total:
            found["left_s"] = max(0, total - done) / found["rate"]
    return found

"""Who is at work in a folder: a lock file with host and process id, taken over when that process is gone."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT = 0.05  # seconds between two tries


class RunLock:
    """A lock file.

    Args:
        path: The file. While it is there and its process lives, nobody else gets the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> bool:
        """Take the lock, also from a process of this host that is gone; False where somebody has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if not self._remove_stale():
                    return False
                continue
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(_self(), file)
            return True
        return False

    def release(self) -> None:
        """Give the lock back."""
        self.path.unlink(missing_ok=True)

    def holder(self) -> str | None:
        """The living process that has the lock, in words; None where nobody has it."""
        found = self._read()
        return None if found is None or _is_gone(found) else f"process {found.get('pid')} on {found.get('host')}"

    def _read(self) -> dict[str, Any] | None:
        """What the file says, None where there is none; one that is being written, or damaged, is somebody's for a second."""
        try:
            text, age = self.path.read_text(encoding="utf-8"), time.time() - self.path.stat().st_mtime
        except OSError:
            return None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        return {"host": "an unknown host", "pid": None} if age < 1 else {"host": socket.gethostname(), "pid": -1}

    def _remove_stale(self) -> bool:
        """Remove the lock of a process that is gone; False where it lives. Of two that try, one moves the file away."""
        seen = self._read()
        if seen is not None and not _is_gone(seen):
            return False
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.stale")
        try:
            os.replace(self.path, aside)
        except OSError:
            return True  # somebody else was faster; the next try shows whether the lock is free
        moved = RunLock(aside)._read()
        if moved is not None and not _is_gone(moved):  # a living one's, taken between our two looks: put it back
            os.replace(aside, self.path)
            return False
        aside.unlink(missing_ok=True)
        return True


@contextmanager
def waiting_lock(path: Path, seconds: float = 60.0) -> Iterator[None]:
    """Hold a lock for the few moments of the block, waiting for others to finish theirs.

    Raises:
        TimeoutError: Somebody has held it all the time.
    """
    lock, end = RunLock(path), time.monotonic() + seconds
    while not lock.acquire():
        if time.monotonic() > end:
            raise TimeoutError(f"Expected {path} to be free within {seconds:g} s, but {lock.holder()} has it; delete it if that is gone")
        time.sleep(WAIT)
    try:
        yield
    finally:
        lock.release()


def _self() -> dict[str, Any]:
    """What this process writes into its locks."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the process of a lock is known to be gone; of another host nothing is known, so it counts as alive."""
    if holder.get("host") != socket.gethostname():
        return False
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0 or not _is_alive(pid):
        return True
    began = _started(pid)  # another process may have been given the number since
    return began is not None and holder.get("started") is not None and began != holder["started"]


def _is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    if sys.platform == "win32":  # there, signal 0 would be Ctrl-C
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return _state(pid) != "Z"


def _stat(pid: int) -> list[str]:
    """Fields of `/proc/PID/stat` behind the name; empty where there is no such file."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    """State of a process on Linux, `Z` for one that has ended and was not waited for; empty elsewhere."""
    return (_stat(pid) or [""])[0]


def _started(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None where the system does not say."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else None

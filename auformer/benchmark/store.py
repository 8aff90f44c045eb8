"""Which runs are finished, running or interrupted: `runs.jsonl`, the folders of the runs, and who is at work in them.

Which runs are finished: the lines of `runs.jsonl` and the folders of the runs, and nothing else.

    OUT/runs.jsonl                          a line per finished run: all that the tables need
    OUT/runs/NAME/DATA/METHOD/FOLD-seed0/   one run
        run.json            what the run is and its configuration; there from the moment it is planned
        line.json           its line; there when it is finished
        config.yaml, metrics.csv, last.ckpt, best.ckpt, adapter.safetensors, summary.json     of the training; without the
                        checkpoints where it was taken over from the run that `trained_by` in its line names
        predictions.csv, predictions.json, log.txt, run.lock

A run is finished when its line is in either place, so a grid survives the loss of its folders, and of `runs.jsonl`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from auformer.files import write_text
from auformer.training.run_folder import differences

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
            raise TimeoutError(
                f"Expected {path} to be free within {seconds:g} s, but {lock.holder()} has it; delete it if that is gone"
            )
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


# what tells one run from another, whatever its configuration
IDENTITY = ("protocol", "name", "data", "test", "method", "fold", "subset", "seed", "select", "init")
LINES, RUNS, CLAIM, LINE, LOCK = "runs.jsonl", "runs", "run.json", "line.json", "run.lock"
Line = dict[str, Any]


def identity(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a run from others; a number of rows and a fraction are different subsets."""
    return tuple(repr(line[name]) for name in IDENTITY)


def run_key(about: Mapping[str, Any]) -> str:
    """SHA-256 of what makes a run itself, in hexadecimal."""
    return sha256(json.dumps(about, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def folder_of(out: Path, line: Mapping[str, Any]) -> Path:
    """Folder of a run: readable, and different for different runs."""
    data = line["data"] if line["test"] == line["data"] else f"{line['data']}-to-{line['test']}"
    start = f"-from-{line['init']}" if line["init"] else ""
    method = f"{line['method']}{start}{'-on-test' if line['select'] == 'test' else ''}"
    subset = "" if line["subset"] is None else f"{line['subset']}-"
    fold = f"{line['fold']}-" if line["fold"] else ""
    return (
        out / RUNS / _safe(str(line["name"])) / _safe(data) / _safe(method) / _safe(f"{fold}{subset}seed{line['seed']}")
    )


def _safe(text: str) -> str:
    """Text as the name of a folder on every system; where letters had to go, a digest keeps two names apart."""
    plain = re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII).strip(".") or "_"
    return plain if plain == text else f"{plain}-{sha256(text.encode()).hexdigest()[:6]}"


def read_lines(out: Path) -> dict[tuple[Any, ...], Line]:
    """Lines of all finished runs by identity; of several the last one counts.

    Raises:
        ValueError: A line that is not the last one is damaged.
    """
    lines = {identity(line): line for line in _folder_lines(out)}
    return lines | {identity(line): line for line in _file_lines(out / LINES)}


def _file_lines(path: Path) -> list[Line]:
    """Lines of `runs.jsonl`; a last one without its end was torn by a crash and is dropped."""
    if not path.is_file():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    lines = []
    for number, text in enumerate(whole.splitlines(), 1):
        try:
            line = json.loads(text.decode("utf-8"))
            identity(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Expected line {number} of {path} to be a finished run, but it is damaged; delete that line"
            ) from error
        lines.append(line)
    return lines


def _folder_lines(out: Path) -> list[Line]:
    """Lines that lie in the folders of runs."""
    found = (read_json(path) for path in sorted((out / RUNS).glob(f"*/*/*/*/{LINE}")))
    return [line for line in found if line is not None]


def read_json(path: Path) -> Line | None:
    """Content of a JSON file that was written atomically; None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(out: Path, line: Mapping[str, Any]) -> None:
    """Add a line to `runs.jsonl` for good: behind complete lines only, in one write, and on the disk when this returns."""
    path = out / LINES
    text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
    with waiting_lock(out / f".{LINES}.lock"), path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        end = file.read().rfind(b"\n") + 1 if size else 0
        if end < size:  # what a crash has torn
            file.truncate(end)
        file.seek(0, os.SEEK_END)
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def restore_lines(out: Path) -> None:
    """Add to `runs.jsonl` what only the folders know: a process may have ended between the two writes."""
    known = {identity(line) for line in _file_lines(out / LINES)}
    for line in _folder_lines(out):
        if identity(line) not in known:
            append_line(out, line)


def forget(out: Path, claims: Iterable[Mapping[str, Any]]) -> None:
    """Remove the lines of runs, from the file and the folders."""
    gone = {identity(claim) for claim in claims}
    with waiting_lock(out / f".{LINES}.lock"):
        kept = [line for line in _file_lines(out / LINES) if identity(line) not in gone]
        write_text(out / LINES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
    for path in [*(out / RUNS).glob(f"*/*/*/*/{CLAIM}"), *(out / RUNS).glob(f"*/*/*/*/{LINE}")]:
        found = read_json(path)
        if found is not None and identity(found) in gone:
            path.unlink()


def check_claims(out: Path, claims: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to go on in a folder whose runs were made with another configuration; runs that were only planned do not count.

    Args:
        out: Folder of the benchmark.
        claims: What is to be run: `IDENTITY`, `key`, `config`, `data_sha256`.

    Raises:
        ValueError: It names the run and what differs.
    """
    lines = read_lines(out)
    for claim in claims:
        folder = folder_of(out, claim)
        for found in (read_json(folder / CLAIM) if _begun(folder) else None, lines.get(identity(claim))):
            if found is not None and found.get("key") != claim["key"]:
                different = [
                    text
                    for name in ("config", "data_sha256")
                    for text in differences(found.get(name), claim[name], name=name)
                ]
                told = "; ".join(different[:4]) or "another checkpoint or other subjects"
                raise ValueError(
                    f"Expected {folder} to be new or of this configuration, but got a run of another one ({told}). Choose another --out, "
                    "or say --no-resume to begin anew"
                )


def status_text(out: Path) -> str:
    """What is finished, running, interrupted and waiting, a line per run and their number.

    Raises:
        ValueError: The folder holds no benchmark.
    """
    lines = read_lines(out)
    states: dict[tuple[Any, ...], tuple[Mapping[str, Any], str]] = {
        name: (line, "finished") for name, line in lines.items()
    }
    for path in sorted((out / RUNS).glob(f"*/*/*/*/{CLAIM}")):
        claim = read_json(path)
        if claim is not None and identity(claim) not in lines:
            states[identity(claim)] = (claim, _run_state(path.parent))
    if not states:
        raise ValueError(f"Expected {out} to be the folder of a benchmark, but it holds no runs")
    order = sorted(states.values(), key=lambda pair: [str(pair[0][name]) for name in IDENTITY])
    counts: dict[str, int] = {}
    for _, state in order:
        counts[state.partition(" ")[0]] = counts.get(state.partition(" ")[0], 0) + 1
    rows = [f"{state:<12} {folder_of(Path(), claim).relative_to(RUNS).as_posix()}" for claim, state in order]
    return "\n".join([*rows, ", ".join(f"{number} {state}" for state, number in counts.items())])


def _begun(folder: Path) -> bool:
    """Whether anything of a run would be lost, or somebody is at it."""
    there = any((folder / name).is_file() for name in (LINE, "last.ckpt", "adapter.safetensors"))
    return there or RunLock(folder / LOCK).holder() is not None


def _run_state(folder: Path) -> str:
    """State of a run that is not finished."""
    holder = RunLock(folder / LOCK).holder()
    if holder is not None:
        return f"running ({holder})"
    return "interrupted" if (folder / "last.ckpt").is_file() else "waiting"

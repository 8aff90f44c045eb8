"""Which runs are finished, running or interrupted: `runs.jsonl`, the folders of the runs, and who works in them.

    OUT/runs.jsonl                          a line per finished run: all that the tables need
    OUT/runs/NAME/DATA/METHOD/FOLD-seed0/   one run
        run.json            its claim: what the run is and its configuration; there from the moment it is planned
        line.json           its line; there when it is finished
        config.yaml, metrics.csv, last.ckpt, best.ckpt, adapter.safetensors, summary.json   of the training; without the
                            checkpoints where it was taken over from the run that `trained_by` in its line names
        predictions.csv, predictions.json, log.txt, run.lock

A run is finished when its line is in either place, so a benchmark survives the loss of its folders, and of
`runs.jsonl`.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from auformer.files import digest, read_json, write_json, write_text
from auformer.workspace import SHOWN, differences

Line = dict[str, Any]
# what tells one run from another, whatever its configuration
IDENTITY = ("protocol", "name", "data", "test", "method", "fold", "subset", "seed", "select", "init")
LINES, RUNS, CLAIM, LINE, LOCK = "runs.jsonl", "runs", "run.json", "line.json", "run.lock"
LOOK = 0.2  # seconds: another process that looks whose a lock is takes it for a moment [ours]
WAIT = 60.0  # seconds that a process waits for others to write their lines [ours]


class RunLock:
    """The lock of a run or a training, which the system frees when a process ends; `PATH.json` says whose it is."""

    def __init__(self, path: Path) -> None:
        self.path, self.note = path, path.with_name(f"{path.name}.json")
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        """Take the lock; False where somebody has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=LOOK)
        except Timeout:
            return False
        write_json(self.note, {"pid": os.getpid(), "host": socket.gethostname()})
        return True

    def release(self) -> None:
        """Give the lock back."""
        self.note.unlink(missing_ok=True)
        self._lock.release()

    def holder(self) -> str | None:
        """The process that has the lock, in words; None where nobody has it."""
        if not self.path.is_file():
            return None
        try:
            with FileLock(self.path, timeout=0):
                return None
        except Timeout:
            found = read_json(self.note) or {}
            return f"process {found.get('pid', 'unknown')} on {found.get('host', 'an unknown host')}"


def identity(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a run from others; a number of rows and a fraction are different subsets."""
    return tuple(repr(line[name]) for name in IDENTITY)


def folder_of(out: Path, line: Mapping[str, Any]) -> Path:
    """Folder of a run: readable, and different for different runs."""
    data = line["data"] if line["test"] == line["data"] else f"{line['data']}-to-{line['test']}"
    start = f"-from-{line['init']}" if line["init"] else ""
    method = f"{line['method']}{start}{'-on-test' if line['select'] == 'test' else ''}"
    subset = "" if line["subset"] is None else f"{line['subset']}-"
    fold = f"{line['fold']}-" if line["fold"] else ""
    return out.joinpath(RUNS, *map(_safe, (str(line["name"]), data, method, f"{fold}{subset}seed{line['seed']}")))


def _safe(text: str) -> str:
    """Text as the name of a folder on every system; where letters had to go, a digest keeps two names apart."""
    plain = re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII).strip(".") or "_"
    return plain if plain == text else f"{plain}-{digest(text)[:6]}"


def read_lines(out: Path) -> dict[tuple[Any, ...], Line]:
    """Lines of all finished runs by identity; of several the last one counts.

    Raises:
        ValueError: A line that is not the last one is damaged.
    """
    return {identity(line): line for line in [*_in_folders(out, LINE), *_file_lines(out / LINES)]}


def _file_lines(path: Path) -> list[Line]:
    """Lines of `runs.jsonl`; a last one without its end was torn by a crash and is dropped."""
    lines: list[Line] = []
    whole = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
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


def _in_folders(out: Path, name: str) -> list[Line]:
    """Claims or lines that lie in the folders of runs."""
    found = (read_json(path) for path in sorted((out / RUNS).glob(f"*/*/*/*/{name}")))
    return [line for line in found if line is not None]


def append_line(out: Path, line: Mapping[str, Any]) -> None:
    """Add a line to `runs.jsonl` for good: after complete lines, in one write, and on the disk when this returns."""
    text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
    with _index_lock(out), (out / LINES).open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # what a crash has torn goes
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _index_lock(out: Path) -> FileLock:
    out.mkdir(parents=True, exist_ok=True)
    return FileLock(out / f".{LINES}.lock", timeout=WAIT)


def restore_lines(out: Path) -> None:
    """Add to `runs.jsonl` what only the folders know: a process may have ended between the two writes."""
    known = set(map(identity, _file_lines(out / LINES)))
    for line in _in_folders(out, LINE):
        if identity(line) not in known:
            append_line(out, line)


def forget(out: Path, claims: Iterable[Mapping[str, Any]]) -> None:
    """Remove the lines and claims of runs, from the file and the folders."""
    gone = set(map(identity, claims))
    with _index_lock(out):
        kept = [line for line in _file_lines(out / LINES) if identity(line) not in gone]
        write_text(out / LINES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
    for name in (CLAIM, LINE):
        for path in (out / RUNS).glob(f"*/*/*/*/{name}"):
            found = read_json(path)
            if found is not None and identity(found) in gone:
                path.unlink()


def check_claims(out: Path, claims: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to resume runs that were begun with another configuration; those that were only planned do not count.

    Raises:
        ValueError: It names the run and what differs.
    """
    lines = read_lines(out)
    for claim in claims:
        folder = folder_of(out, claim)
        for found in (read_json(folder / CLAIM) if _begun(folder) else None, lines.get(identity(claim))):
            if found is None or found.get("key") == claim["key"]:
                continue
            ways = "Choose another --out, or say --no-resume to begin anew"
            if _is_of_earlier_build(found):
                raise ValueError(
                    f"Expected {folder} to be new or of this configuration, but got a run of an earlier build of this "
                    f"package, which wrote configurations in another form. {ways}"
                )
            different = differences(found.get("config"), claim["config"], name="config")
            different += differences(found.get("data_sha256"), claim["data_sha256"], name="data_sha256")
            told = "; ".join(different[:SHOWN]) or "another checkpoint or other subjects"
            raise ValueError(
                f"Expected {folder} to be new or of this configuration, but got a run of another one ({told}). {ways}"
            )


def _is_of_earlier_build(line: Mapping[str, Any]) -> bool:
    """Whether a configuration is from before networks had a class path of their own."""
    model = (line.get("config") or {}).get("model") or {}
    return "init_args" in model and "network" not in model["init_args"]


def status_text(out: Path) -> str:
    """What is finished, running, interrupted and waiting: a line per run, then how many there are of each.

    Raises:
        ValueError: The folder holds no benchmark.
    """
    lines = read_lines(out)
    states = {name: (line, "finished") for name, line in lines.items()}
    for claim in _in_folders(out, CLAIM):
        states.setdefault(identity(claim), (claim, _run_state(folder_of(out, claim))))
    if not states:
        raise ValueError(f"Expected {out} to be the folder of a benchmark, but it holds no runs")
    counts: dict[str, int] = {}
    rows = []
    for claim, state in sorted(states.values(), key=lambda pair: [str(pair[0][name]) for name in IDENTITY]):
        word = state.partition(" ")[0]
        counts[word] = counts.get(word, 0) + 1
        rows.append(f"{state:<12} {folder_of(Path(), claim).relative_to(RUNS).as_posix()}")
    return "\n".join([*rows, ", ".join(f"{number} {state}" for state, number in counts.items())])


def _begun(folder: Path) -> bool:
    """Whether anything of a run would be lost, or somebody works on it."""
    there = any((folder / name).is_file() for name in (LINE, "last.ckpt", "adapter.safetensors"))
    return there or RunLock(folder / LOCK).holder() is not None


def _run_state(folder: Path) -> str:
    """State of a run that is not finished."""
    holder = RunLock(folder / LOCK).holder()
    if holder is not None:
        return f"running ({holder})"
    return "interrupted" if (folder / "last.ckpt").is_file() else "waiting"

"""What the scripts share: ways timed in turn, memory of training, processes of their own, and where results go."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from auformer.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
Seconds = dict[str, list[float]]


def new_parser(module_doc: str | None, *, out: Path | None = RESULTS) -> argparse.ArgumentParser:
    """A command line with the first paragraph of a module as its help, and `--out`."""
    parser = argparse.ArgumentParser(description=(module_doc or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=out, help="folder of what is written (default: %(default)s)")
    return parser


def time_in_turn(ways: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Seconds of each way, one after the other in every round; a first round is not counted."""
    seconds: Seconds = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _ratios(seconds: Seconds, over: str, under: str) -> list[float]:
    return [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]


def ratio(seconds: Seconds, over: str, under: str) -> float:
    """Median over rounds of the ratio within a round, so that a change in the machine's speed meets both.

    >>> ratio({"a": [2.0, 40.0, 6.0], "b": [1.0, 10.0, 2.0]}, "a", "b")
    3.0
    """
    return statistics.median(_ratios(seconds, over, under))


def spread(seconds: Seconds, over: str, under: str) -> float:
    """Distance of the quartiles of the ratio within a round, relative to their median; 0 for one round."""
    values = _ratios(seconds, over, under)
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def medians(seconds: Seconds) -> dict[str, float]:
    """Median seconds of every way."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def kept_bytes(network: Any, images: Any, forward: Callable[[Any], object] | None = None) -> int:
    """Bytes of the distinct storages that autograd keeps from forward to backward, without parameters and buffers.

    `forward` is a method of the network, `forward_all` by default.
    """
    import torch

    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    alive: dict[int, Any] = {}  # tensors stay alive, so no address is used twice

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        (forward or network.forward_all)(images)
    return sum(tensor.untyped_storage().nbytes() for tensor in alive.values())


def resident(*, peak: bool = False) -> int:
    """Resident memory of this process in bytes, now or the largest so far; 0 where the system does not say.

    Linux says it in `/proc`; the peak of `getrusage` is inherited from the parent process there, so it serves elsewhere
    only.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s*(\d+) kB", status.read_text(encoding="utf-8"))
        return int(found.group(1)) * 1024 if found else 0
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) if peak else 0


def in_child(module: str, *words: object) -> str:
    """Last line that a module prints when it is run with these words in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def circumstances(*packages: str) -> dict[str, Any]:
    """Machine, commit, day, load over the last minute (None where the system does not say it), versions of packages."""
    from importlib.metadata import version

    from auformer.scoring.provenance import commit, machine

    return {
        **{name: version(name) for name in packages},
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


class Target(NamedTuple):
    """A figure that is asked for: what it is, its bound, whether it must stay below that, and why it may miss it."""

    what: str
    bound: float | None = None
    below: bool = True
    reason: str = ""

    def verdict(self, value: float | None) -> str:
        """`met`, or `missed` and why; nothing where there is no bound or no value.

        >>> [Target("speed", 25.0, below=False).verdict(value) for value in (25.0, 24.9, None)]
        ['met', 'missed', '']
        """
        if self.bound is None or value is None:
            return ""
        if value <= self.bound if self.below else value >= self.bound:
            return "met"
        return f"missed: {self.reason}" if self.reason else "missed"


def target_table(
    targets: Mapping[str, Target],
    values: Mapping[str, float | None],
    *,
    form: str = ".3g",
    missing: str = "not known here",
) -> str:
    """Markdown: what is asked for, what was measured, or `missing` for None, the bound, the verdict."""
    from auformer.scoring.tables import Table  # here, so that what measures memory brings nothing with it

    rows = []
    for name, target in targets.items():
        value = values[name]
        bound = "" if target.bound is None else f"{'at most' if target.below else 'at least'} {target.bound:g}"
        rows.append([target.what, missing if value is None else format(value, form), bound, target.verdict(value)])
    return Table(["what", "measured", "target", "verdict"], rows).markdown()


def write_result(folder: Path, name: str, result: Mapping[str, Any], page: str | None = None) -> None:
    """Write a result as `NAME.json` and its page as `NAME.md`, each completely or not at all."""
    write_json(folder / f"{name}.json", result)
    if page is not None:
        write_text(folder / f"{name}.md", page)

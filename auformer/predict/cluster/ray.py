"""Ray: a cluster reached, or started on this machine, whose actors hold the network and work through the sources."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from auformer.errors import require
from auformer.predict.cluster.worker import Job, SourceWorker
from auformer.predict.sources import Source

ADDRESS_SECONDS = 10.0  # in which the head of a cluster must accept a connection [ours]
CONNECT_TRIES = 2  # of Ray at such a connection, about 40 s each [ours]; its own 20 take a quarter of an hour
CPUS = 2  # of the processor per worker [ours]: reading and detection run beside the network
MAX_TASKS = 2000  # pieces of a collection [ours]: an even load, and little book-keeping for Ray
OBJECT_STORE = 256 * 2**20  # bytes, of a Ray of our own [ours]: only names and messages pass through it


def check_address(address: str | None) -> None:
    """Find out within 10 seconds whether anything accepts connections at the address of a cluster's head.

    What accepts them and is no head of a Ray cluster gets Ray's own error from `run_on_ray`, within about 90 seconds.

    Args:
        address: HOST:PORT; `auto` for the cluster that this machine belongs to, or None are left to Ray.

    Raises:
        ValueError: It is no address.
        ConnectionError: Nothing answers.
    """
    if address is None or address == "auto":
        return
    match = re.fullmatch(r"(?P<host>[^:/\s]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})", address)
    if match is None:
        raise ValueError(
            "Expected `--address` to be HOST:PORT of the cluster's head (often port 6379) or auto, but got "
            f"{address!r}."
        )
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout=ADDRESS_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"Expected a Ray cluster at {address}, but nothing answers there within {ADDRESS_SECONDS:g} s ({error}): "
            "is it running, is that the address which `ray start --head` printed, and does a firewall stand between?"
        ) from error


def run_on_ray(
    job: Job, sources: Sequence[Source], *, address: str | None, workers: int | None, device: str
) -> Iterator[dict[str, Any]]:
    """Let workers predict sources.

    A worker that dies is replaced, and what it was doing is done again; finished sources stay finished.

    Args:
        job: What to do.
        sources: For which sources.
        address: HOST:PORT of a cluster's head, `auto` for that of this machine, None to start one here.
        workers: Number of processes; None for one per GPU, or per two cores.
        device: `auto` (GPUs where the cluster has any), `cpu` or `cuda`.

    Yields:
        `name`, `problem` and `attempts` of each source, in the order in which they are done.

    Raises:
        MissingExtraError: Ray is not installed.
        ConnectionError: There is no cluster at the address, or one of another version.
        ValueError: The workers cannot do the work.
    """
    with connected(address, workers) as ray:
        count, cpus, gpus = share([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, device)
        job = replace(job, device="cuda" if gpus else "cpu", threads=cpus)
        _quiet()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        rows = [{"file": source.file, "name": source.name, "kind": source.kind} for source in sources]
        tasks = min(len(rows), MAX_TASKS)
        results = ray.data.from_items(rows, override_num_blocks=tasks).map_batches(
            SourceWorker,
            fn_constructor_args=(job,),
            batch_size=None,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(count, tasks), max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        try:
            for row in results.iter_rows():
                yield {"name": str(row["name"]), "problem": str(row["problem"]), "attempts": int(row["attempts"])}
        except Exception as error:  # of Ray, of Ray Data, or a worker's own
            raise ValueError(
                f"Expected the workers of the cluster to predict, but they cannot: {_reason(error)}"
            ) from error


@contextlib.contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[ModuleType]:
    """Ray, connected; what was started for this is stopped at the end."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing that we start reports to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's core warns of what it mends, such as a dead process
    if address is not None:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", str(CONNECT_TRIES))
    ray, _ = require("ray", "cluster"), require("ray.data", "cluster")
    own: dict[str, Any] = {}
    if address is None:
        cpus = max(os.cpu_count() or 1, CPUS * (workers or 1))
        own = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises plain exceptions too, as where its processes do not start in time
        raise ConnectionError(
            f"Expected a Ray cluster at {address or 'this machine'}, but it cannot be used: {_reason(error)}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def share(nodes: Sequence[dict[str, float]], workers: int | None, device: str) -> tuple[int, int, int]:
    """Number of workers, and each one's cores and GPUs, from the resources of each machine as Ray names them.

    >>> share([{"CPU": 8.0}, {"CPU": 5.0}], None, "auto")
    (6, 2, 0)
    >>> share([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0}], None, "auto")
    (2, 2, 1)
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" and not gpus:
        raise ValueError(
            "Expected a GPU in the cluster for `--device cuda`, but Ray knows of none: leave --device out."
        )
    if gpus and device != "cpu":
        cpus = min(int(node.get("CPU", 0)) // int(node["GPU"]) for node in nodes if node.get("GPU"))
        return workers or gpus, max(1, min(CPUS, cpus)), 1
    cpus = int(max(1, min(CPUS, max(node.get("CPU", 0) for node in nodes))))
    return workers or max(1, sum(int(node.get("CPU", 0)) // cpus for node in nodes)), cpus, 0


def _reason(error: BaseException) -> str:
    """The last line of a message: Ray puts the traceback of the other machine before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _quiet() -> None:
    """Keep Ray Data's messages in its log files; what the user needs is said once, by us."""
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL + 1)

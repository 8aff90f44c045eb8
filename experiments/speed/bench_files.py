"""Memory of training, counted: what autograd keeps, and what a process held at most."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auformer.files import write_text
from auformer.scoring.provenance import commit, machine


def kept_bytes(network: Any, images: Tensor) -> int:
    """Bytes of the distinct storages that autograd keeps from forward to backward, without parameters and buffers."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    alive: dict[int, Tensor] = {}  # tensors stay alive, so no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.forward_all(images)
    return sum(tensor.untyped_storage().nbytes() for tensor in alive.values())


def peak_resident() -> int:
    """Largest resident memory of this process so far, in bytes; 0 where the system does not say.

    Linux says it in `/proc`; what `getrusage` says there is inherited from the parent process, so it serves elsewhere only.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))
        return int(found.group(1)) * 1024 if found else 0
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def circumstances() -> dict[str, Any]:
    """Version of torch, machine, commit, day, and the load of the machine over the last minute; None where the system does not say it."""
    return {
        "torch": torch.__version__,
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def write_result(folder: Path, name: str, result: Mapping[str, Any], page: str) -> None:
    """Write a result as `NAME.json` and its page as `NAME.md`, each completely or not at all.

    Args:
        folder: Where; it is made if it is missing.
        name: Of both files.
        result: Plain values.
        page: Markdown.
    """
    write_text(folder / f"{name}.json", json.dumps(result, indent=2) + "\n")
    write_text(folder / f"{name}.md", page)

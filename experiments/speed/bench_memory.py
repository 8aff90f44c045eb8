"""Memory of training, counted: what autograd keeps, and what a process held at most."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


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

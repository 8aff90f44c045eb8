"""Batches that fit into memory: one that does not is halved and retried, and the size that has fitted is kept."""

from __future__ import annotations

import ctypes.util
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Rows = TypeVar("Rows", np.ndarray, "torch.Tensor")

_log = logging.getLogger(__name__)

# What allocators say, in lower case: torch on GPUs and MPS, cuBLAS and cuDNN, torch on CPUs (Linux; Windows), C++,
# onnxruntime.
_SAID = (
    *("out of memory", "alloc_failed", "defaultcpuallocator", "not enough memory"),
    *("bad_alloc", "bad allocation", "failed to allocate memory"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out in a computation; of onnxruntime's kinds, not public, the text counts.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter of torch
        return True
    computed = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return computed and any(text in str(error).lower() for text in _SAID)


def shortage(error: BaseException) -> str:
    r"""What such an error says, in one line without a full stop.

    >>> shortage(RuntimeError("CUDA out of memory.\nGPU 0 has ..."))
    'CUDA out of memory'
    """
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def find_device(name: str) -> str:
    """The device to compute on: a name as torch takes it, or `auto`.

    Raises:
        ValueError: There is no such device here.
    """
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"Expected `--device` to be one that this machine has, but got {name!r}: {reason}") from error
    return name


def may_have_gpu() -> bool:
    """Whether a look at the machine leaves it open that torch finds a GPU, which it takes seconds to import to ask."""
    if sys.platform == "darwin":
        return False  # torch calls those of Apple `mps`
    if sys.platform == "win32":
        return ctypes.util.find_library("nvcuda") is not None
    return any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg"))


class FittingBatches:
    """Puts images through a function, no more at once than fit into memory.

    Rows do not depend on each other in anything that predicts, so how they are cut changes nothing (beyond rounding).
    Training is another matter: there the batch is part of the method.

    Args:
        size: Images at once to begin with, at least 1.

    Attributes:
        size: Images at once from here on; halved whenever so many did not fit.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, function: Callable[[Rows], Rows], images: Rows) -> Rows:
        """Apply a function to images.

        Args:
            function: `(b, ...)` to `(b, ...)`, row by row, of arrays or of tensors; it moves what it gets to its device
                itself, so that this may fail too.
            images: `(B, 3, H, W)`, B at least 1.

        Returns:
            `(B, ...)`.

        Raises:
            ValueError: Not even one image fits; the message says what to do.
        """
        parts: list[Rows] = []
        first = 0
        while first < len(images):
            piece = images[first : first + self.size]
            part, reason = self._try(function, piece)
            if part is None:
                self._halve(piece, reason)
                continue
            parts.append(part)
            first += len(piece)
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], np.ndarray):
            return np.concatenate(parts)
        import torch

        return torch.cat(parts)

    @staticmethod
    def _try(function: Callable[[Rows], Rows], piece: Rows) -> tuple[Rows | None, str]:
        """The result, or None and why; what the failed attempt held is free again when this returns."""
        try:
            return function(piece), ""
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None, shortage(error)

    def _halve(self, piece: Any, reason: str) -> None:
        """Take half as many images from here on, and say so."""
        if len(piece) == 1:
            height, width = piece.shape[-2:]
            raise ValueError(
                f"Expected one image of {height} x {width} pixels to fit into memory, but got: {reason}. "
                "Close what else uses the memory, or compute on another device (--device cpu)."
            )
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # what the failed attempt left in pieces
        self.size = max(1, len(piece) // 2)
        _log.warning("A batch of %d images does not fit into memory; going on with %d at once.", len(piece), self.size)

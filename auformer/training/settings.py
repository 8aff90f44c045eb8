"""Settings of torch and Lightning that training wants for itself, put back afterwards."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# What Lightning warns of although it is meant: a frozen backbone in eval mode, images loaded in this process, a folder with files.
_EXPECTED = (
    ".*does not have many workers.*",
    ".*Found .* module.* in eval mode.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*Total length of .* across ranks is zero.*",
    "(?s).*instantiate_classes.* was deprecated.*",
    "(?s).*JsonargparseDeprecationWarning per type is shown.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside, Lightning reports problems only."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _EXPECTED:
                warnings.filterwarnings("ignore", text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def fast_and_restored() -> Iterator[None]:
    """Inside, denormal numbers count as zero, and deterministic algorithms do not fill fresh memory; afterwards all is as before.

    Small gradients behind the zero-initialised up-projections are denormal numbers, which cost a CPU a hundred cycles each. Filling fresh
    memory with NaN finds reads of unwritten memory and is paid for by every buffer.
    """
    flushed = bool((torch.tensor([1e-40]) * 1.0 == 0).all())
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    torch.set_flush_denormal(True)
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark

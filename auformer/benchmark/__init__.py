"""The protocols of the AUFormer paper: a suite becomes runs, runs become lines, lines become tables and a page.

Names are looked up when they are first used (PEP 562), so that reading a suite imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.benchmark.suite import Suite, read_suite
    from auformer.benchmark.workers import run_suite

_LAZY = {
    "Suite": "auformer.benchmark.suite",
    "read_suite": "auformer.benchmark.suite",
    "run_suite": "auformer.benchmark.workers",
}

__all__ = ["Suite", "read_suite", "run_suite"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)

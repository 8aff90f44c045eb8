"""The protocols of the AUFormer paper: a suite becomes runs, runs become lines, lines become tables and a page.

Names are looked up when they are first used (PEP 562), so that reading a suite imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
    from auformer.benchmark.suite import Suite, read_suite
    from auformer.benchmark.workers import run_suite

__all__ = ["Suite", "read_suite", "run_suite"]
__getattr__, __dir__ = lazy_names(__name__, {"suite": ["Suite", "read_suite"], "workers": ["run_suite"]})

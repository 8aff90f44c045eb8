"""Training: `fit` for programs, LightningCLI for `auformer fit`, `validate` and `test`.

Names are looked up when they are first used (PEP 562), so that reading a configuration file imports no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.training.run import fit
    from auformer.training.scores import tune_thresholds

_LAZY = {"fit": "auformer.training.run", "tune_thresholds": "auformer.training.scores"}

__all__ = ["cli_main", "fit", "tune_thresholds"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def cli_main(args: Sequence[str]) -> int:
    """Run `fit`, `validate` or `test` with LightningCLI; the first word is the sub-command. Returns 0, or raises."""
    from auformer.training.cli import AUFormerCLI

    AUFormerCLI(args=list(args))
    return 0

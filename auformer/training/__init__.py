"""Training: `fit` for programs, LightningCLI for `auformer fit`, `validate` and `test`.

Names are looked up when they are first used (PEP 562), so that reading a configuration file imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
    from auformer.training.run import fit
    from auformer.training.scores import tune_thresholds

__all__ = ["cli_main", "fit", "tune_thresholds"]
__getattr__, __dir__ = lazy_names(__name__, {"run": ["fit"], "scores": ["tune_thresholds"]})


def cli_main(args: Sequence[str]) -> int:
    """Run `fit`, `validate` or `test` with LightningCLI; the first word is the sub-command. Returns 0, or raises."""
    from auformer.training.cli import AUFormerCLI

    AUFormerCLI(args=list(args))
    return 0

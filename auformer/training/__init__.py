"""Training: one call for programs (`fit`), LightningCLI for `auformer fit`, `validate` and `test`, and what a run folder holds."""

from __future__ import annotations

from collections.abc import Sequence

from auformer.training.running import fit
from auformer.training.thresholds import tune_thresholds

__all__ = ["cli_main", "fit", "tune_thresholds"]


def cli_main(args: Sequence[str]) -> int:
    """Run `fit`, `validate` or `test` with LightningCLI.

    Args:
        args: Words after `auformer`, the first one is the sub-command.

    Returns:
        0; what goes wrong is raised.
    """
    from auformer.training.cli import AUFormerCLI

    AUFormerCLI(args=list(args))
    return 0

"""`python -m data_prep.NAME ...` is `auformer prepare NAME ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(name: str, args: Sequence[str] | None = None) -> int:
    """Prepare a data set from the words of the command line.

    Args:
        name: The data set's module in this package.
        args: Words after the name; those of the process by default.

    Returns:
        The exit code, as of `auformer.cli.main`.
    """
    from auformer.cli import main as auformer_main

    return auformer_main(["prepare", name, *(sys.argv[1:] if args is None else args)])

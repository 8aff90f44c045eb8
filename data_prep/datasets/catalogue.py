"""Data sets with action units that this package does not read, and why; `auformer prepare --list` and the README say so."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd

from ..release import Findings, Release

NOT_READ: dict[str, str] = {
    "gft": "GFT (Sayette Group Formation Task): 172,800 frames of 96 people with occurrence and intensity. Its annotations are at "
    "osf.io/7wcyz, its videos come from the University of Pittsburgh. How the files lie on disk was found in no public repository, and a "
    "reader would have to guess: make a table of paths and labels, and use csv.",
    "smic": "SMIC: micro-expressions with emotions only, no action units are coded.",
}


def not_read_lines() -> list[str]:
    """A line per data set, for `auformer prepare --list`."""
    return [f"not read: {text}" for text in NOT_READ.values()]


#: Word of the command and module in this package, in the order of `auformer prepare --list`.
NAMES = (
    "bp4d", "disfa", "casme2", "samm", "csv",
    "bp4dplus", "disfaplus", "casme", "mmew", "fourdme", "casme3", "casme_sq",
    "ckplus", "unbc", "affwild2", "emotionet", "rafau", "feafa", "bosphorus",
)  # fmt: skip


class Reader(Protocol):
    """A module of this package that reads one release."""

    RELEASE: Release

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Define the data set's own options."""

    def read(self, root: Path, findings: Findings, **options: Any) -> pd.DataFrame:
        """One row per frame that gets labels, and where its picture is."""


def names() -> list[str]:
    """Names of the data sets that can be read, in the order of `NAMES`."""
    return [name for name in NAMES if importlib.util.find_spec(f".{name}", __package__) is not None]


def load(name: str) -> Reader:
    """The module that reads a data set.

    Raises:
        ValueError: There is no such data set.
    """
    if name not in names():
        raise ValueError(
            f"Expected the data set to be one of {', '.join(names())}, but got {name!r}. See: auformer prepare --list"
        )
    return cast(Reader, importlib.import_module(f".{name}", __package__))

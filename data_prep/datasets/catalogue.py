"""The data sets that are read, one module of this package each, and those that are not, with the reason."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd

from ..release import Findings, Release

#: Word of the command and module in this package, in the order of `auformer prepare --list`.
NAMES = (
    "bp4d", "disfa", "casme2", "samm", "csv", "annotations",
    "bp4dplus", "disfaplus", "casme", "mmew", "fourdme", "casme3", "casme_sq",
    "ckplus", "unbc", "affwild2", "emotionet", "rafau", "feafa", "bosphorus",
)  # fmt: skip

#: Data sets that this package does not read, and why; `auformer prepare --list` and the README say so.
NOT_READ: dict[str, str] = {
    "gft": "GFT (Sayette Group Formation Task): 172,800 frames of 96 people with occurrence and intensity. Its "
    "annotations are at osf.io/7wcyz, its videos come from the University of Pittsburgh. How the files lie on disk "
    "was found in no public repository, and a reader would have to guess: make a table of paths and labels, and use "
    "csv.",
    "smic": "SMIC: micro-expressions with emotions only, no action units are coded.",
}


class Reader(Protocol):
    """A module of this package that reads one release."""

    RELEASE: Release

    def read(self, root: Path, findings: Findings, **options: Any) -> pd.DataFrame:
        """One row per frame that has labels, and where its image is.

        Args:
            root: Folder of the release.
            findings: Takes what is met on the way.
            options: Those of `RELEASE.options`, and `corrections` where faults of the release are known: whether to
                correct them.

        Returns:
            `subject`, `sequence`, `frame`, the label columns of a manifest, and `status`, `source`, `source_frame`,
            `source_member` (see `auformer.data_prep.formats.frames`); optionally `fold` and the columns of clips.

        Raises:
            DatasetLayoutError: The tree or a file of it is not as expected.
        """


def load(name: str) -> Reader:
    """The module that reads a data set.

    Raises:
        ValueError: There is no such data set.
    """
    if name not in NAMES:
        raise ValueError(
            f"Expected the data set to be one of {', '.join(NAMES)}, but got {name!r}. See: auformer prepare --list"
        )
    return cast(Reader, importlib.import_module(f".{name}", __package__))

"""What a protocol has to know of a data set: its AUs, subjects, folds, whether it holds clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import au_columns, read_manifest


@dataclass(frozen=True)
class Facts:
    """What a manifest holds; only rows whose `status` is `ok` count.

    Attributes:
        au_names: AUs with labels, by number.
        datasets: Values of the column `dataset`.
        subjects: `dataset/subject`, sorted.
        folds: Values of the column `fold`, sorted; empty without it.
        without_fold: Rows without a fold, where others have one.
        has_clips: Whether the rows are frames of clips.
    """

    au_names: tuple[str, ...]
    datasets: tuple[str, ...]
    subjects: tuple[str, ...]
    folds: tuple[str, ...] = ()
    without_fold: int = 0
    has_clips: bool = False


@dataclass(frozen=True)
class DataSet:
    """A data set by name.

    Attributes:
        name: What runs and tables call it.
        path: Its manifest.
        facts: What it holds; None as long as it is not there.
        rendered: Whether it is made by the renderer.
    """

    name: str
    path: Path
    facts: Facts | None = None
    rendered: bool = False


def subject_names(frame: pd.DataFrame) -> pd.Series:
    """`dataset/subject` of each row."""
    return frame["dataset"].astype(str) + "/" + frame["subject"].astype(str)


def manifest_facts(frame: pd.DataFrame) -> Facts:
    """The facts of a manifest, as `read_manifest` gives it."""
    ok = frame[frame["status"] == "ok"]
    folds = ok["fold"] if "fold" in ok else pd.Series(dtype=str)
    known: Any = folds.dropna()
    known = known[known != ""]
    return Facts(
        tuple(au_columns(frame)),
        tuple(sorted(ok["dataset"].unique())),
        tuple(sorted(subject_names(ok).unique())),
        tuple(sorted(known.unique())),
        len(folds) - len(known) if len(known) else 0,
        {"clip", "onset", "apex", "offset"} <= set(ok.columns) and bool(ok["clip"].notna().all()) and len(ok) > 0,
    )


def find_facts(path: Path) -> Facts | None:
    """The facts of a manifest; None where there is no such file.

    Raises:
        ManifestError: The file is no manifest.
    """
    return manifest_facts(read_manifest(path)) if path.is_file() else None


def data_name(path: Path) -> str:
    """What a manifest is called by itself: its file, or its folder where the file is called `manifest`.

    >>> data_name(Path("data/bp4d.csv")), data_name(Path("runs/lab_a/manifest.csv"))
    ('bp4d', 'lab_a')
    """
    return path.resolve().parent.name if path.stem == "manifest" else path.stem


def shared_aus(train: Sequence[DataSet], test: DataSet) -> tuple[str, ...] | None:
    """AUs that both sides have, by number; None as long as one of them is not there.

    Raises:
        ValueError: There are none.
    """
    facts = [data.facts for data in train]
    if test.facts is None or None in facts:
        return None
    trained = {au for known in facts if known is not None for au in known.au_names}
    shared = tuple(au for au in test.facts.au_names if au in trained)
    if not shared:
        names = "+".join(data.name for data in train)
        mine, theirs = ", ".join(sorted(trained, key=lambda au: int(au[2:]))) or "none", ", ".join(test.facts.au_names) or "none"
        told = f"{mine} and {theirs}; take data sets that label the same ones"
        raise ValueError(f"Expected {names} and {test.name} to share an action unit, but got {told}")
    return shared

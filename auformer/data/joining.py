"""Several manifests as one table: the union of their action units, rows that know which file they are from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.checks import row_name
from auformer.data.dataset import MANIFEST, ROW
from auformer.data.manifest import read_manifest
from auformer.data.schema import KEY, SIDES, parse_column
from auformer.errors import ManifestError


def join_manifests(paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read manifests and put them under each other.

    Args:
        paths: One manifest or several.

    Returns:
        The rows of all in their order, with the union of the columns: labels that a manifest lacks are -1, other values are missing.
        The columns `@manifest` and `@row` say where a row is from.

    Raises:
        ManifestError: A manifest is not as it should be, none is named, or a key occurs in two of them.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    if not listed:
        raise ManifestError("Expected at least one manifest, but got an empty list")
    frames = []
    for path in listed:
        frame = read_manifest(path)
        frame[MANIFEST], frame[ROW] = str(path), np.arange(len(frame))
        frame.attrs = {}
        frames.append(frame)
    joined = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    for name in joined.columns:
        parsed = parse_column(name)
        if parsed is not None and parsed[1] in ("", *SIDES):
            joined[name] = joined[name].fillna(-1).astype(np.int8)
    _check_keys(joined)
    joined[MANIFEST] = joined[MANIFEST].astype("category")
    return joined


def _check_keys(joined: pd.DataFrame) -> None:
    """Raise if two files hold the same face.

    Raises:
        ManifestError: It names both files and rows.
    """
    twice = np.flatnonzero(joined.duplicated(KEY).to_numpy(bool))
    if twice.size:
        second = joined.iloc[twice[0]]
        first = joined[(joined[KEY] == second[KEY]).all(axis=1)].iloc[0]
        raise ManifestError(
            f"{second[MANIFEST]}, {row_name(second[ROW])}: the same key is in {first[MANIFEST]}, {row_name(first[ROW])}: "
            f"{', '.join(f'{name} {second[name]}' for name in KEY)}; join manifests of different faces"
        )

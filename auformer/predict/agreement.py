"""Two predictions files side by side: which of their rows show one face, and how far they agree on each AU."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from auformer.data.schema import aus_with
from auformer.predict.tracking import match_boxes

MIN_OVERLAP = 0.3  # of two tools' boxes, whose margins differ, for one face [ours]
ACTIVE = 0.5  # probability from which on an AU counts as active in files that do not say (Py-Feat)
_BOX = ["x", "y", "w", "h"]


class Pairs(NamedTuple):
    """Rows of two tables that show one face.

    Args:
        first: Rows of the first table.
        second: Rows of the second, in the same order.
        counts: `images` in both, faces `in_both`, `only_first`, `only_second`, over the images that both have.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    counts: dict[str, int]


def pair_rows(first: pd.DataFrame, second: pd.DataFrame) -> Pairs:
    """Bring the faces of two predictions files together.

    Sources are matched by their file name without folder and suffix, or are taken for one where each file has a single
    one; frames by their number; faces of a frame by their boxes, and by the order of their numbers where a file has no
    boxes.

    Args:
        first: As `read_predictions` gives it.
        second: The same.

    Raises:
        ValueError: There is no image that both files have.
    """
    one, two = _with_source(first), _with_source(second)
    if one["source"].nunique() == 1 and two["source"].nunique() == 1:
        one["source"] = two["source"] = "the source"
    keys = ["source", "frame"]
    shared = one[keys].drop_duplicates().merge(two[keys].drop_duplicates(), on=keys)
    if shared.empty:
        raise ValueError(f"Expected two files about the same images, but got {_extent(one)}, and {_extent(two)}.")
    one, two = (table[table["status"] == "ok"].merge(shared, on=keys) for table in (one, two))
    groups = two.groupby(keys).indices
    boxes = _boxes(one), _boxes(two)
    left, right = [], []
    for key, places in one.groupby(keys).indices.items():
        for a, b in _match(list(places), list(groups.get(key, ())), *boxes):
            left.append(a)
            right.append(b)
    counts = {
        "images": len(shared),
        "in_both": len(left),
        "only_first": len(one) - len(left),
        "only_second": len(two) - len(left),
    }
    return Pairs(one.iloc[left].reset_index(drop=True), two.iloc[right].reset_index(drop=True), counts)


def agreement(pairs: Pairs) -> pd.DataFrame:
    """How far two files agree on each AU that both have.

    Returns:
        By AU: `faces` (with a value in both), `active_first` and `active_second` (shares), `agree` (share), `kappa`
            (Cohen 1960; nan
        where one says the same throughout), `correlation` (Pearson, of probabilities or intensities; nan where there is
        none).
    """
    rows = []
    for au in sorted(_aus(pairs.first) & _aus(pairs.second), key=lambda name: int(name[2:])):
        a, b = active_values(pairs.first, au), active_values(pairs.second, au)
        known = ~(np.isnan(a) | np.isnan(b))
        a, b = a[known], b[known]
        shares = (a.mean(), b.mean(), (a == b).mean()) if len(a) else (np.nan,) * 3
        correlation = _correlation(_value(pairs.first, au), _value(pairs.second, au))
        rows.append([au, len(a), *shares, _kappa(a, b), correlation])
    return pd.DataFrame(rows, columns=["au", "faces", "active_first", "active_second", "agree", "kappa", "correlation"])


def _extent(table: pd.DataFrame) -> str:
    """Sources and frames of a table, for a message."""
    sources, frames = ", ".join(sorted(table["source"].unique())[:3]), table["frame"]
    return f"sources {sources} with frames {frames.min()} to {frames.max()}"


def _with_source(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the bare name of each row's source."""
    table = table.reset_index(drop=True).copy()
    stems = {name: PurePosixPath(str(name)).stem for name in table["subject"].unique()}
    if len(set(stems.values())) < len(stems):  # two of one name in different folders
        stems = {name: str(name) for name in stems}
    table["source"] = table["subject"].map(stems)
    return table.sort_values(["source", "frame", "face"], kind="stable", ignore_index=True)


def _boxes(table: pd.DataFrame) -> np.ndarray:
    """(n, 4) boxes of rows, nan where there are none."""
    return table[_BOX].to_numpy(float) if set(_BOX) <= set(table) else np.full((len(table), 4), np.nan)


def _match(left: list[int], right: list[int], one: np.ndarray, two: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows of one frame that show one face, given the boxes (n, 4) of all rows of either file."""
    if np.isnan(one[left]).any() or np.isnan(two[right]).any():
        return list(zip(left, right, strict=False))  # rows are by rising number of the face
    pairs = match_boxes(one[left].tolist(), two[right].tolist(), MIN_OVERLAP)
    return [(left[a], right[b]) for a, b in pairs]


def _aus(table: pd.DataFrame) -> set[str]:
    """AUs of which a table has an activity, a probability or an intensity."""
    return {au for kind in ("active", "prob", "intensity") for au in aus_with(table.columns, kind)}


def active_values(table: pd.DataFrame, au: str) -> np.ndarray:
    """(n,) whether an AU is active, 1, 0 or nan: as the file says, else by the probability."""
    if f"{au}_active" in table:
        return table[f"{au}_active"].astype("Float64").to_numpy(float, na_value=np.nan)
    value = table[f"{au}_prob"].to_numpy(float) if f"{au}_prob" in table else np.full(len(table), np.nan)
    return np.where(np.isnan(value), np.nan, (value >= ACTIVE).astype(float))


def _value(table: pd.DataFrame, au: str) -> np.ndarray:
    """(n,) probability or intensity of an AU, nan where there is none."""
    name = next((f"{au}_{kind}" for kind in ("prob", "intensity") if f"{au}_{kind}" in table), None)
    return np.full(len(table), np.nan) if name is None else table[name].to_numpy(float)


def _kappa(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's kappa of two binary series (n,)."""
    if not len(a):
        return float("nan")
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return float("nan") if chance == 1 else float(((a == b).mean() - chance) / (1 - chance))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two series (n,) where both have values; nan where one does not change."""
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 and b.std() > 0 else float("nan")

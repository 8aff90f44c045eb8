"""Two predictions files side by side: which of their rows show one face, and how far they agree on each AU."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from auformer.data.schema import aus_with

MIN_SHARED = 0.4  # of the smaller of two tools' boxes, whose margins differ, for one face [ours]
ACTIVE = 0.5  # probability from which on an AU counts as active in files that do not say (Py-Feat)
_BOX = ["x", "y", "w", "h"]


class Pairs(NamedTuple):
    """Rows of two tables that show one face.

    Args:
        first: Rows of the first table.
        second: Rows of the second, in the same order.
        counts: `images` in both, `images_first` and `images_second` in one only, faces `in_both`, `only_first`,
            `only_second`, `undecided` (several in an image, and a table does not say where) over the images that both
            have, and images that are `unreadable_first`, `unreadable_second`, which are none of these.
        alone: The sources that only the first has, and those that only the second has.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    counts: dict[str, int]
    alone: tuple[list[str], list[str]] = ([], [])


def pair_rows(first: pd.DataFrame, second: pd.DataFrame) -> Pairs:
    """Bring the faces of two predictions files together.

    Sources are matched by their names from the end (a file without folders and suffix may be any of that name), or are
    taken for one where each file has a single one; frames by their number; faces of a frame by their place in the
    image. Without places a single face is the same in both; of several nothing is known, since the numbers that a tool
    gives to faces are its own.

    Args:
        first: As `read_predictions` gives it.
        second: The same.

    Raises:
        ValueError: There is no image that both files have, or a source of one may be two of the other.
    """
    one, two = (
        table.reset_index(drop=True).assign(source=table["subject"].astype(str).to_numpy()) for table in (first, second)
    )
    names = _same_sources(one["source"].unique().tolist(), two["source"].unique().tolist())
    alone = (sorted(set(one["source"]) - set(names)), sorted(set(two["source"]) - set(names.values())))
    back = {theirs: ours for ours, theirs in names.items()}
    extent = f"{_extent(one)}, and {_extent(two)}"
    two["source"] = [back.get(name, f"{name} of B") for name in two["source"]]
    keys, unreadable = ["source", "frame"], []
    for table in (one, two):
        lost = table["status"] == "unreadable"
        unreadable.append(len(table.loc[lost, keys].drop_duplicates()))
    one, two = (
        table[table["status"] != "unreadable"].sort_values([*keys, "face"], kind="stable", ignore_index=True)
        for table in (one, two)
    )
    images = [table[keys].drop_duplicates() for table in (one, two)]
    shared = images[0].merge(images[1], on=keys)
    if shared.empty:
        raise ValueError(f"Expected two files about the same images, but got {extent}.")
    one, two = (table[table["status"] == "ok"].merge(shared, on=keys) for table in (one, two))
    left, right, undecided = _pairs(one, two, keys)
    counts = {
        "images": len(shared),
        "images_first": len(images[0]) - len(shared),
        "images_second": len(images[1]) - len(shared),
        "in_both": len(left),
        "only_first": len(one) - len(left) - undecided[0],
        "only_second": len(two) - len(right) - undecided[1],
        "undecided": max(undecided),
        "unreadable_first": unreadable[0],
        "unreadable_second": unreadable[1],
    }
    return Pairs(one.iloc[left].reset_index(drop=True), two.iloc[right].reset_index(drop=True), counts, alone)


def _same_sources(ours: list[str], theirs: list[str]) -> dict[str, str]:
    """Sources of one file that the other has too, and what they are called there.

    Raises:
        ValueError: One may be two of the other file.
    """
    if len(ours) == len(theirs) == 1:
        return {ours[0]: theirs[0]}
    found: dict[str, str] = {}
    for rank in range(3):  # a likeness that is closer counts before one that is not
        left = [name for name in theirs if name not in found.values()]
        fitting = {
            name: [other for other in left if _likeness(name, other) == rank] for name in ours if name not in found
        }
        for name, others in fitting.items():
            rivals = [one for one, fits in fitting.items() if others and others[0] in fits]
            if len(others) > 1 or len(rivals) > 1:
                may = (
                    f"{name} may be {others[0]} or {others[1]}"
                    if len(others) > 1
                    else f"{others[0]} may be {rivals[0]} or {rivals[1]}"
                )
                raise ValueError(
                    f"Expected every source to have one of its name in the other file, but {may}; rename them."
                )
            found |= dict.fromkeys([name] if others else [], others[0] if others else "")
    return found


def _likeness(one: str, other: str) -> int | None:
    """How alike two paths are from the end, as far as both have folders: None where they are of different files.

    >>> _likeness("p1/a.jpg", "/data/p1/a.jpg"), _likeness("p1/a.mp4", "a"), _likeness("a.mp4", "a.avi")
    (0, 1, 2)
    >>> _likeness("p1/a.jpg", "p2/a.jpg") is None
    True
    """
    a, b = PurePosixPath(one), PurePosixPath(other)
    folders = min(len(a.parts), len(b.parts)) - 1
    if folders and a.parts[-folders - 1 : -1] != b.parts[-folders - 1 : -1]:
        return None
    if a.name == b.name:
        return 0
    return 1 if a.stem == b.name or a.name == b.stem else 2 if a.stem == b.stem else None


def _pairs(one: pd.DataFrame, two: pd.DataFrame, keys: list[str]) -> tuple[list[int], list[int], tuple[int, int]]:
    """Places of the rows that show one face, and how many rows of either table cannot be told apart."""
    groups = two.groupby(keys).indices
    boxes = _boxes(one), _boxes(two)
    left, right, undecided = [], [], [0, 0]
    for key, places in one.groupby(keys).indices.items():
        others = groups.get(key, np.empty(0, int))
        if len(places) == len(others) == 1 and (np.isnan(boxes[0][places]).any() or np.isnan(boxes[1][others]).any()):
            pairs = [(places[0], others[0])]
        elif len(others) and (np.isnan(boxes[0][places]).any() or np.isnan(boxes[1][others]).any()):
            undecided[0], undecided[1], pairs = undecided[0] + len(places), undecided[1] + len(others), []
        else:
            matched = _match(boxes[0][places], boxes[1][others])
            pairs = [(places[a], others[b]) for a, b in matched]
        left += [int(a) for a, _ in pairs]
        right += [int(b) for _, b in pairs]
    return left, right, (undecided[0], undecided[1])


def _match(one: np.ndarray, two: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of boxes (n, 4) and (m, 4) that show one face: by falling overlap, each box once."""
    a, b = one[:, None], two[None]
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(-1)
    areas = one[:, 2:].prod(1)[:, None], two[:, 2:].prod(1)[None]
    shared, overlap = common / np.minimum(*areas), common / (areas[0] + areas[1] - common)
    pairs: list[tuple[int, int]] = []
    for at in np.argsort(-overlap, axis=None, kind="stable"):
        i, j = divmod(int(at), len(two))
        if shared[i, j] >= MIN_SHARED and all(i != k and j != m for k, m in pairs):
            pairs.append((i, j))
    return pairs


def agreement(pairs: Pairs) -> pd.DataFrame:
    """How far two files agree on each AU that both have.

    Returns:
        By AU: `faces` (with an activity in both), `active_first` and `active_second` (shares), `agree` (share), `kappa`
        (Cohen 1960; nan where one says the same throughout), `correlation` (Pearson; of probabilities where both have
        them, else of intensities, else of one with the other; nan where there is none).
    """
    rows = []
    for au in sorted(_aus(pairs.first) & _aus(pairs.second), key=lambda name: int(name[2:])):
        a, b = active_values(pairs.first, au), active_values(pairs.second, au)
        known = ~(np.isnan(a) | np.isnan(b))
        a, b = a[known], b[known]
        shares = (a.mean(), b.mean(), (a == b).mean()) if len(a) else (np.nan,) * 3
        rows.append([au, len(a), *shares, _kappa(a, b), _correlation(*_values(pairs, au))])
    return pd.DataFrame(rows, columns=["au", "faces", "active_first", "active_second", "agree", "kappa", "correlation"])


def _extent(table: pd.DataFrame) -> str:
    """Sources and frames of a table, for a message."""
    sources, frames = ", ".join(sorted(table["source"].unique())[:3]), table["frame"]
    return f"sources {sources} with frames {frames.min()} to {frames.max()}"


def _boxes(table: pd.DataFrame) -> np.ndarray:
    """(n, 4) boxes of rows, nan where there are none."""
    return table[_BOX].to_numpy(float) if set(_BOX) <= set(table) else np.full((len(table), 4), np.nan)


def _aus(table: pd.DataFrame) -> set[str]:
    """AUs of which a table has an activity, a probability or an intensity."""
    return {au for kind in ("active", "prob", "intensity_pred") for au in aus_with(table.columns, kind)}


def active_values(table: pd.DataFrame, au: str) -> np.ndarray:
    """(n,) whether an AU is active, 1, 0 or nan: as the file says, else by the probability."""
    if f"{au}_active" in table:
        return table[f"{au}_active"].astype("Float64").to_numpy(float, na_value=np.nan)
    value = table[f"{au}_prob"].to_numpy(float) if f"{au}_prob" in table else np.full(len(table), np.nan)
    return np.where(np.isnan(value), np.nan, (value >= ACTIVE).astype(float))


def _values(pairs: Pairs, au: str) -> tuple[np.ndarray, np.ndarray]:
    """(n,) values of an AU in either file, of one kind where both have it; nan where there is none."""
    kinds = ("prob", "intensity_pred")
    alike = [kind for kind in kinds if f"{au}_{kind}" in pairs.first and f"{au}_{kind}" in pairs.second]
    found = []
    for table in (pairs.first, pairs.second):
        name = next((f"{au}_{kind}" for kind in (*alike, *kinds) if f"{au}_{kind}" in table), None)
        found.append(np.full(len(table), np.nan) if name is None else table[name].to_numpy(float))
    return found[0], found[1]


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

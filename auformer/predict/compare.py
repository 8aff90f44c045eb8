"""Predictions files whoever made them, and two of them side by side."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from auformer.aus import ACTION_UNITS, canonical
from auformer.data import manifest
from auformer.data.schema import aus_with
from auformer.data.table_file import read_sidecar
from auformer.errors import ManifestError
from auformer.predict.outputs import OPENFACE_AUS, PYFEAT_BOX
from auformer.predict.table import DATASET
from auformer.predict.tracking import match_boxes

_NATIVE = ("dataset", "subject", "sequence")


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a predictions file of any of the three formats, told apart by their columns.

    Args:
        path: Our CSV or Parquet; OpenFace's CSV (2.0 with blanks in its header, 2.2, or of single images); Py-Feat's
            CSV.

    Returns:
        The key, `file, time_s` and box where known, `score, status`, then per AU what there is: `_prob` (ours,
        Py-Feat), `_active` (ours, OpenFace's `_c`), `_intensity` (OpenFace's `_r`, 0 to 5). Frames count from 0.
        `attrs` holds `path`, `format`, `side`.

    Raises:
        ManifestError: It is none of the three, or cannot be read.
    """
    path = Path(path)
    kind = _format(path)
    if kind == "native":
        table = manifest.read_predictions(path)
    else:
        table = {"openface": _from_openface, "pyfeat": _from_pyfeat}[kind](_read(path), path)
        table.attrs.update(path=str(path), side=read_sidecar(path))
    table.attrs["format"] = kind
    return table


def _format(path: Path) -> str:
    """`native`, `openface` or `pyfeat`, by the names of the columns."""
    if path.suffix.lower() == ".parquet" or not path.is_file():
        return "native"  # whose reader says what is wrong
    try:
        names = {str(name).strip() for name in pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns}
    except (OSError, ValueError):  # pandas' own errors are ValueErrors
        return "native"
    if names.issuperset(_NATIVE):
        return "native"
    if names & {name + kind for name in OPENFACE_AUS for kind in ("_c", "_r")}:
        return "openface"
    if names.issuperset(PYFEAT_BOX) and any(name.startswith("AU") for name in names):
        return "pyfeat"
    raise ManifestError(
        f"{path}: expected the predictions of auformer (`dataset, subject, ... AU12_prob`), OpenFace (`AU12_c`) or "
        f"Py-Feat (`FaceRectX`, `AU12`), but its columns are {', '.join(sorted(names)[:12])}"
    )


def _read(path: Path) -> pd.DataFrame:
    """A CSV file with blanks taken off its column names."""
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True, low_memory=False)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as a table ({error}); write it again") from error
    table.columns = [str(name).strip() for name in table.columns]
    return table


def _key(names: pd.Series | str, frames: pd.Series | int, faces: pd.Series | int, rows: pd.Index) -> pd.DataFrame:
    """The key columns of rows."""
    numbers = {
        name: pd.Series(values, index=rows).astype("int64") for name, values in (("frame", frames), ("face", faces))
    }
    return pd.DataFrame({"dataset": DATASET, "subject": names, "sequence": names, **numbers}, index=rows)


def _from_openface(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """OpenFace's table: frames from 1, `_c` as activity and `_r` as intensity; values of failed frames are dropped."""
    frames = raw["frame"] - 1 if "frame" in raw else 0
    faces = raw["face_id"] if "face_id" in raw else raw.get("face", 0)
    table = _key(path.stem, frames, faces, raw.index)
    if "timestamp" in raw:
        table["time_s"] = raw["timestamp"].astype(float)
    confidence = raw["confidence"].astype(float) if "confidence" in raw else pd.Series(1.0, raw.index)
    success = raw["success"] == 1 if "success" in raw else confidence > 0
    table["score"] = confidence.where(success)
    table["status"] = success.map({True: "ok", False: "no_face"})
    for name in OPENFACE_AUS:
        au = canonical(name)
        if f"{name}_c" in raw:
            table[f"{au}_active"] = raw[f"{name}_c"].where(success).astype("Float64").round().astype("Int8")
        if f"{name}_r" in raw:
            table[f"{au}_intensity"] = raw[f"{name}_r"].astype(float).where(success)
    return table.dropna(axis=1, how="all")


def _from_pyfeat(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Py-Feat's table: frames from 0, probabilities; faces by `Identity` where it tells them apart, or in order."""
    frames = raw["frame"].fillna(0) if "frame" in raw else pd.Series(0, raw.index)
    stems = raw["input"].map(lambda name: Path(str(name)).stem) if "input" in raw else pd.Series(path.stem, raw.index)
    table = _key(stems, frames, raw.groupby([stems, frames]).cumcount(), raw.index)
    if "Identity" in raw:
        numbers = pd.to_numeric(raw["Identity"].astype(str).str.extract(r"(\d+)$")[0], errors="coerce")
        known = numbers.fillna(0).astype("int64")
        if not pd.DataFrame({"stem": stems, "frame": frames, "face": known}).duplicated().any():
            table["face"] = known
    for name, column in zip("xywh", PYFEAT_BOX, strict=False):
        table[name] = raw[column].astype(float)
    table["score"] = raw["FaceScore"].astype(float)
    table["status"] = raw["FaceRectX"].notna().map({True: "ok", False: "no_face"})
    for name in raw.columns:
        number = name[2:] if name.startswith("AU") else ""
        if number.isdigit() and f"AU{int(number)}" in ACTION_UNITS:
            table[f"{canonical(name)}_prob"] = raw[name].astype(float)
    return table.dropna(axis=1, how="all")


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
        a, b = _active(pairs.first, au), _active(pairs.second, au)
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


def _active(table: pd.DataFrame, au: str) -> np.ndarray:
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

"""Predictions files whoever made them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.aus import ACTION_UNITS, canonical
from auformer.data import manifest
from auformer.data.table_file import read_sidecar
from auformer.errors import ManifestError
from auformer.predict.outputs import OPENFACE_AUS, PYFEAT_BOX
from auformer.predict.table import DATASET

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

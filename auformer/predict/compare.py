"""Predictions files whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from auformer.aus import ACTION_UNITS, canonical
from auformer.data import manifest
from auformer.data.cells import LABEL, NUMBER
from auformer.data.openface import LANDMARKS, TO_CORNER, first_frame
from auformer.data.schema import aus_with
from auformer.data.table_file import open_table, place_of, read_sidecar, read_table, table_names
from auformer.errors import ManifestError
from auformer.predict.outputs import OPENFACE_AUS, PYFEAT_BOX
from auformer.predict.sources import VIDEOS
from auformer.predict.table import DATASET

_NATIVE = {"dataset", "subject", "sequence"}
_OWN_DATA = ("annotations", "csv")  # data sets of one's own files
_BOX = ("x", "y", "w", "h")
_OPENFACE = {name + kind for name in OPENFACE_AUS for kind in ("_c", "_r")}
_OPENFACE_NUMBERS = {"frame", "face_id", "face", "timestamp", "confidence", *LANDMARKS[0], *LANDMARKS[1]}


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a predictions file of any of the three formats, or a manifest, told apart by their columns.

    Args:
        path: Our table; OpenFace's (2.0 with blanks in its header, 2.2, of single images, pyfaceau's); Py-Feat's. CSV
            with any separator, a spreadsheet or Parquet. Of a manifest the labels count as activity.

    Returns:
        The key, `file, time_s` and box where known, `score, status`, then per AU what there is: `_prob` (ours,
        Py-Feat), `_active` (ours, OpenFace's `_c`), `_intensity_pred` (ours,
        OpenFace's `_r`, 0 to 5). Frames count from 0.
        `attrs` holds `path`, `format`, `side`, and `notes` about what is not plain in the file.

    Raises:
        ManifestError: It is none of the three, has no rows, or cannot be read.
    """
    path = Path(path)
    names = table_names(path, lambda row: _format(row) is not None)
    kind = _format(names)
    if kind is None:
        raise ManifestError(
            f"{path}: expected the predictions of auformer (`dataset, subject, ... AU12_prob`), OpenFace (`AU12_c`) or "
            f"Py-Feat (`FaceRectX`, `AU12`), but its columns are {', '.join(names[:12])}"
        )
    if kind == "native" and aus_with(names, "") and not aus_with(names, "prob"):
        table, kind = _from_manifest(path), "manifest"
    elif kind == "native":
        table = manifest.read_predictions(path)
        table.attrs.setdefault("notes", [])
    else:
        kinds, read = {"openface": (_openface_kind, _from_openface), "pyfeat": (_pyfeat_kind, _from_pyfeat)}[kind]
        raw = open_table(
            path,
            header=lambda row: _format(row) == kind,
            kinds=kinds,
            keep=lambda name: name in ("input", "Identity") or kinds(name) != "",
        )
        if not len(raw):
            raise ManifestError(f"{path}: the table has a header and no rows, as where nobody was seen in a video")
        table = read(raw, path).reset_index(drop=True)
        table.attrs.update(path=str(path), side=read_sidecar(path), notes=raw.attrs["notes"])
    table.attrs["format"] = kind
    return table


def _format(names: Sequence[str]) -> str | None:
    """`native`, `openface` or `pyfeat`, by the names of the columns; None where they are of none."""
    found = set(names)
    if found >= _NATIVE:
        return "native"
    if found & _OPENFACE:
        return "openface"
    if found.issuperset(PYFEAT_BOX) and any(map(_pyfeat_au, names)):
        return "pyfeat"
    return None


def _from_manifest(path: Path) -> pd.DataFrame:
    """A manifest's labels as activity (-1 is empty), for faces that somebody has coded whether or not one was cropped.

    Sources of one's own are named by their files, as in the predictions of `auformer predict`; boxes are those of the
    file of faces beside it.
    """
    table = manifest.read_manifest(path)
    side, places = table.attrs["side"], manifest.faces_path(path)
    if places.is_file():
        table = table.merge(read_table(places)[[*manifest.KEY, *_BOX]], on=manifest.KEY, how="left")
    if "file" in table:
        own = table["dataset"].isin(_OWN_DATA) & table["file"].notna()
        for name in ("subject", "sequence"):
            table[name] = table["file"].where(own, table[name])
    table["status"] = table["status"].replace("no_face", "ok")
    table = table.rename(columns={f"{au}_intensity": f"{au}_intensity_pred" for au in aus_with(table, "intensity")})
    aus = manifest.au_columns(table)
    active = {f"{au}_active": table[au].astype("Int8").mask(table[au] == -1) for au in aus}
    labels = [name for au in aus for name in (au, f"{au}_left", f"{au}_right") if name in table]
    table = pd.concat([table.drop(columns=labels), pd.DataFrame(active, index=table.index)], axis=1)
    table.attrs.clear()
    table.attrs.update(path=str(path), side=side, notes=[])
    return table


def _openface_kind(name: str) -> str:
    """The kind of a column of OpenFace's table; empty where it is not read."""
    if name in _OPENFACE:
        return LABEL if name.endswith("_c") else NUMBER
    return LABEL if name == "success" else NUMBER if name in _OPENFACE_NUMBERS else ""


def _pyfeat_au(name: str) -> bool:
    """Whether a column of Py-Feat's table holds an action unit."""
    return name[:2] == "AU" and name[2:].isdecimal() and f"AU{int(name[2:])}" in ACTION_UNITS


def _pyfeat_kind(name: str) -> str:
    """The kind of a column of Py-Feat's table; empty where it is text, or not read."""
    return NUMBER if name in (*PYFEAT_BOX, "frame") or _pyfeat_au(name) else ""


def _key(names: pd.Series | str, frames: np.ndarray, faces: np.ndarray, rows: pd.Index) -> pd.DataFrame:
    """The key columns of rows."""
    numbers = {"frame": frames.astype(np.int64), "face": faces.astype(np.int64)}
    return pd.DataFrame({"dataset": DATASET, "subject": names, "sequence": names, **numbers}, index=rows)


def _whole(raw: pd.DataFrame, name: str) -> np.ndarray:
    """A column of whole numbers, all of them there."""
    values = raw[name].to_numpy(float)
    bad = np.flatnonzero(~(values == np.round(values)))
    if bad.size:
        got = "nothing" if np.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise ManifestError(
            f"{place_of(raw, bad[0])}: expected `{name}` to be a whole number, but got {got}; correct it"
        )
    return values


def _from_openface(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """OpenFace's table: frames from 1, `_c` as activity and `_r` as intensity; values of failed frames are dropped."""
    frames, nothing = np.zeros(len(raw)), np.zeros(len(raw))
    if "frame" in raw:
        frames = _whole(raw, "frame")
        frames = frames - first_frame(frames, raw["timestamp"].to_numpy(float) if "timestamp" in raw else None)
    number = next((name for name in ("face_id", "face") if name in raw), None)
    faces = pd.Series(frames).groupby(frames).cumcount().to_numpy() if number is None else _whole(raw, number)
    table = _key(path.stem, frames, faces, raw.index)
    _refuse_doubles(table, raw, number)
    if "timestamp" in raw:
        table["time_s"] = raw["timestamp"]
    confidence = raw["confidence"] if "confidence" in raw else nothing + 1
    success = raw["success"] == 1 if "success" in raw else pd.Series(confidence > 0, raw.index)
    table["score"] = pd.Series(confidence, raw.index).where(success)
    table["status"] = success.map({True: "ok", False: "no_face"})
    if {name for axis in LANDMARKS for name in axis} <= set(raw):
        low, high = (
            np.stack([getattr(raw[list(axis)].to_numpy(float), end)(axis=1) for axis in LANDMARKS], 1)
            for end in ("min", "max")
        )
        box = np.hstack([low + TO_CORNER, high - low])
        table[["x", "y", "w", "h"]] = np.where(success.to_numpy()[:, None], box, np.nan)
    values = {}
    for name in OPENFACE_AUS:
        if f"{name}_c" in raw:
            values[f"{canonical(name)}_active"] = _activity(raw, f"{name}_c").where(success).astype("Int8")
        if f"{name}_r" in raw:
            values[f"{canonical(name)}_intensity_pred"] = raw[f"{name}_r"].where(success)
    return pd.concat([table, pd.DataFrame(values, index=raw.index)], axis=1).dropna(axis=1, how="all")


def _refuse_doubles(table: pd.DataFrame, raw: pd.DataFrame, number: str | None) -> None:
    """Raise if a frame has one face twice, as where a program wrote to the end of an older table."""
    twice = np.flatnonzero(table.duplicated(["frame", "face"]))
    if twice.size:
        frame, face = table.iloc[twice[0]][["frame", "face"]]
        first = np.flatnonzero((table["frame"] == frame) & (table["face"] == face))[0]
        told = f"frame {raw['frame'].iloc[first]:g}, {number} {face}" if "frame" in raw else f"{number} {face}"
        raise ManifestError(
            f"{place_of(raw, twice[0])}: {told} is in {place_of(raw, first).rpartition(', ')[2]} too; a table that was "
            "written twice into one file has to be taken apart"
        )


def _activity(raw: pd.DataFrame, name: str) -> pd.Series:
    """A column that is 1, 0 or empty."""
    bad = np.flatnonzero(~(raw[name].isna() | raw[name].isin((0, 1))))
    if bad.size:
        raise ManifestError(
            f"{place_of(raw, bad[0])}: expected `{name}` to be 0, 1 or empty, but got {raw[name].iloc[bad[0]]:g}; "
            "correct it"
        )
    return raw[name]


def _from_pyfeat(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Py-Feat's table: frames from 0, probabilities; faces by `Identity` where it tells them apart, or in order.

    Of several images Py-Feat gives each a frame number of its own; an image is frame 0 here.
    """
    files = raw["input"].str.replace("\\", "/") if "input" in raw else pd.Series(path.stem, raw.index)
    files = files.where(files != "", path.stem)
    frames = raw["frame"].fillna(0) if "frame" in raw else pd.Series(0.0, raw.index)
    is_image = frames.groupby(files).transform("nunique").eq(1) & ~files.map(
        lambda file: PurePosixPath(file).suffix.lower() in VIDEOS
    )
    if "input" in raw:
        frames = frames.mask(is_image, 0.0)
    table = _key(
        files,
        _whole(raw.assign(frame=frames), "frame"),
        frames.groupby([files, frames]).cumcount().to_numpy(),
        raw.index,
    )
    if "Identity" in raw:
        numbers = pd.to_numeric(raw["Identity"].str.extract(r"(\d+)$")[0], errors="coerce")
        known = numbers.fillna(0).astype("int64")
        if not pd.DataFrame({"file": files, "frame": frames, "face": known}).duplicated().any():
            table["face"] = known
    for name, column in zip(("x", "y", "w", "h", "score"), PYFEAT_BOX, strict=True):
        table[name] = raw[column]
    table["status"] = raw["FaceRectX"].notna().map({True: "ok", False: "no_face"})
    values = {f"{canonical(name)}_prob": raw[name] for name in raw.columns if _pyfeat_au(name)}
    return pd.concat([table, pd.DataFrame(values)], axis=1).dropna(axis=1, how="all")

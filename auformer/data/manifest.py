"""The two tables that everything else reads or writes: the manifest of faces and the predictions file.

Both are CSV or Parquet, one row per frame and face, with the key `dataset, subject, sequence, frame, face`. A
manifest's labels are in columns `AU12` (1, 0, -1 or empty), `AU12_left`, `AU12_right`, `AU12_intensity` (0 to 5 or
empty); a predictions file has `AU12_true`, `AU12_prob`, `AU12_active`, `AU12_intensity_pred`, `AU12_intensity_true` and
never a plain `AU12`, so that one cannot be taken for the other. Beside `NAME.csv` lies `NAME.json` with where the table
comes from; it is optional for readers.

An action unit with intensities only is present from a level on, and gets its column `AU12` when the manifest is read:
`occurrence_threshold` of the sidecar, else 1. `intensity_scale: 1` there says that intensities are fractions of 0 to 1,
which are read as levels, times 5.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import MAX_INTENSITY
from auformer.data.schema import (
    DEFAULT_THRESHOLD,
    KEY,
    MANIFEST_KINDS,
    PREDICTION_KINDS,
    SCALE,
    SIDES,
    THRESHOLD,
    au_kinds,
    aus_with,
    check_clips,
    check_intensity_scale,
    check_sides,
    fail,
    has_letters,
    image_column,
    intensity_column,
    keyed,
    label_column,
    parse_column,
    range_column,
    row_name,
)
from auformer.data.table_file import faces_path, read_sidecar, read_table, sidecar_path, write_sidecar, write_table
from auformer.errors import ManifestError

__all__ = [
    "KEY", "MANIFEST", "ROW", "au_columns", "faces_path", "join_manifests", "predicted_aus", "read_manifest",
    "read_predictions", "sidecar_path", "validate_manifest", "validate_predictions", "write_faces", "write_manifest",
    "write_predictions",
]  # fmt: skip


_log = logging.getLogger(__name__)

MANIFEST, ROW = "@manifest", "@row"  # columns of joined manifests: the file a row is from, and its number there


def au_columns(frame: pd.DataFrame) -> list[str]:
    """Action units that a manifest has labels for, by number.

    >>> au_columns(pd.DataFrame(columns=["AU12", "frame", "AU4", "AU12_left"]))
    ['AU4', 'AU12']
    """
    return aus_with(frame.columns, "")


def predicted_aus(frame: pd.DataFrame) -> list[str]:
    """Action units that a predictions file has probabilities for, by number."""
    return aus_with(frame.columns, "prob")


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read and check a manifest, CSV or Parquet.

    Returns:
        The table as `validate_manifest` gives it, with labels of action units that have intensities only. `attrs` holds
        `path` (text), `au_names` (list), `side` (the sidecar's content, empty where there is none) and `notes` (what
        was read as something else, sentences).

    Raises:
        ManifestError: The file is missing or is no manifest; the message says where and what to do.
    """
    table, side = read_table(path), read_sidecar(path)
    frame = validate_manifest(table, str(path), scale=_number(side, SCALE, (1.0, MAX_INTENSITY), str(path)))
    letters = [au for au in aus_with(table.columns, "intensity") if has_letters(table[f"{au}_intensity"])]
    notes = [f"letters A to E were read as 1 to 5: intensities of {', '.join(letters)}"] if letters else []
    notes += _derive(frame, side, str(path))
    for note in notes:
        _log.warning("%s: %s", path, note)
    notes = [*table.attrs.get("notes", []), *notes]
    frame.attrs.update(path=str(path), au_names=au_columns(frame), side=side, notes=notes)
    return frame


def _number(side: dict[str, Any], key: str, allowed: Sequence[float] | None, where: str) -> float | None:
    """A number of a sidecar, None where it is not there."""
    value = side.get(key)
    listed = ", ".join(f"{one:g}" for one in allowed or ())
    wanted = f"one of {listed}" if allowed else f"above 0 and at most {MAX_INTENSITY:g}"
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (good and (value in allowed if allowed else 0 < value <= MAX_INTENSITY)):
        raise ManifestError(f"{sidecar_path(where)}: `{key}` should be {wanted}, but is {value!r}; correct it")
    return None if value is None else float(value)


def _derive(frame: pd.DataFrame, side: dict[str, Any], where: str) -> list[str]:
    """Add labels of action units that have intensities only, in place; what is to be said about it."""
    derived = [au for au in aus_with(frame.columns, "intensity") if au not in frame.columns]
    if not derived:
        return []
    threshold = _number(side, THRESHOLD, None, where) or DEFAULT_THRESHOLD
    for au in derived:
        level = frame[f"{au}_intensity"]
        frame.insert(frame.columns.get_loc(level.name), au, (level >= threshold).astype(np.int8).mask(level.isna(), -1))
    return [f"occurrence is an intensity of {threshold:g} or more for {', '.join(derived)}, which have no labels"]


def validate_manifest(
    frame: pd.DataFrame, where: str = "manifest", *, scale: float | None = MAX_INTENSITY
) -> pd.DataFrame:
    """Check a manifest and bring its columns into the types of the contract.

    Args:
        frame: Table with at least `dataset, subject, sequence, frame`. Columns without a meaning in the contract pass
            through.
        where: What messages call it, its path as a rule.
        scale: Highest intensity: 5, or 1 for fractions of 0 to 1, which become levels; None: levels, unless they look
            like fractions.

    Returns:
        A copy with a fresh index: keys as text, `frame` and `face` as int64 (`face` 0 where absent), `status` (`ok`
        where absent), labels per AU and per side as int8 (-1 where empty), intensities as float64 in [0, 5].

    Raises:
        ManifestError: A column is missing or its values break the contract, a key occurs twice, a path leaves the
            folder, sides or clips contradict themselves, or the table is a predictions file.
    """
    kinds = au_kinds(frame, where)
    if any(kind in PREDICTION_KINDS for _, kind in kinds.values()):
        raise ManifestError(
            f"{where}: expected a manifest, but got a predictions file (`AU.._prob`); `auformer score` reads those"
        )
    frame = keyed(frame, where, "a manifest")
    if "image" in frame.columns:
        frame["image"] = image_column(frame["image"], (frame["status"] == "ok").to_numpy(bool), where)
    for name, (_, kind) in kinds.items():
        if kind == "intensity":
            highest = MAX_INTENSITY if scale is None else scale
            frame[name] = intensity_column(frame[name], where, highest=highest) * (MAX_INTENSITY / highest)
        else:
            frame[name] = label_column(frame[name], where)
    if scale is None:
        strengths = [name for name, (_, kind) in kinds.items() if kind == "intensity"]
        check_intensity_scale({name: frame[name] for name in strengths}, where)
    check_sides(frame, kinds, where)
    check_clips(frame, where)
    return frame


def join_manifests(paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read one manifest or several and put them under each other.

    Returns:
        The rows of all in their order, with the union of the columns: labels that a manifest lacks are -1, other values
        are missing. The columns `@manifest` and `@row` say where a row is from.

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
    twice = np.flatnonzero(joined.duplicated(KEY).to_numpy(bool))
    if twice.size:
        second = joined.iloc[twice[0]]
        first = joined[(joined[KEY] == second[KEY]).all(axis=1)].iloc[0]
        here, there = (f"{one[MANIFEST]}, {row_name(one[ROW])}" for one in (second, first))
        named = ", ".join(f"{name} {second[name]}" for name in KEY)
        raise ManifestError(f"{here}: the same key is in {there}: {named}; join manifests of different faces")
    joined[MANIFEST] = joined[MANIFEST].astype("category")
    return joined


def write_manifest(frame: pd.DataFrame, path: str | Path, side: dict[str, Any]) -> None:
    """Check a manifest and write it with its sidecar; existing files are replaced.

    Args:
        frame: As `validate_manifest` takes it.
        path: CSV or Parquet file.
        side: Content of the sidecar in plain JSON values; `format_version` is added, and `intensity_scale` of a
            manifest with intensities, which are levels of 0 to 5 in memory.

    Raises:
        ManifestError: The table breaks the contract; nothing is written.
    """
    checked = validate_manifest(frame, str(path))
    scale = {SCALE: int(MAX_INTENSITY)} if aus_with(checked.columns, "intensity") else {}
    write_sidecar({**side, **scale}, path)
    write_table(checked, path)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read and check a predictions file, CSV or Parquet.

    Returns:
        The table as `validate_predictions` gives it, with `attrs` as of `read_manifest`.

    Raises:
        ManifestError: The file is missing or is no predictions file; the message says where and what to do.
    """
    frame = validate_predictions(read_table(path), str(path))
    frame.attrs.update(path=str(path), au_names=predicted_aus(frame), side=read_sidecar(path))
    return frame


def validate_predictions(frame: pd.DataFrame, where: str = "predictions") -> pd.DataFrame:
    """Check a predictions file and bring its columns into the types of the contract.

    Args:
        frame: Table with at least `dataset, subject, sequence, frame` and one `AU.._prob`.
        where: What messages call it, its path as a rule.

    Returns:
        A copy with a fresh index: keys and `status` as `validate_manifest` gives them, `quality` as text, empty where a
        face is fine, `AU.._true` as int8 (-1 where
        not known), `AU.._prob` as float64 (nan only where `status` is not `ok`), `AU.._active` as nullable Int8,
        `AU.._intensity_pred` and `AU.._intensity_true` as float64 in [0, 5], nan where empty.

    Raises:
        ManifestError: A column is missing or its values break the contract, a key occurs twice, or the table is a
            manifest.
    """
    kinds = au_kinds(frame, where)
    if not any(kind == "prob" for _, kind in kinds.values()):
        if any(kind == "" for _, kind in kinds.values()):
            raise ManifestError(
                f"{where}: expected a predictions file, but got a manifest; `auformer evaluate` makes predictions of it"
            )
        raise ManifestError(f"{where}: missing column `AU.._prob`; a predictions file has one per action unit")
    plain = [name for name, (_, kind) in kinds.items() if kind in MANIFEST_KINDS]
    if plain:
        raise ManifestError(
            f"{where}: column `{plain[0]}` of a manifest in a predictions file; the truth is called `AU.._true`"
        )
    frame = keyed(frame, where, "a predictions file")
    if "quality" in frame:
        frame["quality"] = frame["quality"].fillna("").astype(object)
    ok = (frame["status"] == "ok").to_numpy(bool)
    for name, (_, kind) in kinds.items():
        if kind == "prob":
            frame[name] = range_column(frame[name], where, 0.0, 1.0)
            empty = ok & frame[name].isna().to_numpy(bool)
            fail(where, empty, f"`{name}` is empty in a row whose `status` is `ok`", "predict again")
        elif kind == "true":
            frame[name] = label_column(frame[name], where)
        elif kind.startswith("intensity"):
            frame[name] = intensity_column(frame[name], where)
        else:
            frame[name] = label_column(frame[name], where, allowed=(0, 1)).astype("Int8").mask(frame[name].isna())
    return frame


def write_predictions(frame: pd.DataFrame, path: str | Path, side: dict[str, Any]) -> None:
    """Check a predictions file and write it with its sidecar, as `write_manifest` does.

    Raises:
        ManifestError: The table breaks the contract; nothing is written.
    """
    checked = validate_predictions(frame, str(path))
    write_sidecar(side, path)
    write_table(checked, path)


def write_faces(frame: pd.DataFrame, manifest: str | Path) -> None:
    """Write `NAME.faces.parquet` of a manifest: the key, box `x, y, w, h`, `score`, and landmarks in any columns.

    Raises:
        ManifestError: A column of the key is missing, or a key occurs twice.
    """
    path = faces_path(manifest)
    write_table(keyed(frame, str(path), "a file of faces").drop(columns="status"), path)

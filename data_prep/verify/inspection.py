"""Counts of a manifest: status, labels per AU, per subject, per fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns


def inspect(frame: pd.DataFrame) -> dict[str, Any]:
    """Count what a manifest holds.

    Args:
        frame: As `read_manifest` gives it.

    Returns:
        Plain JSON values: `rows`, `ok`, `status` (status -> rows), `datasets` (name -> rows), `aus` (AU -> `positives`, `negatives`,
        `unknown`, `positives_ok`), and lists `subjects` and `folds` of objects with `rows`, `ok`, `positives` (AU -> rows), and their
        names. Labels are counted in all rows, `positives_ok` in those whose picture can be used.
    """
    names = au_columns(frame)
    ok = (frame["status"] == "ok").to_numpy(bool)
    labels = frame[names].to_numpy(dtype=np.int8).reshape(len(frame), len(names))
    return {
        "rows": len(frame),
        "ok": int(ok.sum()),
        "status": {str(status): int(count) for status, count in frame["status"].value_counts().items()},
        "datasets": {str(name): int(count) for name, count in frame["dataset"].value_counts().items()},
        "aus": {
            name: {
                "positives": int((labels[:, i] == 1).sum()),
                "negatives": int((labels[:, i] == 0).sum()),
                "unknown": int((labels[:, i] < 0).sum()),
                "positives_ok": int((labels[ok, i] == 1).sum()),
            }
            for i, name in enumerate(names)
        },
        "subjects": _groups(frame, ["dataset", "subject"], labels, names, ok),
        "folds": _groups(frame, ["dataset", "fold"], labels, names, ok) if "fold" in frame.columns else [],
    }


def _groups(frame: pd.DataFrame, keys: list[str], labels: np.ndarray, names: list[str], ok: np.ndarray) -> list[dict[str, Any]]:
    """Counts of each group of rows; rows without a name in `keys` are left out."""
    table = pd.DataFrame(labels == 1, columns=names, index=frame.index)
    for key in keys:
        table[f"@{key}"] = frame[key]
    table["@rows"], table["@ok"], table["@person"] = 1, ok, frame["dataset"] + "/" + frame["subject"]
    grouped = table.groupby([f"@{key}" for key in keys], sort=True)
    sums = grouped[["@rows", "@ok", *names]].sum()
    people = grouped["@person"].nunique()
    found = []
    for index, row in sums.iterrows():
        values: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
        entry: dict[str, Any] = {key: str(value) for key, value in zip(keys, values, strict=True)}
        if "fold" in keys:
            entry["subjects"] = int(people[index])
        found.append({**entry, "rows": int(row["@rows"]), "ok": int(row["@ok"]), "positives": {name: int(row[name]) for name in names}})
    return found

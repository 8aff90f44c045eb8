"""Join the tables that the jobs of an array, or the processes of a cluster, wrote, one per source."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import read_predictions, side_path, write_predictions
from auformer.errors import ManifestError

_OWN = ("source", "source_mark", "counts", "problem", "settings")  # of the side files, what may differ between sources
NAME = "predictions"


def merge_tables(
    folder: Path, *, suffix: str = ".csv", overwrite: bool = False, only: Collection[str] | None = None
) -> tuple[Path, int, int, list[tuple[str, str]]]:
    """Write `predictions.csv` from the tables, one per source, that the jobs of an array or a cluster wrote to a folder.

    Args:
        folder: where the shards wrote to.
        suffix: `.csv` or `.parquet`, of the joined table.
        overwrite: replace a joined table that is there.
        only: file names of the tables to join; all by default.

    Returns:
        The joined table, how many sources it holds, how many there should be, and what was wrong with which.

    Raises:
        ValueError: there is no table of a shard, or the joined one is there already.
        ManifestError: the tables come from different checkpoints or settings.
    """
    path = folder / f"{NAME}{suffix}"
    taken = [one for one in (path, side_path(path)) if one.exists()]
    if taken and not overwrite:
        raise ValueError(f"Expected no joined table yet, but found {taken[0]}: move it away, or add --overwrite.")
    found = [one for ending in (".csv", ".parquet") for one in sorted(folder.glob(f"*{ending}"))]
    tables = [_read(one) for one in found if one.stem != NAME and (only is None or one.name in only)]
    tables = [table for table in tables if "num_sources" in table.attrs["side"]]
    if not tables:
        raise ValueError(f"Expected tables that `auformer predict --shard` wrote in {folder}, but found none.")
    sides = [table.attrs["side"] for table in tables]
    _check_alike(sides, [table.attrs["path"] for table in tables])
    problems = [(side["source"], side["problem"]) for side in sides if side.get("problem")]
    side = {key: value for key, value in sides[0].items() if key not in (*_OWN, "format_version")}
    settings = {key: value for key, value in sides[0]["settings"].items() if key != "shard"}
    counts = {"sources": len(tables), **{name: _sum(sides, name) for name in ("pictures", "points_source")}}
    for table in tables:
        table.attrs = {}
    joined = pd.concat(tables, ignore_index=True).sort_values(["subject", "frame", "face"], kind="stable", ignore_index=True)
    write_predictions(joined, path, {**side, "settings": settings, "counts": counts})
    return path, len(tables), side["num_sources"], problems


def _read(path: Path) -> pd.DataFrame:
    """A table with its side file; one that is no predictions file counts as none."""
    try:
        return read_predictions(path)
    except ManifestError:
        table = pd.DataFrame()
        table.attrs["side"] = {}
        return table


def _check_alike(sides: list[dict[str, Any]], paths: list[str]) -> None:
    """Refuse tables that were not made in one way.

    Raises:
        ManifestError: two differ in checkpoint, thresholds, crop recipe, settings or number of sources.
    """
    for side, path in zip(sides, paths, strict=True):
        for what in ("adapter", "thresholds", "faces", "num_sources", "settings"):
            mine, first = _comparable(side, what), _comparable(sides[0], what)
            if mine != first:
                raise ManifestError(
                    f"{path}: expected the same `{what}` as {paths[0]}, but got {mine} and {first}: all shards need the same command; "
                    "predict the odd ones again with --overwrite"
                )


def _comparable(side: dict[str, Any], what: str) -> Any:
    """An entry of a side file as it should be in all of them: settings without the number of the shard."""
    value = side.get(what)
    return {key: one for key, one in value.items() if key != "shard"} if what == "settings" and isinstance(value, dict) else value


def _sum(sides: list[dict[str, Any]], name: str) -> dict[str, int]:
    """Counts of one kind over all sources."""
    total: dict[str, int] = {}
    for side in sides:
        for key, value in side.get("counts", {}).get(name, {}).items():
            total[key] = total.get(key, 0) + value
    return total

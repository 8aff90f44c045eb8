"""A manifest counted and checked: status, labels per AU, subject and fold, images, folds, published counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns, read_manifest
from auformer.errors import ManifestError

from .faults import count_faults, fold_naming, people_in_two_folds, row_faults
from .images import check_images, image_problems
from .problem import Problem, named
from .published import Comparison, compare

FORMAT_VERSION = 1


def inspect(frame: pd.DataFrame) -> dict[str, Any]:
    """Count what a manifest holds.

    Returns:
        Plain JSON values: `rows`, `ok`, `status` (status -> rows), `datasets` (name -> rows), `aus` (AU -> `positives`,
        `negatives`, `unknown`, `positives_ok`), and lists `subjects` and `folds` of objects with `rows`, `ok`,
        `positives` (AU -> rows), and their names. Labels are counted in all rows, `positives_ok` in those whose image
        can be used.
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


def _groups(
    frame: pd.DataFrame, keys: list[str], labels: np.ndarray, names: list[str], ok: np.ndarray
) -> list[dict[str, Any]]:
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
        entry |= {"rows": int(row["@rows"]), "ok": int(row["@ok"])}
        found.append({**entry, "positives": {name: int(row[name]) for name in names}})
    return found


def verify(path: str | Path, *, images: bool = True, workers: int = 1, progress: bool = False) -> dict[str, Any]:
    """Read and check a manifest.

    Args:
        path: CSV or Parquet file.
        images: Open every image too.
        workers: Threads that do so.
        progress: Show a bar while they do.

    Returns:
        Plain JSON values, always with the keys `format_version`, `manifest` (the path), `correct` (nothing is wrong),
        `problems` and `notes` (lists of `kind`, `where`, `text`); where the file can be read as a manifest, also those
        of `check_manifest`.
    """
    report: dict[str, Any] = {"format_version": FORMAT_VERSION, "manifest": str(path), "correct": False}
    try:
        frame = read_manifest(path)
    except ManifestError as error:
        text = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ")
        return {**report, "problems": [Problem("contract", str(path), text).plain()], "notes": []}
    report.update(check_manifest(frame, Path(path).parent if images else None, workers=workers, progress=progress))
    report["correct"] = not report["problems"]
    return report


def check_manifest(
    frame: pd.DataFrame, folder: Path | None, *, workers: int = 1, progress: bool = False
) -> dict[str, Any]:
    """Check a manifest that is read; images are opened where `folder` says what they are relative to.

    Returns:
        Plain JSON values: the keys of `inspect`; `images`, None where they were not opened (`checked`, `missing`,
        `unreadable`, `sizes`, `duplicates`: groups of keys); `published`, an object per data set that counts are
        published of (`dataset`, `title`, `frames`, `clips`, `by`, `source`, `parts`: `name, subjects, expected,
        complete, frames, positives, published_frames, published_positives`, `totals`: `source, about, frames, clips`);
        `problems` and `notes`.
    """
    problems = list(_whole(frame))
    report: dict[str, Any] = {**inspect(frame), "images": None, "published": []}
    if folder is not None and "image" in frame.columns:
        found = check_images(frame, folder, workers=workers, progress=progress)
        problems += image_problems(frame, found)
        duplicates = [[_key(frame, row) for row in group] for group in found.duplicates]
        report["images"] = {**vars(found), "duplicates": duplicates}
    for dataset in sorted(frame["dataset"].unique()):
        rows = frame[frame["dataset"] == dataset]
        problems += fold_naming(rows, dataset)
        comparison = compare(rows, dataset)
        if comparison is not None:
            problems += _published(comparison, frame.attrs.get("side", {}))
            report["published"].append(_plain(comparison))
    report["problems"] = [problem.plain() for problem in problems if problem.wrong]
    report["notes"] = [problem.plain() for problem in problems if not problem.wrong]
    return report


def _whole(frame: pd.DataFrame) -> Iterator[Problem]:
    yield from people_in_two_folds(frame)
    if not (frame["status"] == "ok").any():
        text = "no row has the status `ok`, so nothing can be trained or scored on it"
        yield Problem("nothing_usable", "status", text)
    if "image" not in frame.columns:
        text = "there is no column `image`, so there are no images to check"
        yield Problem("no_images", "images", text, wrong=False)


def _published(found: Comparison, side: dict[str, Any]) -> Iterator[Problem]:
    lacking = [fold for fold in found.folds if not fold.complete]
    missing = [f"{fold.name} ({fold.subjects} of {fold.expected} subjects)" for fold in lacking]
    if missing:
        text = f"folds that are not whole are not compared: {named(missing)}"
        yield Problem("partial", found.dataset, text, wrong=False)
    if found.strangers:
        text = f"subjects of no published fold: {named(found.strangers)}"
        yield Problem("unknown_subjects", found.dataset, text, wrong=False)
    if found.folds and not found.au_names:
        text = "none of the AUs whose counts are published has a column"
        yield Problem("no_common_aus", found.dataset, text, wrong=False)
    problems, explained = row_faults(found, side)
    yield from problems
    yield from count_faults(found, explained)
    if not found.folds:
        yield from _totals(found)


def _totals(found: Comparison) -> Iterator[Problem]:
    """Data sets with published totals only: noted, never wrong, since sources choose frames or clips in their ways."""
    totals = found.published.totals
    pairs = [(total, total.frames, found.frames, "frames") for total in totals if total.frames is not None]
    pairs += [(total, total.clips, found.clips, "clips") for total in totals if total.clips is not None]
    if any(there == here for _, there, here, _ in pairs):
        return
    shown = "; ".join(
        f"{total.source} has {there:,} {unit} ({total.about}), here are {here:,}" for total, there, here, unit in pairs
    )
    yield Problem("total", found.dataset, f"another total than published: {shown}", wrong=False)


def _plain(found: Comparison) -> dict[str, Any]:
    return {
        "dataset": found.dataset,
        "title": found.published.title,
        "frames": found.frames,
        "clips": found.clips,
        "by": found.by,
        "source": found.published.folds_source,
        "parts": [{**vars(fold), "complete": fold.complete} for fold in found.folds],
        "totals": [vars(total) for total in found.published.totals],
    }


def _key(frame: pd.DataFrame, row: int) -> dict[str, Any]:
    values = frame.iloc[row]
    text = {name: values[name] for name in ("dataset", "subject", "sequence")}
    return {**text, "frame": int(values["frame"]), "face": int(values["face"])}

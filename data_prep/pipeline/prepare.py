"""From an official release to aligned crops and a manifest: what `auformer prepare` does, for every data set alike.

    OUT/crops/<subject>/<sequence>/<frame>.jpg
    OUT/manifest.csv (or .parquet)     one row per labelled frame; rows without a crop keep their labels and say why
    OUT/manifest.json                  recipe, detector, options, label rates, corrections, everything that was found on the way
    OUT/manifest.faces.parquet         box, points and score of every crop, in pixels of its source picture

The files are a function of the release and the options, to the byte on one machine, whatever the number of workers and however often the
work was interrupted.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from auformer.data.manifest import read_manifest, validate_manifest, write_faces, write_manifest
from auformer.faces import Detector, crop_geometry, make_detector

from ..datasets.catalogue import Reader, load
from ..formats.folds import with_folds
from ..release import Findings, Release
from .crops import NUMBERS, QUALITY, Settings
from .folder import LABELS, OutFolder, keep_apart
from .summary import checked, first_with_picture, note_problems, recorded_findings, side_file, to_manifest
from .units import Row, Unit, cut_units, make_rows
from .workers import do_units

BORDERS = ("reflect", "constant")
SIZES = (32, 1024)  # smallest and largest side of a crop, as of the renderer [ours]


@dataclass(frozen=True)
class Prepared:
    """What came of a preparation.

    Args:
        release: of the data set.
        table: the manifest; of a dry run as it would be if every picture showed a face.
        findings: what the reader and the pipeline came across.
        manifest: where it was written; None of a dry run.
        made: rows that were worked on in this run, 0 if all was there.
    """

    release: Release
    table: pd.DataFrame
    findings: Findings
    manifest: Path | None
    made: int


def prepare(
    name: str,
    root: str | Path,
    out: str | Path | None,
    *,
    workers: int = 1,
    limit: int | None = None,
    dry_run: bool = False,
    detector: str = "cascade",
    recipe: str = "eyes",
    size: int = 224,
    border: str = "reflect",
    partial: bool = False,
    parquet: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Prepared:
    """Prepare a data set, or go on with it, or find that it is there already.

    Args:
        name: of the data set, see `auformer.data_prep.datasets.catalogue`.
        root: folder of its release, never written to.
        out: folder of the result; may be None in a dry run.
        workers: processes; more than one need the entry guard of `multiprocessing` in scripts.
        limit: only the first rows that have a picture, that many.
        dry_run: read the labels only; no picture is opened, nothing is written, and missing files do not stop it.
        detector: as `auformer.faces.make_detector` takes it.
        recipe: a key of `auformer.faces.CROP_RECIPES`.
        size: side of the crops in pixels, 32 to 1,024.
        border: what lies outside a picture: "reflect" or "constant".
        partial: go on if files of the release are missing.
        parquet: write `manifest.parquet` in place of `manifest.csv`.
        options: the data set's own options by name.
        progress: whether a bar is shown on the error stream.

    Raises:
        DatasetLayoutError: The release does not look as expected, or the output folder holds something else.
        ManifestError: The labels break the contract of manifests.
        ValueError: An argument is out of range.
        OSError: The result cannot be written.
    """
    _check(workers, recipe, size, border)
    if out is not None and not dry_run:
        keep_apart(Path(root), Path(out))
    labels = _read_labels(name, Path(root), options or {}, limit)
    if out is None or dry_run:
        return Prepared(labels.release, labels.manifest, labels.findings, None, 0)
    labels.findings.require_complete(partial)
    settings = Settings(str(root), str(out), recipe, size, border)
    return _fill(labels, settings, make_detector(detector, largest=True), workers, parquet, progress)


def _check(workers: int, recipe: str, size: int, border: str) -> None:
    """Refuse arguments that are out of range before anything is read."""
    if workers < 1:
        raise ValueError(f"Expected `--workers` to be at least 1, but got {workers}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"Expected `--size` to be {SIZES[0]} to {SIZES[1]} pixels, but got {size}")
    if border not in BORDERS:
        raise ValueError(f"Expected `--border` to be one of {', '.join(BORDERS)}, but got {border!r}")
    crop_geometry(recipe)


@dataclass(frozen=True)
class _Labels:
    """What a reader gave: its table, the rows of work, the manifest as it would be, findings; and what they depend on."""

    release: Release
    table: pd.DataFrame
    rows: list[Row]
    manifest: pd.DataFrame
    findings: Findings
    depends: dict[str, Any]


def _read_labels(name: str, root: Path, options: Mapping[str, Any], limit: int | None) -> _Labels:
    """Read the labels of a release and lay the work out."""
    reader, findings = load(name), Findings()
    release, own = reader.RELEASE, _own(reader, options)
    table = checked(reader.read(root, findings, **own), name, str(root))
    if release.per_clip and "fold" not in table.columns:
        table = with_folds(table, name)
    table = first_with_picture(table, limit)
    rows = make_rows(table, per_clip=release.per_clip)
    return _Labels(
        release,
        table,
        rows,
        _manifest(table, name, rows, [row.status for row in rows]),
        findings,
        {"limit": limit, **own},
    )


def _fill(
    labels: _Labels, settings: Settings, finder: Detector, workers: int, parquet: bool, progress: bool
) -> Prepared:
    """Fill the output folder, or find it full."""
    name, folder = labels.release.name, OutFolder(Path(settings.out), parquet=parquet)
    record = _record(labels, settings, finder, parquet)
    folder.claim(record)
    if folder.is_complete():
        folder.finish()
        there = read_manifest(folder.manifest)
        return Prepared(labels.release, there, recorded_findings(there.attrs["side"]), folder.manifest, 0)
    units = cut_units(labels.rows, labels.table)
    made = _work(folder, units, settings, finder, workers, f"preparing {name}" if progress else "")
    results = folder.collect(units)
    note_problems(labels.findings, labels.rows, results)
    manifest = _manifest(labels.table, name, labels.rows, results["status"].tolist())
    faces = _faces(manifest, results)
    if len(faces):
        write_faces(faces, folder.manifest)
    write_manifest(manifest, folder.manifest, side_file(labels.release, manifest, labels.findings, record, results))
    folder.finish()
    return Prepared(labels.release, manifest, labels.findings, folder.manifest, made)


def own_options(reader: Reader) -> dict[str, Any]:
    """The options that a reader takes, with their defaults: the keyword-only arguments of its `read`."""
    return {
        name: each.default
        for name, each in inspect.signature(reader.read).parameters.items()
        if each.kind is each.KEYWORD_ONLY
    }


def _own(reader: Reader, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a reader, the missing ones filled in."""
    known = own_options(reader)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"Expected options of {reader.RELEASE.name} ({', '.join(known) or 'it has none'}), but got {unknown[0]}"
        )
    return {**known, **options}


def _manifest(table: pd.DataFrame, name: str, rows: list[Row], status: list[str]) -> pd.DataFrame:
    """The manifest with the status of each row, validated."""
    manifest = to_manifest(table, name, [row.file for row in rows], [row.image for row in rows], status)
    return validate_manifest(manifest, f"labels of {name}")


def _record(labels: _Labels, settings: Settings, finder: Detector, parquet: bool) -> dict[str, Any]:
    """Everything that the files depend on. The folders do not belong to it: they may move."""
    how = {key: value for key, value in asdict(settings).items() if key not in ("root", "out")}
    content = hashlib.sha256(labels.table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()
    own = {
        key: Path(text).name if isinstance(text, str) and Path(text).is_absolute() else text
        for key, text in labels.depends.items()
    }
    found = {"detector": finder.name, "detector_version": finder.version}
    return {
        "dataset": labels.release.name,
        **found,
        **how,
        "quality": QUALITY,
        "parquet": parquet,
        **own,
        LABELS: content,
    }


def _work(folder: OutFolder, units: list[Unit], settings: Settings, finder: Detector, workers: int, title: str) -> int:
    """Do the units that are missing; how many rows that were."""
    missing = folder.missing(units)
    total, left = (sum(len(unit.rows) for unit in each) for each in (units, missing))
    with (
        tqdm(total=total, initial=total - left, desc=title, unit="frame", disable=not title) as bar,
        closing(do_units(missing, settings, finder, workers, bar.update)) as done,
    ):
        for unit, results in done:
            folder.keep(unit, results)
    return left


def _faces(manifest: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Box, points and score of every crop, by key."""
    ok = (manifest["status"] == "ok").to_numpy(bool)
    key = manifest.loc[ok, ["dataset", "subject", "sequence", "frame", "face"]].reset_index(drop=True)
    found = results.loc[ok, [*NUMBERS, "points_source", "points_frame", "faces_found"]].reset_index(drop=True)
    return pd.concat([key, found], axis=1)

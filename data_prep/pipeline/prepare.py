"""From an official release to aligned crops and a manifest: what `auformer prepare` does, for every data set alike.

    OUT/crops/<subject>/<sequence>/<frame>.jpg OUT/manifest.csv (or .parquet)     one row per labelled frame; rows
    without a crop keep their labels and say why OUT/manifest.json                  recipe, face detector, options,
    label rates, corrections, everything that was found on the way OUT/manifest.faces.parquet         box, landmarks and
    score of every crop, in pixels of its source image

The files are a function of the release and the options, to the byte on one machine, whatever the number of workers and
however often the work was interrupted: units of rows that are done leave a table each in `OUT/.prepare/`, the manifest
is written last of all files, and `.prepare/` goes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial as bind
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from auformer.data.manifest import (
    faces_path,
    read_manifest,
    sidecar_path,
    validate_manifest,
    write_faces,
    write_manifest,
)
from auformer.data.table_file import read_sidecar, read_table, write_table
from auformer.errors import DatasetLayoutError, ManifestError
from auformer.faces import Detector, crop_geometry, make_detector
from auformer.files import digest
from auformer.pool import run_tasks
from auformer.workspace import Workspace, differences, plain

from ..datasets.catalogue import Reader, load
from ..formats.folds import with_folds
from ..release import Findings, Release
from .crops import NUMBERS, QUALITY, Settings, cut_unit
from .summary import RECORD, checked, first_with_image, note_problems, recorded_findings, sidecar, to_manifest
from .units import CROPS, Row, Unit, cut_units, make_rows

BORDERS = ("reflect", "constant")
SIZES = (32, 1024)  # smallest and largest side of a crop, as of the renderer [ours]
LABELS = "labels_sha256"  # in the record, digest of the reader's table
_STATE = ".prepare"
_OWNED = ("manifest.csv", "manifest.parquet", "manifest.json", "manifest.faces.parquet", CROPS)
_TABLE = "rows.parquet"  # of a unit that is done


@dataclass(frozen=True)
class Prepared:
    """What came of a preparation.

    Args:
        release: The data set.
        table: The manifest; of a dry run as it would be if every image showed a face.
        findings: What the reader and the pipeline came across.
        manifest: Where it was written; None of a dry run.
        made: Rows that were worked on in this run, 0 if all was there.
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
    """Prepare a data set, resume an interrupted run, or find that all is there already.

    Args:
        name: The data set, see `auformer.data_prep.datasets.catalogue`.
        root: Folder of its release, never written to.
        out: Folder of the result; may be None in a dry run.
        workers: Processes; more than one need the entry guard of `multiprocessing` in scripts.
        limit: Only the first rows that have an image, that many.
        dry_run: Read the labels only; no image is opened, nothing is written, and missing files do not stop it.
        detector: As `auformer.faces.make_detector` takes it.
        recipe: A key of `auformer.faces.CROP_RECIPES`.
        size: Side of the crops in pixels, 32 to 1,024.
        border: What lies outside an image: "reflect" or "constant".
        partial: Continue if files of the release are missing.
        parquet: Write `manifest.parquet` in place of `manifest.csv`.
        options: The data set's own options by name.
        progress: Whether a bar is shown on the error stream.

    Raises:
        DatasetLayoutError: The release does not look as expected, or the output folder holds something else.
        ManifestError: The labels break the contract of manifests.
        ValueError: An argument is out of range.
        OSError: The result cannot be written.
    """
    if workers < 1:
        raise ValueError(f"Expected `--workers` to be at least 1, but got {workers}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"Expected `--size` to be {SIZES[0]} to {SIZES[1]} pixels, but got {size}")
    if border not in BORDERS:
        raise ValueError(f"Expected `--border` to be one of {', '.join(BORDERS)}, but got {border!r}")
    crop_geometry(recipe)
    if out is not None and not dry_run:
        _keep_apart(Path(root), Path(out))
    labels = _read_labels(name, Path(root), options or {}, limit)
    if out is None or dry_run:
        return Prepared(labels.release, labels.manifest, labels.findings, None, 0)
    labels.findings.require_complete(partial)
    settings = Settings(str(root), str(out), recipe, size, border)
    return _fill(labels, settings, make_detector(detector, largest=True), workers, parquet, progress)


def own_options(reader: Reader) -> dict[str, Any]:
    """The options that a reader takes, with their defaults: the keyword-only arguments of its `read`."""
    arguments = inspect.signature(reader.read).parameters.items()
    return {name: each.default for name, each in arguments if each.kind is each.KEYWORD_ONLY}


def _keep_apart(root: Path, out: Path) -> None:
    root, out = root.resolve(), out.resolve()
    if out == root or root in out.parents:
        raise DatasetLayoutError(f"Expected `--out` to lie outside `--root`, which is never written to, but got {out}")
    for ours in (out / CROPS, out / _STATE):
        if root == ours or ours in root.parents:
            raise DatasetLayoutError(
                f"Expected `--root` to lie outside {ours}, where crops are written; choose another `--out`"
            )


@dataclass(frozen=True)
class _Labels:
    """What a reader gave: its table, the rows of work, the manifest as it would be, findings; and its own options."""

    release: Release
    table: pd.DataFrame
    rows: list[Row]
    manifest: pd.DataFrame
    findings: Findings
    options: dict[str, Any]


def _read_labels(name: str, root: Path, options: Mapping[str, Any], limit: int | None) -> _Labels:
    reader, findings = load(name), Findings()
    release, known = reader.RELEASE, own_options(reader)
    if unknown := sorted(set(options) - set(known)):
        held = ", ".join(known) or "it has none"
        raise ValueError(f"Expected options of {release.name} ({held}), but got {unknown[0]}")
    own = {**known, **options}
    table = checked(reader.read(root, findings, **own), name, str(root))
    if release.per_clip and "fold" not in table.columns:
        table = with_folds(table, name)
    table = first_with_image(table, limit)
    rows = make_rows(table, per_clip=release.per_clip)
    manifest = _manifest(table, name, rows, [row.status for row in rows])
    return _Labels(release, table, rows, manifest, findings, {"limit": limit, **own})


def _manifest(table: pd.DataFrame, name: str, rows: list[Row], status: list[str]) -> pd.DataFrame:
    return validate_manifest(to_manifest(table, name, rows, status), f"labels of {name}")


def _fill(
    labels: _Labels, settings: Settings, finder: Detector, workers: int, parquet: bool, progress: bool
) -> Prepared:
    release, out = labels.release, Path(settings.out)
    path = out / f"manifest.{'parquet' if parquet else 'csv'}"
    record = _record(labels, settings, finder, parquet)
    folder = _claim(out, path, record)
    if _is_complete(path):
        _finish(folder, path)
        there = read_manifest(path)
        return Prepared(release, there, recorded_findings(there.attrs["side"]), path, 0)
    units = cut_units(labels.rows, labels.table)
    made = _work(folder, units, settings, finder, workers, f"preparing {release.name}" if progress else "")
    tables = [_kept(folder, unit) for unit in units]
    results = pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)
    note_problems(labels.findings, labels.rows, results)
    manifest = _manifest(labels.table, release.name, labels.rows, results["status"].tolist())
    faces = _faces(manifest, results)
    if len(faces):
        write_faces(faces, path)
    write_manifest(manifest, path, sidecar(release, manifest, labels.findings, record, results))
    _finish(folder, path)
    return Prepared(release, manifest, labels.findings, path, made)


def _record(labels: _Labels, settings: Settings, finder: Detector, parquet: bool) -> dict[str, Any]:
    """Everything that the files depend on, as plain JSON values. The folders do not belong to it: they may move."""
    how = {key: value for key, value in asdict(settings).items() if key not in ("root", "out")}
    own = {
        key: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
        for key, value in labels.options.items()
    }
    found = {"dataset": labels.release.name, "detector": finder.name, "detector_version": finder.version}
    content = digest(labels.table.to_csv(index=False, lineterminator="\n"))
    return dict(plain({**found, **how, "quality": QUALITY, "parquet": parquet, **own, LABELS: content}))


def _claim(out: Path, manifest: Path, record: dict[str, Any]) -> Workspace:
    folder = Workspace(
        out, kind="`auformer prepare`", owned=_OWNED, state=_STATE, record=f"{_STATE}/options.json",
        error=DatasetLayoutError,
    )  # fmt: skip
    finished = read_sidecar(manifest).get(RECORD) if sidecar_path(manifest).is_file() else None
    begun = folder.recorded() or finished
    if begun and differences(begun, record) and not differences(begun, record, free=(LABELS,)):
        raise DatasetLayoutError(
            "Expected `--out` to be a new folder or one with the same labels, but the labels or files of the release "
            f"have changed since {out} was filled. Choose another folder, or delete this one"
        )
    folder.claim(record, finished=finished, free=(LABELS,))
    return folder


def _is_complete(manifest: Path) -> bool:
    if not manifest.is_file():
        return False
    try:
        images = read_table(manifest)["image"].dropna()
    except (ManifestError, KeyError):  # damaged since: it is written again
        return False
    return all((manifest.parent / image).is_file() for image in images if image)


def _finish(folder: Workspace, manifest: Path) -> None:
    """Remove what was only needed to resume, and temporary files of killed runs."""
    folder.finish()
    for path in (manifest, sidecar_path(manifest), faces_path(manifest)):
        for temporary in path.parent.glob(f".{path.stem}.*{path.suffix}"):
            temporary.unlink(missing_ok=True)


def _name(unit: Unit) -> str:
    return f"{unit.number:06d}"


def _keep(folder: Workspace, unit: Unit, results: pd.DataFrame) -> None:
    folder.keep(_name(unit), lambda path: write_table(results, path / _TABLE))


def _kept(folder: Workspace, unit: Unit) -> pd.DataFrame:
    return pd.read_parquet(folder.state / _name(unit) / _TABLE)


def _is_done(folder: Workspace, unit: Unit) -> bool:
    if folder.kept(_name(unit)) is None:
        return False
    ok = set(_kept(folder, unit).query("status == 'ok'")["row"])
    return all((folder.path / row.image).is_file() for row in unit.rows if row.number in ok)


def _work(
    folder: Workspace, units: Sequence[Unit], settings: Settings, finder: Detector, workers: int, title: str
) -> int:
    """Do the units that are missing, the longest first; how many rows that were."""
    missing = sorted((unit for unit in units if not _is_done(folder, unit)), key=lambda unit: -len(unit.rows))
    total, left = (sum(len(unit.rows) for unit in each) for each in (units, missing))
    cut = bind(cut_unit, settings=settings, detector=finder)
    with (
        tqdm(total=total, initial=total - left, desc=title, unit="frame", disable=not title) as bar,
        closing(run_tasks(cut, missing, workers, threads=1, on_tick=bar.update)) as done,
    ):
        for unit, results in done:
            _keep(folder, unit, results)
    return left


def _faces(manifest: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    ok = (manifest["status"] == "ok").to_numpy(bool)
    key = manifest.loc[ok, ["dataset", "subject", "sequence", "frame", "face"]].reset_index(drop=True)
    found = results.loc[ok, [*NUMBERS, "points_source", "points_frame", "faces_found"]].reset_index(drop=True)
    return pd.concat([key, found], axis=1)

"""A reader's table on its way to a manifest, and what a preparation says of itself."""

from __future__ import annotations

from typing import Any

import pandas as pd

from auformer import __version__
from auformer.data.manifest import au_columns
from auformer.data.schema import THRESHOLD, aus_with
from auformer.errors import DatasetLayoutError

from ..release import SOURCE, SOURCE_FRAME, SOURCE_MEMBER, Findings, Release
from .units import Row

RECORD = "prepared_with"  # key of the sidecar
_KEY = ["subject", "sequence", "frame"]
_KINDS = {"no_face": "no face found", "unreadable": "unreadable", "no_image": "labels without an image"}


def checked(table: pd.DataFrame, name: str, root: str) -> pd.DataFrame:
    """A reader's table with a fresh index, `subject`, `sequence`, `clip` as text, and `status` filled in."""
    if not len(table):
        raise DatasetLayoutError(
            f"Expected labels of {name} in {root}, but found not one row; `auformer prepare --list` shows the tree"
        )
    table = table.reset_index(drop=True)
    if "status" not in table.columns:
        table["status"] = "ok"
    if SOURCE not in table.columns:
        table[SOURCE] = ""
    for column in [column for column in ("subject", "sequence", "clip") if column in table.columns]:
        table[column] = table[column].astype(object).where(table[column].isna(), table[column].astype(str))
    twice = table.duplicated(_KEY)
    if twice.any():
        key = ", ".join(f"{column} {value}" for column, value in table.loc[twice.idxmax(), _KEY].items())
        raise DatasetLayoutError(
            f"Expected one row per frame in {root}, but {key} has {1 + int(twice.sum())} or fewer; correct the labels"
        )
    return table


def first_with_image(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The first rows that have an image; all rows where there is no limit."""
    if limit is None:
        return table
    if limit < 1:
        raise ValueError(f"Expected `--limit` to be at least 1, but got {limit}")
    has = (table["status"] == "ok") & table[SOURCE].astype(object).notna() & (table[SOURCE] != "")
    return table[has].head(limit).reset_index(drop=True)


def to_manifest(table: pd.DataFrame, name: str, rows: list[Row], status: list[str]) -> pd.DataFrame:
    """The manifest of a checked table; rows whose `status` is not `ok` get no image."""
    first = {"dataset": name, **{column: table[column] for column in _KEY}, "face": 0}
    first["image"] = [row.image if each == "ok" else None for row, each in zip(rows, status, strict=True)]
    first |= {"status": status, "file": [row.file for row in rows]}
    taken = (*first, SOURCE, SOURCE_FRAME, SOURCE_MEMBER)
    rest = table.drop(columns=[column for column in taken if column in table.columns])
    return pd.concat([pd.DataFrame(first, index=table.index), rest], axis=1)


def label_rates(manifest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per AU: rows labelled present, rows with a label, and the share.

    >>> label_rates(pd.DataFrame({"AU12": [1, 0, -1, 0]}))
    {'AU12': {'positives': 1, 'known': 3, 'measured': 0.3333}}
    """
    rates = {}
    for au in au_columns(manifest):
        positives, known = int((manifest[au] == 1).sum()), int(manifest[au].isin([0, 1]).sum())
        rates[au] = {"positives": positives, "known": known, "measured": round(positives / known, 4) if known else None}
    return rates


def intensities(release: Release, manifest: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """What the sidecar says of intensities: what they are, rows coded per AU, and from where on an AU is present."""
    coded = {au: int(manifest[f"{au}_intensity"].notna().sum()) for au in aus_with(manifest.columns, "intensity")}
    if not coded:
        return {}
    threshold = record.get("threshold")
    known = {} if threshold is None else {THRESHOLD: round(release.levels * float(threshold), 6)}
    return {"intensity": release.intensity, "intensity_coded": coded, **known}


def note_problems(findings: Findings, rows: list[Row], results: pd.DataFrame) -> None:
    """Add what went wrong with images to the findings, one note per folder, video or archive."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, status, message in zip(rows, results["status"], results["message"], strict=True):
        if status != "ok" and row.status == "ok":
            alone = row.position is None and row.member is None
            where = (row.source.rpartition("/")[0] or ".") if alone else row.source
            groups.setdefault((_KINDS.get(status, status), where, message), []).append(row.frame)
    for (kind, where, message), frames in groups.items():
        span = f"frame {frames[0]}" if len(frames) == 1 else f"{len(frames):,} frames, {min(frames)} to {max(frames)}"
        findings.note(kind, where, f"{span}: {message}" if message else span)
    for row, seen in zip(rows, results["points_frame"], strict=True):
        if row.onset is not None and row.frame == row.onset and seen != row.frame:
            text = f"no face in frame {row.onset}, taken from {seen}"
            findings.note("clips cropped by a later frame than the onset", row.file, text)


def sidecar(
    release: Release, manifest: pd.DataFrame, findings: Findings, record: dict[str, Any], results: pd.DataFrame
) -> dict[str, Any]:
    """What the manifest's sidecar says; it names no folder of this machine."""
    size, found = record["size"], findings.summary()
    return {
        "dataset": release.name,
        "title": release.title,
        "terms": release.terms,
        "layout": release.source,
        "frames": release.frames,
        "auformer_version": __version__,
        "crop_recipe": record["recipe"],
        "image_size": [size, size],
        "border": record["border"],
        "transform": "one per clip, from its onset frame" if release.per_clip else "one per frame",
        "detector": {"name": record["detector"], "version": record["detector_version"]},
        "points_sources": _counted(results["points_source"][results["status"] == "ok"]),
        "rows": len(manifest),
        "subjects": int(manifest["subject"].nunique()),
        "sequences": len(manifest[["subject", "sequence"]].drop_duplicates()),
        "status": _counted(manifest["status"]),
        "rows_with_several_faces": int((results["faces_found"] > 1).sum()),
        "limit": record["limit"],
        "label_rates": label_rates(manifest),
        **intensities(release, manifest, record),
        "corrected": found.pop("corrections"),
        "findings": found,
        "doubts": release.doubts,
        RECORD: record,
    }


def recorded_findings(side: dict[str, Any]) -> Findings:
    """The findings that a sidecar holds."""
    return Findings.from_summary({**side.get("findings", {}), "corrections": side.get("corrected", [])})


def _counted(column: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in sorted(column.value_counts().items())}


def table_lines(manifest: pd.DataFrame) -> list[str]:
    """Rows, subjects, sequences, status, and a line for each AU; scripts read these."""
    sequences = len(manifest[["subject", "sequence"]].drop_duplicates())
    lines = [f"{len(manifest):,} rows of {manifest['subject'].nunique():,} subjects in {sequences:,} sequences"]
    status = _counted(manifest["status"])
    if set(status) != {"ok"}:
        ok = status.pop("ok", 0)
        lines.append(f"{ok:,} with an image, " + ", ".join(f"{count:,} {name}" for name, count in status.items()))
    rates = label_rates(manifest)
    if rates:
        lines += ["", f"{'AU':<6}{'positives':>10}{'labelled':>10}{'rate':>8}"]
    for au, rate in rates.items():
        share = f"{rate['measured']:.3f}" if rate["known"] else "-"
        lines.append(f"{au:<6}{rate['positives']:>10,}{rate['known']:>10,}{share:>8}")
    if strengths := aus_with(manifest.columns, "intensity"):
        lines += ["", f"intensity of 0 to 5: {', '.join(strengths)}"]
    return lines


def release_lines(release: Release) -> list[str]:
    """What a data set needs, for `auformer prepare --list`."""
    lines = [f"{release.name}: {release.title}", f"  request   {release.request}", f"  terms     {release.terms}"]
    lines += [f"  AUs       {' '.join(release.au_names) or 'those of the table'}", "  tree"]
    lines += [f"    {line}" for line in release.tree.strip().splitlines()]
    return lines + ([f"  unsure    {release.doubts}"] if release.doubts else [])

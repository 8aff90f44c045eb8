"""From a predictions file to the files of other programs: find out what would be written, then write it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.annotations.job import Item, Job, Writer
from auformer.annotations.media import find_media
from auformer.annotations.videos import Collected, collect
from auformer.files import atomic_path, check_writable

#: Word of the command -> module of this room with `files(job)`.
FORMATS = {
    "elan": "elan", "praat": "praat", "bids": "bids", "mne": "mne_file", "boris": "boris",
    "csv-episodes": "csv_episodes",
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        files: The files.
        videos: How many videos are in them.
        people: How many people, counted in each video.
        rows_without_times: Rows that were left out because they have no time, as of photographs.
        sources_without_times: Of how many sources they are.
        notes: What there is to say about single videos.
    """

    files: list[Path]
    videos: int
    people: int
    rows_without_times: int
    sources_without_times: int
    notes: list[str]


def export_annotations(
    table: pd.DataFrame,
    out: str | Path,
    to: str,
    *,
    offset_s: float = 0.0,
    continuous: bool = False,
    text: bool = False,
    overwrite: bool = False,
    media: Mapping[str, Path] | None = None,
) -> Exported:
    """Write the episodes of a predictions file for another program.

    Args:
        table: As `auformer.predict.read_predictions` gives it.
        out: A folder, made if absent.
        to: A key of `FORMATS`.
        offset_s: Seconds that are added to every time: where the video begins on the time line of another recording.
        continuous: BIDS only: values per frame in place of episodes.
        text: MNE only: its text form in place of FIF.
        overwrite: Replace files of the same names.
        media: Where videos are, by the `file` that the table says; no other place is then looked at, and they are
            linked as if they lay in `out`. By default they are looked for as given, and beside the table.

    Raises:
        ManifestError: The table cannot be read as videos.
        MissingExtraError: A package that the format needs is not installed.
        ValueError: An argument is out of range or for another format, there is nothing to write, or a file exists.
        OSError: The folder cannot be written.
    """
    if to not in FORMATS:
        raise ValueError(f"Expected `to` to be one of {', '.join(FORMATS)}, but got {to!r}")
    for value, option, format_ in ((continuous, "--continuous", "bids"), (text, "--text", "mne")):
        if value and to != format_:
            raise ValueError(f"Expected {option} with --to {format_} only, but got --to {to}")
    if not abs(offset_s) < 1e7:
        raise ValueError(f"Expected --offset to be seconds, but got {offset_s}")
    out, path = Path(out), Path(str(table.attrs["path"])) if "path" in table.attrs else None
    collected, note = collect(table), _note(table)
    del table  # that of an hour of video is large, and the videos hold what is needed
    items, notes = _items(collected, path, media)
    job = Job(items, out, offset_s, _date(path), note, continuous, text)
    writers: dict[str, Writer] = importlib.import_module(f"auformer.annotations.{FORMATS[to]}").files(job)
    _check(writers, out, overwrite)
    for name, write in writers.items():
        with atomic_path(out / name) as temporary:
            said = write(temporary)
        notes += [said] if said else []
    people = sum(len(item.video.people) for item in items)
    files = [out / name for name in writers]
    return Exported(files, len(items), people, collected.rows_without_times, collected.sources_without_times, notes)


def _items(
    collected: Collected, path: Path | None, given: Mapping[str, Path] | None
) -> tuple[tuple[Item, ...], list[str]]:
    """Videos in which somebody is seen, and notes on the others and on files that were not found."""
    where = path or "the table"
    if not collected.videos:
        raise ValueError(
            f"Expected rows with a time, but {where} has none in its {collected.rows_without_times:,} rows: "
            "photographs and numbered images have no time line. For their statistics: auformer summarise"
        )
    items, notes = [], []
    for video in collected.videos:
        media = find_media(video, None if path is None else path.parent, given)
        if not video.people:
            notes.append(f"{media.name or video.key[2]}: no face was seen, no file is written")
            continue
        if media.name and media.path is None:
            notes.append(f"{media.name}: the video was not found; put it beside the files written here")
        if media.delay_s:
            notes.append(
                f"{media.name}: its first frame comes {media.delay_s:g} s after its sound; ELAN, Praat and BORIS get "
                "the times of a player, the others those of the predictions"
            )
        items.append(Item(video, media))
    if not items:
        raise ValueError(f"Expected a face in some video, but {where} has none: there is nothing to write")
    return tuple(items), notes


def _check(writers: dict[str, Writer], out: Path, overwrite: bool) -> None:
    """Find out before the first file is written whether all of them can be."""
    taken = [name for name in writers if (out / name).exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - 1:,} more" if len(taken) > 1 else ""
        raise ValueError(
            f"Expected --out to hold no such files yet, but found {out / taken[0]}{more}: choose another folder, or "
            "add --overwrite"
        )
    check_writable(out)


def _date(path: Path | None) -> str:
    """When the predictions file was written, so that the same predictions give the same files."""
    seconds = int(path.stat().st_mtime) if path is not None and path.is_file() else 0
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def _note(table: pd.DataFrame) -> str:
    """Where the annotations come from."""
    side: dict[str, Any] = table.attrs.get("side") or {}
    kind = table.attrs.get("format", "native")
    if kind == "manifest":
        return "The labels of a manifest."
    made = {"openface": "Predicted by OpenFace", "pyfeat": "Predicted by Py-Feat"}.get(kind, "Predicted by auformer")
    adapter = side.get("adapter")
    if kind == "native" and isinstance(adapter, dict):  # its name and digest, no folder of this machine
        made += f" {side.get('package_version', '')} with {adapter.get('file')} (SHA-256 {adapter.get('sha256')})"
    return f"{made}, not coded by a person: active where the probability reaches the decision threshold."

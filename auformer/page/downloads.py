"""Downloads: what the commands write, by their own functions, so that the bytes are the same."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from auformer.annotations.export import export_annotations
from auformer.annotations.summary import cooccurrence, summarise
from auformer.data.manifest import write_predictions
from auformer.data.table_file import sidecar_path, write_table
from auformer.page.results import Result
from auformer.predict.outputs import Plan
from auformer.predict.sources import Source, unique_stems

_DATE = (1980, 1, 1, 0, 0, 0)  # of files in an archive: the earliest that the format has
Write = Callable[[Result, pd.DataFrame, Path], None]


class Format(NamedTuple):
    """A download.

    Args:
        label: What the page calls it.
        command: The command that writes the same.
        write: Fills an empty folder from a result and its table.
        native: Only of predictions in our own columns.
    """

    label: str
    command: str
    write: Write
    native: bool = False


def _predictions(result: Result, table: pd.DataFrame, folder: Path) -> None:
    """The file itself with its sidecar, or one that follows other thresholds."""
    if table is not result.table:
        write_predictions(table, folder / result.path.name, table.attrs["side"])
        return
    for path in (result.path, sidecar_path(result.path)):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)


def _annotations(
    result: Result, table: pd.DataFrame, folder: Path, *, to: str, continuous: bool = False, text: bool = False
) -> None:
    export_annotations(table, folder, to, continuous=continuous, text=text, media=result.media)


def _summary(result: Result, table: pd.DataFrame, folder: Path) -> None:
    write_table(summarise(table), folder / "summary.csv")


def _pairs(result: Result, table: pd.DataFrame, folder: Path) -> None:
    write_table(cooccurrence(table), folder / "pairs.csv")


def _other_tool(result: Result, table: pd.DataFrame, folder: Path, *, kind: str) -> None:
    """A table per source in the columns of OpenFace or Py-Feat."""
    sources = [
        Source(
            video.file or video.key[2], video.key[2], "photo" if not video.timed and len(video.times) == 1 else "video"
        )
        for video in result.videos
    ]
    names = dict(zip([source.name for source in sources], unique_stems(sources), strict=True))
    plan = Plan(folder, names, kind=kind)
    side = {"au_names": [], **table.attrs.get("side", {})}
    for source, video in zip(sources, result.videos, strict=True):
        facts = result.media_facts(video) or {}
        size = (facts["height"], facts["width"]) if facts.get("width") else None
        plan.write_table(source, table[table["subject"] == source.name].reset_index(drop=True), side, size)


EXPORT = "export-annotations predictions.csv --to"
FORMATS: dict[str, Format] = {
    "predictions": Format("Predictions, a row per frame and face", "predict", _predictions),
    "episodes": Format("Episodes", f"{EXPORT} csv-episodes", partial(_annotations, to="csv-episodes")),
    "summary": Format("Statistics per person and AU", "summarise", _summary),
    "pairs": Format("Co-occurrence of AUs", "summarise --pairs", _pairs),
    "elan": Format("ELAN", f"{EXPORT} elan", partial(_annotations, to="elan")),
    "praat": Format("Praat", f"{EXPORT} praat", partial(_annotations, to="praat")),
    "boris": Format("BORIS", f"{EXPORT} boris", partial(_annotations, to="boris")),
    "bids": Format("BIDS events", f"{EXPORT} bids", partial(_annotations, to="bids")),
    "bids-continuous": Format(
        "BIDS continuous", f"{EXPORT} bids --continuous", partial(_annotations, to="bids", continuous=True)
    ),
    "mne": Format("MNE (FIF)", f"{EXPORT} mne", partial(_annotations, to="mne")),
    "mne-text": Format("MNE (text)", f"{EXPORT} mne --text", partial(_annotations, to="mne", text=True)),
    "openface": Format("OpenFace's columns", "predict --format openface", partial(_other_tool, kind="openface"), True),
    "pyfeat": Format("Py-Feat's columns", "predict --format pyfeat", partial(_other_tool, kind="pyfeat"), True),
}  # fmt: skip


def available(result: Result) -> list[dict[str, str]]:
    """The downloads of a result."""
    native = result.table.attrs.get("format") == "native"
    return [
        {"key": key, "label": form.label, "command": f"auformer {form.command}"}
        for key, form in FORMATS.items()
        if native or not form.native
    ]


def write_download(result: Result, key: str, thresholds: Mapping[str, float], folder: Path) -> Path:
    """Write a download into an empty folder.

    Args:
        result: The result.
        key: Of `FORMATS`.
        thresholds: By AU, where they differ from the file's.
        folder: Where to.

    Returns:
        Its one file, or an archive of its files.

    Raises:
        ValueError: There is nothing to write, or no such download or threshold.
        MissingExtraError: A package that the format needs is not installed.
    """
    if key not in FORMATS or (FORMATS[key].native and result.table.attrs.get("format") != "native"):
        raise ValueError(f"Expected one of the downloads {', '.join(FORMATS)}, but got {key!r}")
    check_thresholds(result, thresholds)
    inside = folder / "files"
    inside.mkdir()
    FORMATS[key].write(result, result.with_thresholds(thresholds), inside)
    files = sorted(path for path in inside.rglob("*") if path.is_file())
    if len(files) == 1:
        return files[0]
    return _archive(files, inside, folder / f"{key}.zip")


def check_thresholds(result: Result, thresholds: Mapping[str, float]) -> None:
    """Raise a `ValueError` where one is of no AU with probabilities, or out of range."""
    known = result.thresholds()
    for au, value in thresholds.items():
        if au not in known or not 0 <= value <= 1:
            raise ValueError(f"Expected thresholds from 0 to 1 of AUs with probabilities, but got {au}: {value}")


def _archive(files: Sequence[Path], root: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(root).as_posix(), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return path

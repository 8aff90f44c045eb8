"""Praat's TextGrids, long or short, whatever their encoding."""

from __future__ import annotations

from pathlib import Path

from auformer.errors import DatasetLayoutError, require

from .marks import Coding, Mark


def read_textgrid(path: Path) -> Coding:
    """The labelled intervals and points of a TextGrid; empty intervals lie between annotations and are none.

    Raises:
        DatasetLayoutError: It is no TextGrid, or two tiers have one name.
        MissingExtraError: praatio is not installed.
    """
    textgrid = require("praatio.textgrid", "annotations")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    except Exception as error:  # praatio's own classes, and whatever its parser meets in a file that is none
        raise DatasetLayoutError(
            f"{path.name}: cannot be read as a TextGrid ({error}); save it again in Praat"
        ) from error
    marks = []
    for tier in grid.tiers:
        for entry in tier.entries:
            if hasattr(entry, "start") and not entry.label.strip():
                continue
            begin = float(entry.start if hasattr(entry, "start") else entry.time)
            end = float(entry.end) if hasattr(entry, "end") else begin
            marks.append(Mark(tier.name, "", entry.label.strip(), begin, end, f"tier {tier.name}, {begin:.3f} s"))
    return Coding(marks, [(tier.name, "") for tier in grid.tiers])

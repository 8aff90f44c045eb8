"""A second file beside the first: how far they agree, and what it says of each frame that both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auformer.data.schema import aus_with
from auformer.page.results import Result
from auformer.predict.agreement import Pairs, active_values, agreement, pair_rows
from auformer.predict.compare import read_predictions
from auformer.predict.intensity_agreement import intensity_agreement

#: Reads a person's coding of a video: the file and the video, None where that is not there -> a table.
ReadCoding = Callable[[Path, "Path | None"], pd.DataFrame]
CODINGS = frozenset({".eaf", ".textgrid"})  # of programs, not tables of frames


class Second(NamedTuple):
    """A second file.

    Args:
        name: What the page calls it.
        table: As of `read_predictions`.
    """

    name: str
    table: pd.DataFrame


def read_second(path: Path, result: Result, read_coding: ReadCoding | None) -> Second:
    """Read a second file: predictions of any tool, a manifest, or coding in ELAN or Praat.

    Raises:
        ValueError: It is none of these, or the video whose frames it codes is not there.
    """
    if path.suffix.lower() not in CODINGS:
        return Second(path.name, read_predictions(path))
    if read_coding is None:
        raise ValueError(f"Expected a table, but got {path.name}")
    videos = [video for video in result.videos if video.timed]
    if len(videos) != 1:
        raise ValueError(
            f"Expected the predictions of one video beside {path.name}, but they are of {len(videos)}: make a manifest "
            "of the coding by `auformer prepare annotations`, and add that"
        )
    return Second(path.name, read_coding(path, result.path_of(videos[0])))


def compare(result: Result, second: Second, thresholds: Mapping[str, float]) -> tuple[dict[str, Any], Pairs]:
    """Agreement of a result, at some thresholds, with a second file, as plain JSON values; and the rows of both.

    Raises:
        ValueError: They share no image, face or AU.
    """
    pairs = pair_rows(result.with_thresholds(thresholds), second.table)
    table, strengths = agreement(pairs), intensity_agreement(pairs)
    if table.empty or not pairs.counts["in_both"]:
        raise ValueError(
            "Expected the files to share a face and an action unit, but they share none. Faces are matched by their "
            "place: were both files made from images of one size?"
        )
    both = table if strengths.empty else table.merge(strengths, on="au", how="left")
    rows = both.astype(object).where(both.notna(), None).to_dict("records")
    facts = {
        "name": second.name, "format": second.table.attrs["format"], "notes": list(second.table.attrs["notes"]),
        "counts": pairs.counts, "alone": [list(names) for names in pairs.alone], "agreement": rows,
    }  # fmt: skip
    return facts, pairs


def overlay(result: Result, pairs: Pairs, number: int) -> list[dict[str, Any]]:
    """What the second file says of the people of a source, frame by frame of theirs.

    Returns:
        A person each, in their order: by AU `active` (1, 0, or None where it says nothing), and `value`, the
        probability or a fifth of the intensity, in [0, 1]; AUs of which it says nothing are left out.
    """
    video = result.videos[number]
    first, other = pairs.first, pairs.second
    here = (first["subject"].astype(str) == video.key[1]) & (first["sequence"].astype(str) == video.key[2])
    numbers = np.unique(result.rows_of(video)["frame"].to_numpy(np.int64))
    kinds = ("active", "prob", "intensity_pred")
    aus = [au for au in video.au_names if any(au in aus_with(other.columns, kind) for kind in kinds)]
    found = []
    for person in video.people:
        mine = np.flatnonzero((here & (first["face"] == person.face)).to_numpy(bool))
        places = np.searchsorted(numbers[person.places], first["frame"].to_numpy()[mine])
        values = {}
        for au in aus:
            active, value = (np.full(len(person.times), np.nan) for _ in range(2))
            active[places] = active_values(other, au)[mine]
            value[places] = _value(other, au)[mine]
            values[au] = {"active": _plain(active), "value": _plain(value.round(4))}
        found.append(values)
    return found


def _value(table: pd.DataFrame, au: str) -> np.ndarray:
    """(n,) in [0, 1], nan where there is none."""
    for name, scale in ((f"{au}_prob", 1.0), (f"{au}_intensity_pred", 5.0)):
        if name in table:
            return table[name].to_numpy(float, na_value=np.nan) / scale
    return np.full(len(table), np.nan)


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]

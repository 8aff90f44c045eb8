"""AU45 of the faces in videos: from AU43 over time, by the one rule of `auformer.blinks`.

`AU45_active` is 1 in the frames of a blink and 0 elsewhere, `AU45_intensity_pred` AU43's intensity in a blink and 0
elsewhere; both are empty where it cannot be known. AU45 has no probability: a network that sees one image has none.
Photos, and frames without time stamps, have no AU45. Blinks are found in what was predicted, so a resting level that is
subtracted afterwards changes how strong they are, not how many.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.blinks import CLOSED, LONGEST_S, OPENED, blink_columns, why_not

CLOSURE = LEVEL, PROB = "AU43_intensity_pred", "AU43_prob"  # columns that are read


def blinking(
    table: pd.DataFrame, au_names: Sequence[str], thresholds: np.ndarray, videos: Collection[str]
) -> tuple[pd.Series | None, dict[str, Any]]:
    """Which rows of a table are frames of a blink.

    How far the eyes are closed is AU43's intensity where the network gives it, else its probability: shut from the
    decision threshold on, open again at half of it.

    Args:
        table: Rows of all sources, as `rows_table` gives them.
        au_names: AUs of the network.
        thresholds: (N,) their decision thresholds.
        videos: Names of the sources whose faces are tracked.

    Returns:
        `AU45_active` of each row, Int8, and what the sidecar says of it: the rule, and by name of a video why its
        blinks cannot be counted; None where that is so of all. None and nothing where the network does not predict
        AU43, predicts AU45 by itself, or no frame has a time.
    """
    timed = table[table["subject"].isin(list(videos)) & table["time_s"].notna()]
    if "AU43" not in au_names or "AU45" in au_names or timed.empty:
        return None, {}
    cut = float(thresholds[list(au_names).index("AU43")])
    column, closed, opened = (LEVEL, CLOSED, OPENED) if LEVEL in table else (PROB, cut, cut / 2)
    active, reasons = np.full(len(table), -1, np.int8), {}
    places = pd.Series(np.arange(len(table)), table.index)
    for name, rows in timed.groupby("subject", sort=False):
        times = rows.drop_duplicates("frame").set_index("frame")["time_s"].sort_index()
        reason = why_not(times.to_numpy()) or ("" if closed > opened else "the decision threshold of AU43 is 0")
        if reason or (times.diff() <= 0).any():
            reasons[str(name)] = reason or "its time stamps do not rise"
            continue
        for _, track in rows[rows["status"] == "ok"].groupby("face"):
            track = track.set_index(places[track.index])
            frames = _with_neighbours(times, track["frame"].min(), track["frame"].max())
            closure = pd.Series(track[column].to_numpy(float), track["frame"]).reindex(frames.index)
            found = blink_columns(closure.to_numpy(), frames.to_numpy(), closed=closed, opened=opened)
            active[track.index] = pd.Series(found["AU45"], frames.index)[track["frame"]]
    rule = (
        f"AU43 for less than {LONGEST_S:g} s: {column} reaches {closed:g} and falls to {opened:g} again; empty where "
        "beginning or end is not seen"
    )
    series = pd.Series(active, table.index).astype("Int8").mask(active == -1)
    counted = len(reasons) < timed["subject"].nunique()
    return series if counted else None, {"AU45": {"rule": rule, "not_counted": reasons}}


def with_blinks(table: pd.DataFrame, active: pd.Series | None) -> pd.DataFrame:
    """The table with the columns of AU45 at its end, from what `blinking` returned."""
    if active is None:
        return table
    columns: dict[str, Any] = {"AU45_active": active}
    if LEVEL in table:
        columns["AU45_intensity_pred"] = table[LEVEL].where(active == 1, 0.0).mask(active.isna())
    return table.assign(**columns)


def _with_neighbours(times: pd.Series, first: int, last: int) -> pd.Series:
    """Times of the frames from the one before `first` to the one after `last`, by their number."""
    begin, end = times.index.searchsorted([first, last])
    return times.iloc[max(0, int(begin) - 1) : int(end) + 2]

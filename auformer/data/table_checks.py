"""Checks of a manifest or a predictions file as a whole: its key, and columns that must agree with each other."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from auformer.data.checks import fail, number_column, require_columns, text_column, unique_key, whole_column
from auformer.data.schema import CLIP_FRAMES, KEY, NUMBERS, SIDES, TEXT_KEY, aus_with, parse_column
from auformer.errors import ManifestError


def au_kinds(frame: pd.DataFrame, where: str) -> dict[str, tuple[str, str]]:
    """Column -> (AU, kind) of the columns that are about an AU.

    Raises:
        ManifestError: A column names an unknown AU, or spells its name in another way.
    """
    kinds = {}
    for name in frame.columns:
        try:
            parsed = parse_column(name)
        except ValueError as error:
            raise ManifestError(f"{where}: {error}") from error
        if parsed is not None:
            kinds[str(name)] = parsed
    return kinds


def keyed(frame: pd.DataFrame, where: str, what: str) -> pd.DataFrame:
    """A copy with key, status and the other columns of both contracts in their types.

    Args:
        frame: Table with at least the key, `face` aside.
        where: What messages call it.
        what: What it should be, for messages.

    Raises:
        ManifestError: A column is missing, a value breaks the contract, or a key occurs twice.
    """
    require_columns(frame, KEY[:-1], where, what)
    if not len(frame):
        raise ManifestError(f"{where}: the table has no rows; write it again with at least one")
    frame = frame.reset_index(drop=True)
    if "face" not in frame.columns:
        frame.insert(frame.columns.get_loc("frame") + 1, "face", 0)
    frame["face"] = frame["face"].fillna(0)
    if "status" not in frame.columns:
        frame["status"] = "ok"
    for name in TEXT_KEY:
        frame[name] = text_column(frame[name], where, required=True)
    for name in ("frame", "face"):
        frame[name] = whole_column(frame[name], where)
    frame["status"] = text_column(frame["status"], where, required=False).fillna("ok").replace("", "ok")
    for name in [name for name in ("fold", "clip", "file") if name in frame.columns]:
        frame[name] = text_column(frame[name], where, required=False)
    for name in [name for name in (*NUMBERS, *CLIP_FRAMES) if name in frame.columns]:
        frame[name] = number_column(frame[name], where)
    unique_key(frame, KEY, where)
    return frame


def check_sides(frame: pd.DataFrame, kinds: dict[str, tuple[str, str]], where: str) -> None:
    """`AU12` is the maximum of its sides, as far as they are annotated.

    Raises:
        ManifestError: It is not, or one of the three columns is missing.
    """
    for au in sorted({au for au, kind in kinds.values() if kind in SIDES}):
        sides = [f"{au}_{side}" for side in SIDES]
        require_columns(frame, [au, *sides], where, f"a manifest with sides of {au}")
        left, right, label = (frame[name].to_numpy() for name in (*sides, au))
        highest = np.maximum(left, right)
        known = (left >= 0) & (right >= 0)
        bad = (label >= 0) & np.where(known, label != highest, label < highest)
        fail(where, bad, f"`{au}` is not the maximum of `{sides[0]}` and `{sides[1]}`", "correct the label or the sides")


def check_clips(frame: pd.DataFrame, where: str) -> None:
    """Frame numbers and labels of a clip are equal on all its rows, and onset, apex and offset are in order.

    Raises:
        ManifestError: They are not.
    """
    if "clip" not in frame.columns:
        return
    named = [name for name in CLIP_FRAMES if name in frame.columns]
    shared = [*named, *aus_with(frame.columns, "")]
    rows = frame[[*TEXT_KEY, "clip", *shared]].reset_index(names="row").dropna(subset="clip")
    distinct = rows.drop_duplicates([*TEXT_KEY, "clip", *shared])
    differing = distinct.duplicated([*TEXT_KEY, "clip"]).to_numpy(bool)
    bad = np.zeros(len(frame), bool)
    bad[distinct["row"].to_numpy()[differing]] = True
    fail(where, bad, "frame numbers or labels differ from those of the clip's first row", "a clip has one label and one set of frames")
    for early, late in itertools.combinations(named, 2):
        bad = frame["clip"].notna().to_numpy(bool) & (frame[early] > frame[late]).to_numpy(bool)
        fail(where, bad, f"`{early}` comes after `{late}`", "correct the frame numbers of the clip")

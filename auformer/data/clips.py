"""Clips as samples: one row per clip, at its apex, and the images that its input is made of.

A manifest of clips has a row for every frame from onset to offset, all with the clip's label. A micro-expression is
scored once per clip, so its rows become one; what the network sees is the apex frame, what changed since the onset, or
a mean of frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from auformer.data.schema import CLIP_FRAMES, TEXT_KEY
from auformer.errors import ManifestError

FRAMES, COMPOSE = "@frames", "@compose"  # columns of rows that are clips: further images, and how they are combined
GAIN = 2.0  # of the difference image: grey levels move little, and twice the change seldom leaves the range [ours]
KINDS = ("frames", "apex", "difference", "mean:K")


def parse_clip_input(text: str) -> tuple[str, int]:
    """Kind and number of images of a clip's input.

    `frames` takes every row by itself, `apex` the one frame, `difference` apex minus onset on grey, `mean:K` the mean
    of the K frames nearest the apex.

    Raises:
        ValueError: It is none of these.

    >>> parse_clip_input("apex"), parse_clip_input("mean:5")
    (('apex', 1), ('mean', 5))
    """
    kind, colon, number = text.partition(":")
    if kind == "mean" and number.isdecimal() and int(number) > 0:
        return kind, int(number)
    if colon or kind not in ("frames", "apex", "difference"):
        raise ValueError(f"Expected `clip_input` to be one of {', '.join(KINDS)} (K at least 1), but got {text!r}")
    return kind, 2 if kind == "difference" else 1


def clip_rows(frame: pd.DataFrame, clip_input: str) -> pd.DataFrame:
    """One row per clip and face.

    Args:
        frame: Rows of a manifest of clips; those that are not `ok` have no image to take.
        clip_input: See `parse_clip_input`.

    Returns:
        The row at the apex of each clip (the nearest one with an image; without an apex, as in 21 clips of CASME II, in
        the middle of the clip [ours]), in the order of the clips' first rows, with the columns `@frames` (tuple of
        further images) and `@compose`. `frames` gives the rows back as they are.

    Raises:
        ManifestError: A row belongs to no clip, or the clip columns are missing.
    """
    kind, number = parse_clip_input(clip_input)
    if kind == "frames":
        return frame
    missing = [name for name in ("clip", *CLIP_FRAMES, "image") if name not in frame.columns]
    if missing or bool(frame["clip"].isna().any()):
        without = "there is no column `{}`".format(*missing) if missing else ""
        fault = without or f"{int(frame['clip'].isna().sum()):,} rows have no `clip`"
        raise ManifestError(
            f"Expected a manifest of clips for `clip_input` {clip_input!r}, but {fault}; use `frames` for single images"
        )
    ok = (frame["status"] == "ok").to_numpy(bool)
    times, images, onset = frame["frame"].to_numpy(np.float64), frame["image"].tolist(), frame["onset"].to_numpy(float)
    kept, further = [], []
    for near in _nearest(frame, ok):
        others: np.ndarray = near[1:number] if kind == "mean" else near[:0]
        if kind == "difference":
            by_time = np.sort(near)[np.argsort(times[np.sort(near)], kind="stable")]
            others = by_time[[np.argmin(np.abs(times[by_time] - onset[near[0]]))]]
        kept.append(near[0])
        further.append(tuple(images[row] for row in others) if ok[near[0]] else ())
    chosen = frame.iloc[kept].copy()
    chosen[FRAMES] = pd.Series(further, index=chosen.index, dtype=object)
    chosen[COMPOSE] = kind
    return chosen


def apex_frames(frame: pd.DataFrame, number: int) -> list[np.ndarray]:
    """Of each clip and face the places of the `number` frames with an image nearest its apex, the nearest first.

    As `clip_rows` chooses them for `mean:K`; of a clip without an image the one row nearest its apex.
    """
    ok = (frame["status"] == "ok").to_numpy(bool) if "status" in frame else np.ones(len(frame), bool)
    return [near[:number] if ok[near[0]] else near[:1] for near in _nearest(frame, ok)]


def _nearest(frame: pd.DataFrame, ok: np.ndarray) -> Iterator[np.ndarray]:
    """Places of the rows of each clip with an image (of all where none has one), by their distance from the apex."""
    times = frame["frame"].to_numpy(np.float64)
    onset, apex, offset = (frame[name].to_numpy(np.float64) for name in CLIP_FRAMES)
    apex = np.where(np.isnan(apex), (onset + offset) / 2, apex)
    for rows in _groups(frame):
        with_image = rows[ok[rows]]
        candidates = with_image if with_image.size else rows
        yield candidates[np.argsort(np.abs(times[candidates] - apex[rows[0]]), kind="stable")]


def _groups(frame: pd.DataFrame) -> list[np.ndarray]:
    """Places of the rows of each clip and face, by frame number, in the order in which the clips begin."""
    keys = [*TEXT_KEY, "clip", *(["face"] if "face" in frame.columns else [])]
    codes = frame.groupby(keys, sort=False, observed=True).ngroup().to_numpy()
    order = np.lexsort((frame["frame"].to_numpy(), codes))
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def compose(kind: str, images: Sequence[np.ndarray]) -> np.ndarray:
    """Combine the images of a clip, uint8 `(H, W, 3)` each, of one size.

    A `difference` (apex first, onset second) is twice the change around mid grey, clipped; `mean` is rounded.
    """
    if kind == "apex" or (kind == "mean" and len(images) == 1):
        return images[0]
    if kind == "mean":
        return np.rint(np.mean(np.stack(images), axis=0, dtype=np.float64)).astype(np.uint8)
    apex, onset = (image.astype(np.float32) for image in images)
    return np.clip(np.rint(127.5 + GAIN * (apex - onset)), 0, 255).astype(np.uint8)

"""Clips as windows of consecutive rows: where the runs of a manifest are, and which windows are cut from them.

A run holds the rows of one face of one sequence (and of one clip, where the manifest has clips) whose frame numbers
rise by one. No window crosses the end of a run. A run or a tail that is shorter than a window repeats its last row as
padding, which counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from auformer.data.schema import TEXT_KEY
from auformer.data.splits import row_hashes
from auformer.errors import ManifestError


def find_runs(frame: pd.DataFrame) -> list[np.ndarray]:
    """Places of the rows of each run, in the order of their keys, whatever the order of the rows.

    Args:
        frame: Rows of a manifest; those whose `status` is not `ok` end a run.

    >>> rows = pd.DataFrame({"dataset": "d", "subject": "s", "sequence": "q", "face": 0, "frame": [4, 2, 1, 5]})
    >>> [run.tolist() for run in find_runs(rows)]
    [[2, 1], [0, 3]]
    """
    ok = np.ones(len(frame), bool) if "status" not in frame else (frame["status"] == "ok").to_numpy(bool)
    places = np.flatnonzero(ok)
    if not places.size:
        return []
    names = [*TEXT_KEY, *(name for name in ("face", "clip") if name in frame)]
    codes = []
    for name in names:
        column = frame[name].iloc[places]
        values = column.astype(str) if name != "face" else column
        codes.append(pd.factorize(values, sort=True)[0])
    numbers = frame["frame"].to_numpy(np.int64)[places]
    order = np.lexsort((numbers, *reversed(codes)))
    breaks = np.diff(numbers[order]) != 1
    for code in codes:
        breaks |= np.diff(code[order]) != 0
    return np.split(places[order], np.flatnonzero(breaks) + 1)


def check_runs(runs: Sequence[np.ndarray], length: int, where: str) -> None:
    """Refuse rows that no window of more than one frame can be cut from.

    Raises:
        ManifestError: There is no pair of consecutive frames.
    """
    if runs and max(map(len, runs)) < 2:
        raise ManifestError(
            f"{where}: expected consecutive frames for clips of {length}, but no two rows of one face of a sequence "
            "have frame numbers that differ by 1; use a network for single images, or number the frames 0, 1, 2, ..."
        )


def cut_chunks(runs: Iterable[np.ndarray], rows: int | None) -> list[np.ndarray]:
    """Cut runs into equal chunks of at most so many rows, of which each epoch takes one window each; None: whole runs.

    >>> [len(chunk) for chunk in cut_chunks([np.arange(4845)], 607)]
    [606, 606, 606, 606, 606, 605, 605, 605]
    """
    if rows is None:
        return list(runs)
    return [chunk for run in runs for chunk in np.array_split(run, -(-len(run) // rows))]


def window(run: np.ndarray, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of a window's rows `(T,)`, and which of them are no padding `(T,)` bool.

    >>> window(np.array([7, 8, 9]), 1, 4)
    (array([8, 9, 9, 9]), array([ True,  True, False, False]))
    """
    wanted = start + np.arange(length)
    return run[np.minimum(wanted, len(run) - 1)], wanted < len(run)


def training_window(run: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A window that begins anywhere with the same chance, both ends included; as `window`."""
    return window(run, int(rng.integers(max(0, len(run) - length) + 1)), length)


def evaluation_windows(
    runs: Iterable[np.ndarray], length: int, step: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Windows that cover every row.

    Args:
        runs: As `find_runs` gives them.
        length: Rows `T` of a window.
        step: Rows from one window to the next, 1 to `length`. By default `length`: windows begin at 0, T, 2T, ..., and
            a short tail is padded, as MDHR's test does. With a smaller one they overlap, the last one ends with its
            run, and each row counts in the window in whose middle it lies [ours].

    Returns:
        Places of the rows `(W, T)`, and where each row counts `(W, T)` bool: every row once.
    """
    step = length if step is None else step
    if not 1 <= step <= length:
        raise ValueError(f"Expected `step` to be from 1 to {length} rows, but got {step}")
    rows, counts = [], []
    for run in runs:
        if step == length or len(run) <= length:
            starts = np.arange(0, len(run), length)
            home = np.arange(len(run)) // length
        else:
            starts = np.unique(np.append(np.arange(0, len(run) - length, step), len(run) - length))
            middles = starts + (length - 1) / 2
            home = np.abs(np.arange(len(run))[:, None] - middles).argmin(1)
        for number, start in enumerate(starts):
            own, real = window(run, int(start), length)
            inside = np.minimum(start + np.arange(length), len(run) - 1)
            rows.append(own)
            counts.append(real & (home[inside] == number))
    none = np.zeros((0, length), np.int64)
    return (np.stack(rows), np.stack(counts)) if rows else (none, none.astype(bool))


def window_subset(frame: pd.DataFrame, size: int | float, length: int, seed: int = 0) -> pd.DataFrame:
    """A random subset of rows that keeps windows whole: pieces of `length` consecutive rows, until there are enough.

    The last piece may be cut short. Of one seed, the smaller subset lies inside the larger one, as in `nested_subset`.

    Args:
        frame: Rows with the key columns, all `ok`.
        size: Number of rows (int, at least 1), or their fraction (float in (0, 1]).
        length: Rows of a piece.
        seed: Another seed, another order of choice.

    Raises:
        ValueError: `size` is out of range, or there are not as many rows.
    """
    whole = not isinstance(size, bool) and isinstance(size, int)
    if not (whole and size >= 1) and not (isinstance(size, float) and 0 < size <= 1):
        raise ValueError(f"Expected `size` to be a number of rows, or a fraction in (0, 1], but got {size!r}")
    count = int(size) if whole else max(1, round(size * len(frame)))
    if count > len(frame):
        raise ValueError(f"Expected `size` to be at most the {len(frame):,} rows there are, but got {count:,}")
    pieces = [piece for run in find_runs(frame) for piece in np.split(run, np.arange(length, len(run), length))]
    hashes = row_hashes(frame, seed)
    order = sorted(range(len(pieces)), key=lambda piece: hashes[pieces[piece][0]])
    chosen = np.concatenate([pieces[piece] for piece in order])[:count]
    return frame.iloc[np.sort(chosen)]


def label_frames(frame: pd.DataFrame, au_names: Sequence[str], level: float) -> pd.DataFrame:
    """Labels of each frame from its own intensity, in place of those of its clip.

    Args:
        frame: Rows of a manifest with `AU12_intensity` columns.
        au_names: Action units.
        level: Intensity from which an action unit counts as present; half a level less is enough, since intensities of
            rendered faces are not rounded: level 1 begins at 0.5, as lab A's coders see it.

    Returns:
        A copy: 1, 0, and -1 where the intensity is not coded.

    Raises:
        ManifestError: No action unit has intensities.
    """
    coded = [au for au in au_names if f"{au}_intensity" in frame]
    if not coded:
        raise ManifestError(
            "Expected intensities per frame (`AU12_intensity`, ...) to make labels of, but got none; leave "
            "`frame_labels` out to use the labels that are there"
        )
    frame = frame.copy()
    for au in coded:
        value = frame[f"{au}_intensity"]
        frame[au] = (value >= level - 0.5).astype(np.int8).mask(value.isna(), -1).astype(np.int8)
    for au in set(au_names) - set(coded):
        frame[au] = np.int8(-1)
    return frame

"""The rows of a run: which are usable, which part they are in, what their labels count, and planted label noise."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from auformer.data.row_draws import au_draws, row_hashes
from auformer.data.schema import SIDES
from auformer.data.splits import people, subject_split
from auformer.errors import ManifestError

logger = logging.getLogger(__name__)


def usable_rows(frame: pd.DataFrame, part: str) -> pd.DataFrame:
    """The rows whose `status` is `ok`; the others are counted in the log.

    Args:
        frame: Rows of a manifest.
        part: Name of the part, for messages.

    Raises:
        ManifestError: No row is left.
    """
    ok = (frame["status"] == "ok").to_numpy(bool)
    if not ok.all():
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in frame.loc[~ok, "status"].value_counts().items())
        logger.warning("%s: %s of %s rows are left out (%s)", part, f"{(~ok).sum():,}", f"{len(frame):,}", reasons)
    if not ok.any():
        raise ManifestError(f"Expected rows with `status` ok in the part `{part}`, but none of its {len(frame):,} rows is")
    return frame[ok]


def cut_fold(frame: pd.DataFrame, fold: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide rows into a fold and the rest.

    Args:
        frame: Rows with a column `fold`.
        fold: Name of the part to cut out.

    Returns:
        The rest, and the fold.

    Raises:
        ManifestError: There is no column `fold`, no row of that name, or no row of another one.
    """
    if "fold" not in frame.columns:
        raise ManifestError(f"Expected a column `fold` to cut out {fold!r}, but the manifest has none; add it, or name a test manifest")
    inside = (frame["fold"] == fold).fillna(False).to_numpy(bool)
    if not inside.any():
        names = ", ".join(sorted(frame["fold"].dropna().unique())) or "none"
        raise ManifestError(f"Expected `fold` to be one of the manifest's parts ({names}), but got {fold!r}, which has no rows")
    if inside.all():
        raise ManifestError(f"Expected rows outside the fold {fold!r} to train on, but all {len(frame):,} rows are in it")
    return frame[~inside], frame[inside]


def cut_subjects(frame: pd.DataFrame, subjects: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide rows into those of some subjects and the rest.

    Args:
        frame: Rows of a manifest.
        subjects: Names like `casme2/sub01`, data set and subject.

    Returns:
        The rest, and the rows of the subjects.

    Raises:
        ManifestError: A subject has no rows, or no other one has any.
    """
    names = frame["dataset"].astype(str) + "/" + frame["subject"].astype(str)
    inside = names.isin(list(subjects)).to_numpy(bool)
    unknown = sorted(set(subjects) - set(names))
    if unknown or not inside.any():
        raise ManifestError(f"Expected `test_subjects` to be like {names.iloc[0]!r}, but {', '.join(unknown) or 'none'} have no rows")
    if inside.all():
        raise ManifestError(f"Expected rows of other subjects to train on, but all {len(frame):,} rows are of `test_subjects`")
    return frame[~inside], frame[inside]


def cut_validation(frame: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Divide training rows by subject into training and validation.

    Args:
        frame: Training rows.
        fraction: Of the subjects, in [0, 1); 0 makes no validation part.
        seed: Of the choice.

    Returns:
        Training and validation rows; None for the latter where there are none.

    Raises:
        ValueError: `fraction` is out of range, or there are too few subjects.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"Expected `val_fraction` to be in [0, 1), but got {fraction}")
    if fraction == 0:
        return frame, None
    who = people(frame)
    if len(set(who)) < 2:
        raise ManifestError(
            f"Expected at least 2 training subjects to cut a validation part from, but got {len(set(who))}; "
            "name a validation manifest, or set `val_fraction` to 0"
        )
    held_out = set(subject_split(who, [1 - fraction, fraction], seed)[1])
    inside = np.fromiter((one in held_out for one in who), dtype=bool, count=len(who))
    return frame[~inside], frame[inside]


def count_labels(frame: pd.DataFrame, au_names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Rows in which each AU is active, and in which it is annotated.

    Returns:
        Positives and annotated, `(N,)` each; 0 for an AU without a column.
    """
    columns = [frame[au].to_numpy() if au in frame.columns else np.array([-1]) for au in au_names]
    return [int((column == 1).sum()) for column in columns], [int((column >= 0).sum()) for column in columns]


def trainable_aus(frame: pd.DataFrame, au_names: Sequence[str], *, leave_out_missing: bool) -> list[str]:
    """Action units that training rows show at least once.

    Args:
        frame: Training rows.
        au_names: Action units asked for.
        leave_out_missing: Whether AUs without a positive row are left out, with a warning.

    Raises:
        ManifestError: An AU has no positive row and is not to be left out, or none has any.
    """
    positives, annotated = count_labels(frame, au_names)
    counts = dict(zip(au_names, zip(positives, annotated, strict=True), strict=True))
    missing = {au: seen for au, (active, seen) in counts.items() if not active}
    named = ", ".join(f"{au} ({f'{seen:,} annotated rows' if seen else 'not annotated'})" for au, seen in missing.items())
    if missing and (not leave_out_missing or len(missing) == len(counts)):
        raise ManifestError(
            f"Expected every action unit to be active in a training row, but these never are: {named}; "
            "train on rows that show them, or set `leave_out_missing`"
        )
    if missing:
        logger.warning("left out, without a positive training row: %s", named)
    return [au for au in au_names if au not in missing]


def with_label_noise(frame: pd.DataFrame, au_names: Sequence[str], probability: float, seed: int) -> pd.DataFrame:
    """Flip annotated labels at random, 0 to 1 and 1 to 0.

    Whether a label is flipped is a function of (seed, key of the row, AU). Labels per side of a flipped AU become unknown.

    Args:
        frame: Training rows.
        au_names: Action units.
        probability: Of a flip, in [0, 1].
        seed: Another seed, other flips.

    Raises:
        ValueError: `probability` is out of range.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"Expected `label_noise` to be in [0, 1], but got {probability}")
    if probability == 0:
        return frame
    flips = au_draws(row_hashes(frame, seed), au_names) < probability
    noisy = frame.copy()
    for column, au in enumerate(au_names):
        if au not in frame.columns:
            continue
        labels = frame[au].to_numpy()
        flipped = flips[:, column] & (labels >= 0)
        noisy[au] = np.where(flipped, 1 - labels, labels).astype(np.int8)
        for name in [f"{au}_{side}" for side in SIDES if f"{au}_{side}" in frame.columns]:
            noisy[name] = np.where(flipped, -1, frame[name].to_numpy()).astype(np.int8)
    return noisy

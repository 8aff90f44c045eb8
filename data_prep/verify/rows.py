"""Faults that single rows give away: frames counted from 0, the other camera, a threshold that intensities contradict, no unknown label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import au_columns

from .counts import Comparison
from .problem import Problem, named

_ENOUGH = 5000  # rows without a single unknown label before that is suspicious [ours]
_BENCHMARK = 12  # AUs of BP4D that papers report; in coded frames none of their labels is unknown
_SHARE = 0.99  # of the rows whose image's number is one off before that is a pattern [ours]


def row_faults(found: Comparison, side: dict[str, Any]) -> tuple[list[Problem], set[str]]:
    """What rows of a known data set give away.

    Args:
        found: The comparison.
        side: The manifest's sidecar.

    Returns:
        What was noticed, and the AUs whose positives are explained by it.
    """
    threshold, explained = _threshold(found)
    problems = [*threshold, *_frame_base(found), *_picture_numbers(found), *_camera(found, side), *_unknown(found)]
    return problems, explained


def _threshold(found: Comparison) -> tuple[list[Problem], set[str]]:
    """The threshold between intensity and label, where both are in the manifest."""
    wanted, rows = found.published.threshold, found.rows
    if wanted is None:
        return [], set()
    others: dict[str, list[str]] = {}
    for au in au_columns(rows):
        if f"{au}_intensity" not in rows.columns:
            continue
        coded = (rows[f"{au}_intensity"].notna() & (rows[au] >= 0)).to_numpy(bool)
        intensity, label = rows[f"{au}_intensity"].to_numpy()[coded], rows[au].to_numpy()[coded]
        fits = [t for t in range(1, 6) if np.array_equal(label == 1, intensity >= t)]
        if wanted not in fits:
            others.setdefault(f"intensity of {fits[0]} or more" if fits else "no threshold at all", []).append(au)
    problems = [
        Problem(
            "threshold",
            found.dataset,
            f"{named(names, 12)}: the labels are those of {rule}, the field takes {wanted} or more",
        )
        for rule, names in others.items()
    ]
    return problems, {au for names in others.values() for au in names}


def _frame_base(found: Comparison) -> Iterator[Problem]:
    """Frame numbers against the range of the release, which counts from 1."""
    bounds = found.published.frame_range
    if bounds is None:
        return
    lowest, highest = int(found.rows["frame"].min()), int(found.rows["frame"].max())
    if lowest < bounds[0]:
        text = (
            f"frames start at {lowest}, those of the release at {bounds[0]}: numbers from 1 were taken as numbers from 0, so check that no "
            "label went to the image before or after its own"
        )
        yield Problem("frame_base", found.dataset, text)
    elif highest > bounds[1]:
        said = f"frames run from {lowest} to {highest}, those of the release from {bounds[0]} to {bounds[1]}"
        yield Problem(
            "frame_base", found.dataset, f"{said}: too high, as where 1 was added to numbers that start at 1 already"
        )
    elif found.published.frames_per_subject is not None:
        counts = found.rows.groupby("subject").size()
        expected = [found.published.expected_frames(str(subject)) for subject in counts.index]
        if len(counts) > 1 and all(
            wanted is not None and count == wanted - 1 for count, wanted in zip(counts, expected, strict=True)
        ):
            text = "every subject lacks one frame: numbers from 1 were matched with images numbered from 0, so that one had no partner"
            yield Problem("frame_base", found.dataset, text)


def _picture_numbers(found: Comparison) -> Iterator[Problem]:
    """Numbers in the names of images against the frame numbers of their rows."""
    rows = found.rows
    if found.published.frame_range is None or "image" not in rows.columns:
        return
    text = rows["image"].fillna("").astype(str)
    numbers = pd.to_numeric(text.str.extract(r"(\d+)[^\d/]*\.[^./]+$", expand=False), errors="coerce")
    apart = (numbers - rows["frame"]).dropna()
    if not len(apart):
        return
    if (apart == 1).mean() >= _SHARE:
        said = "frame numbers are one below the numbers of their images: numbers from 1 were taken as numbers from 0"
        yield Problem("frame_base", found.dataset, said)
    elif (apart == -1).mean() >= _SHARE:
        said = "images are numbered one below their frames, as where images are counted from 0; right if they were written that way"
        yield Problem("frame_base", found.dataset, said, wrong=False)


def _camera(found: Comparison, side: dict[str, Any]) -> Iterator[Problem]:
    """DISFA from the right camera; papers use the left one."""
    if found.name != "disfa":
        return
    rows = found.rows
    right = (rows["sequence"].str.lower() == "right").to_numpy(bool)
    for name in [name for name in ("file", "image", "sequence") if name in rows.columns]:
        right = right | rows[name].fillna("").astype(str).str.contains(r"right_?(?:video|camera)", case=False).to_numpy(
            bool
        )
    says = any(value == "right" for value in _values(side, "camera"))
    if right.any() or says:
        count = f"{int(right.sum()):,} of {len(rows):,} rows" if right.any() else "the manifest's sidecar"
        yield Problem(
            "camera",
            found.dataset,
            f"{count}: right camera; the published results are of the left one (`--camera left`)",
        )


def _unknown(found: Comparison) -> Iterator[Problem]:
    """BP4D and BP4D+ beyond the twelve AUs have labels of code 9; a large manifest without any has lost them."""
    names = au_columns(found.rows)
    if found.name not in ("bp4d", "bp4dplus") or len(names) <= _BENCHMARK or len(found.rows) < _ENOUGH:
        return
    if not any((found.rows[name] < 0).any() for name in names):
        text = (
            f"none of the {len(found.rows):,} rows has an unknown label (-1) in any of {len(names)} AUs: code 9 (unknown) was read as 0 "
            "or 1; the release uses it beyond the twelve AUs that papers report"
        )
        yield Problem("unknown_as_negative", found.dataset, text)


def _values(content: Any, key: str) -> Iterator[Any]:
    """Values under a key anywhere in plain JSON."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value, key)

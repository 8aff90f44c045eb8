"""Manifests with exactly the published frames and positives per part: rows made by arithmetic, without images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import validate_manifest
from auformer.data.splits import PUBLISHED_FOLDS
from auformer.data_prep.verify.manifest import check_manifest

# Positives per part as printed (MDHR's lists); typed in here a second time, so that a slip in the package's table
# shows.
BP4D_AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA_AUS = (1, 2, 4, 6, 9, 12, 25, 26)
PUBLISHED = {
    "bp4d": {
        "P1": (50631, (8322, 8172, 10085, 21055, 29862, 29183, 28277, 20274, 7664, 16080, 8023, 7076)),
        "P2": (50182, (10223, 6568, 9870, 23312, 27651, 27954, 26187, 25762, 10024, 18379, 8657, 7867)),
        "P3": (46034, (12497, 10370, 9800, 23309, 23103, 30133, 28066, 22339, 7181, 15947, 7608, 7286)),
    },
    "disfa": {
        "D1": (43604, (1839, 1125, 5119, 2360, 1218, 4503, 10850, 4902)),
        "D2": (43605, (1469, 879, 6653, 3558, 1287, 6187, 13206, 4123)),
        "D3": (43605, (3198, 3640, 8161, 4409, 2968, 6161, 12191, 2508)),
    },
}


def published_rows(dataset: str) -> pd.DataFrame:
    """A manifest of `bp4d` or `disfa` that has every published number, as `read_manifest` would give it."""
    aus = BP4D_AUS if dataset == "bp4d" else DISFA_AUS
    tables = []
    for part, (frames, positives) in PUBLISHED[dataset].items():
        rows = _keys(dataset, PUBLISHED_FOLDS[dataset][part], frames).assign(fold=part)
        for number, (au, count) in enumerate(zip(aus, positives, strict=True)):
            rows[f"AU{au}"] = np.roll(np.arange(frames) < count, 997 * number).astype(np.int8)
        tables.append(rows)
    frame = validate_manifest(pd.concat(tables, ignore_index=True))
    frame.attrs["side"] = {}
    return frame


def _keys(dataset: str, subjects: tuple[str, ...], frames: int) -> pd.DataFrame:
    """Key columns of a part: as many frames as the release has per subject (DISFA), or shared out over eight tasks
    (BP4D).
    """
    if dataset == "disfa":
        sequences = [(subject, "left", 1, 4844 if subject == "SN010" else 4845) for subject in subjects]
    else:
        pieces = [(subject, f"T{task}") for subject in subjects for task in range(1, 9)]
        sizes = [len(piece) for piece in np.array_split(np.arange(frames), len(pieces))]
        starts = [1 if i % 2 == 0 else 2993 - size for i, size in enumerate(sizes)]
        sequences = [(*piece, start, size) for piece, start, size in zip(pieces, starts, sizes, strict=True)]
    tables = [
        pd.DataFrame(
            {"dataset": dataset, "subject": subject, "sequence": sequence, "frame": np.arange(start, start + size)}
        )
        for subject, sequence, start, size in sequences
    ]
    return pd.concat(tables, ignore_index=True)


def with_intensities(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Intensities that agree with the labels at a threshold of 2: 0 or 1 where an AU is absent, 2 to 5 where it is
    present.
    """
    rng = np.random.default_rng(seed)
    frame = frame.copy()
    for au in DISFA_AUS:
        active = frame[f"AU{au}"].to_numpy() == 1
        frame[f"AU{au}_intensity"] = np.where(
            active, rng.integers(2, 6, len(frame)), rng.integers(0, 2, len(frame))
        ).astype(float)
    return frame


def check(frame: pd.DataFrame, **side: object) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """What `verify` says is wrong (kind -> text), what it notes, and its whole report; images are not opened."""
    frame = frame.copy()
    frame.attrs = {"side": side}
    report = check_manifest(frame, None)
    assert len({entry["kind"] for entry in report["problems"]}) == len(report["problems"]), report["problems"]
    wrong, known = ({entry["kind"]: entry["text"] for entry in report[key]} for key in ("problems", "notes"))
    return wrong, known, report


def problems(frame: pd.DataFrame, **side: object) -> dict[str, str]:
    """Kinds of what is wrong, with their texts."""
    return check(frame, **side)[0]


def notes(frame: pd.DataFrame) -> dict[str, str]:
    """Kinds of what is noted, with their texts."""
    return check(frame)[1]

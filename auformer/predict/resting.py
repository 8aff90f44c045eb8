"""The resting level of a face: what an AU detector says of it at rest, subtracted from its intensities.

Faces differ: one that is at rest may look like a slight AU4 because of its brow. Over a video most people rest often
enough for a low quantile of what is predicted to be that level. OpenFace does the same for videos, in two ways: while a
video is read it takes the lowest tenth of the predictions for neutral (`CorrectOnlineAUs` in
`lib/local/FaceAnalyser/src/FaceAnalyser.cpp`: ratio 0.10), and afterwards it subtracts a quantile that was learned for
each of its own regressors (`ExtractAllPredictionsOfflineReg`); both clip the rest to 0 to 5. Here it is the tenth,
taken over the whole track, as nothing is known of which quantile would suit which AU detector [ours].

Whoever smiles throughout loses the smile: the level is theirs only if they rest for a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.aus import MAX_INTENSITY
from auformer.predict.table import INTENSITY_DECIMALS

QUANTILE = 0.10  # of a track's frames that are taken to be at rest: OpenFace, see the module
FEWEST = 100  # frames with the face: OpenFace 1's FeatureExtraction corrected videos of more than so many frames only
_SHOWN = 5  # tracks named in a message [ours]


def resting_level(values: np.ndarray) -> np.ndarray:
    """The value (N,) below which a tenth of the frames (n, N) lie; one of the values, as in OpenFace.

    >>> resting_level(np.arange(20.0)[::-1, None]).tolist()
    [2.0]
    """
    return np.sort(values, axis=0)[int(len(values) * QUANTILE)]


def subtract_resting_levels(
    table: pd.DataFrame, intensity_aus: Sequence[str], videos: Collection[str]
) -> tuple[pd.DataFrame, dict[str, dict[str, dict[str, Any]]]]:
    """Subtract each track's own resting level from its intensities; what occurs (`_prob`, `_active`) stays as it is.

    A face that was away for so long that it got a new number is a track of its own.

    Args:
        table: Rows of all sources, as `rows_table` gives them.
        intensity_aus: AUs with an intensity, `AU12_intensity_pred` in the table.
        videos: Names of the sources whose faces are tracked; photos are left alone.

    Returns:
        The table with intensities of 0 to 5, and by name of a video and number of the track `frames`, how many show the
        face, and `levels`, what was subtracted by AU; None for a track of fewer than `FEWEST` frames, whose intensities
        are left alone.
    """
    table, columns = table.copy(), [f"{au}_intensity_pred" for au in intensity_aus]
    tracked = table[(table["status"] == "ok") & table["subject"].isin(list(videos))]
    facts: dict[str, dict[str, dict[str, Any]]] = {}
    for (name, face), rows in tracked.groupby(["subject", "face"], sort=False):
        track = facts.setdefault(str(name), {})[str(face)] = {"frames": len(rows), "levels": None}
        if len(rows) >= FEWEST:
            values = rows[columns].to_numpy(float)
            level = resting_level(values)
            table.loc[rows.index, columns] = (values - level).clip(0.0, MAX_INTENSITY).round(INTENSITY_DECIMALS)
            track["levels"] = dict(zip(intensity_aus, level.tolist(), strict=True))
    return table, facts


def resting_notes(levels: Mapping[str, Mapping[str, Mapping[str, Any]]], *, photos: bool, intensity: bool) -> list[str]:
    """What to say where no resting level was subtracted, though it was asked for.

    Args:
        levels: By name of a video, what `subtract_resting_levels` returned of its tracks.
        photos: Whether some sources are single images.
        intensity: Whether the network predicts intensities.
    """
    if not intensity:
        return ["no resting level was subtracted: this checkpoint predicts no intensities"]
    notes = []
    if photos:
        notes.append("no resting level was subtracted from photos: it is taken from the frames of a video")
    for name, tracks in levels.items():
        few = [f"{face} ({facts['frames']} frames)" for face, facts in tracks.items() if facts["levels"] is None]
        if few:
            shown = ", ".join(few[:_SHOWN]) + (f" and {len(few) - _SHOWN} more" if len(few) > _SHOWN else "")
            faces = "face" if len(few) == 1 else "faces"
            notes.append(f"{name}: no resting level was subtracted from {faces} {shown}: it takes {FEWEST} frames")
    return notes

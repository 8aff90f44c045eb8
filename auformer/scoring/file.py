"""Scores of a predictions file, of occurrence and of intensity: what `auformer score` prints and writes as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import read_predictions
from auformer.files import read_json, write_json
from auformer.scoring.intensity import intensity_aus, score_intensity
from auformer.scoring.scores import score_predictions, scored_aus

_COPIED = ("checkpoint", "adapter", "epoch_selection", "warnings", "notice")  # of the sidecar


def score(
    predictions: str | Path | pd.DataFrame, *, by: str | None = None, out: str | Path | None = None
) -> dict[str, Any]:
    """Score a predictions file; what `auformer score` does.

    Args:
        predictions: The file, or its table as `read_predictions` gives it.
        by: Also score each value of this column by itself: `subject`, or one called `group_...`.
        out: JSON file for the scores, which replaces scores only.

    Returns:
        As `score_predictions`; under `intensity` as `score_intensity`; and in `predictions` the file, its checkpoint,
        warnings and notice. Where there is nothing to score of one of the two, it is left out.

    Raises:
        ManifestError: The file is missing or is no predictions file.
        ValueError: There is nothing to score, or `out` holds something else than scores.
    """
    known = {} if out is None or not Path(out).exists() else read_json(out) or {}
    if out is not None and Path(out).exists() and not ({"mean", "per_au"} <= known.keys() or "intensity" in known):
        raise ValueError(
            f"Expected `--json` to be a new file or one with scores, but got {out}, which holds something else."
        )
    table = predictions if isinstance(predictions, pd.DataFrame) else read_predictions(predictions)
    sidecar = table.attrs.get("side", {})
    source = {"file": table.attrs.get("path"), **{name: sidecar.get(name) for name in _COPIED}}
    graded = bool(intensity_aus(table)[0])
    scores = score_predictions(table, by=by) if scored_aus(table)[0] or not graded else {}
    scores |= {"intensity": score_intensity(table, by=by)} if graded else {}
    scores |= {"predictions": source}
    if out is not None:
        write_json(out, scores)
    return scores

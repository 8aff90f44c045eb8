"""A camera as a source: rows are written as they come, until it ends or the user does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from auformer.data.table_file import write_side
from auformer.predict.parts import LiveTable
from auformer.predict.predictor import AUPredictor
from auformer.predict.selection import Selection
from auformer.predict.sources import Source
from auformer.predict.table import predictions_side, table_columns
from auformer.predict.types import SourceEnd


def follow_camera(
    predictor: AUPredictor, source: Source, selection: Selection, path: Path, *, settings: dict[str, Any], facts: dict[str, Any]
) -> dict[str, int]:
    """Predict a camera's pictures and write the table row by row; Ctrl-C is the usual end.

    Args:
        predictor: who predicts, with a batch size of 1.
        source: the camera.
        selection: which frames.
        path: CSV table; its side file is written at the end.
        settings: as `run_settings` gives them.
        facts: `checkpoint` and `notice` for the side file.

    Returns:
        How many pictures have each status.

    Raises:
        ValueError: the camera cannot be opened or gives nothing; no table is written then.
    """
    table: LiveTable | None = None
    try:
        for item in predictor.stream([source], selection=selection):
            if isinstance(item, SourceEnd) or item.status == "unreadable":
                if table is None:
                    raise ValueError(item.message)
                break
            table = table or LiveTable(path, table_columns(predictor.au_names), predictor.thresholds)
            table.add(item)
    except KeyboardInterrupt:
        if table is None:
            raise
    finally:
        if table is not None:
            table.close()
    assert table is not None
    counts = {"sources": 1, "pictures": dict(table.pictures)}
    write_side(predictions_side(predictor, checkpoint=facts["checkpoint"], settings=settings, counts=counts, notice=facts["notice"]), path)
    return dict(table.pictures)

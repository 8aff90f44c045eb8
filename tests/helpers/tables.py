"""Small manifests and predictions as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def table(**columns: Any) -> pd.DataFrame:
    """Three faces of one video; columns given replace or add, None takes one away."""
    base: dict[str, Any] = {
        "dataset": ["bp4d"] * 3,
        "subject": ["F001"] * 3,
        "sequence": ["001", "001", "002"],
        "frame": [7, 8, 7],
        "image": ["crops/a.png", "crops/b.png", "crops/c.png"],
        "AU1": [0, 1, -1],
        "AU12": [1, 0, 0],
    }
    base |= columns
    return pd.DataFrame({name: values for name, values in base.items() if values is not None})


def predictions(**columns: Any) -> pd.DataFrame:
    given = {"image": None, "AU1": None, "AU12": None, "AU1_prob": [0.25, 0.5, 1.0], "AU1_true": [0, 1, -1]}
    return table(**(given | columns))


def text_file(folder: Path, text: str, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path

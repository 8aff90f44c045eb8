"""Decimals of the tables that this room writes."""

from __future__ import annotations

import pandas as pd

from auformer.predict.table import TIME_DECIMALS

DECIMALS = 4  # of probabilities, intensities, shares and rates [ours]


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Six decimals in columns of seconds (`..._s`), four in other columns of decimal numbers."""
    places = {
        name: TIME_DECIMALS if str(name).endswith("_s") else DECIMALS
        for name in table.columns
        if pd.api.types.is_float_dtype(table[name])
    }
    return table.round(places)

"""PSPI, the Prkachin and Solomon Pain Intensity, from action units.

    PSPI = AU4 + max(AU6, AU7) + max(AU9, AU10) + AU43

(Prkachin and Solomon, "The structure, reliability and validity of pain expression: evidence from patients with shoulder
pain", Pain 139, 2008.) AU4 to AU10 count with their intensity, 0 to 5, closed eyes as 0 or 1: the score goes from 0 to
16. UNBC-McMaster is coded for it. A prediction has the expectation of each part: the predicted intensity, and for AU43
its probability [ours].
"""

from __future__ import annotations

import pandas as pd

PSPI = "PSPI"
EYES_CLOSED = "AU43"
GRADED = ("AU4", "AU6", "AU7", "AU9", "AU10")


def pspi(levels: pd.DataFrame, closed: pd.Series) -> pd.Series:
    """The score of each row, nan where a part is not known.

    Args:
        levels: Intensities of `GRADED`, 0 to 5, in columns of their names.
        closed: Eyes closed, 0 to 1.

    Example:
        >>> levels = pd.DataFrame({"AU4": [2.0, 5.0], "AU6": [1.0, 5.0], "AU7": [3.0, 0.0], "AU9": 0.0, "AU10": 1.0})
        >>> pspi(levels, pd.Series([1, 0])).tolist()
        [7.0, 11.0]
    """
    highest = [levels[list(pair)].max(axis=1, skipna=False) for pair in (("AU6", "AU7"), ("AU9", "AU10"))]
    return levels["AU4"] + highest[0] + highest[1] + closed


def pspi_columns(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """The score from the codes and from the predictions of a predictions file; None where a column is missing."""
    needed = [f"{au}_intensity_{kind}" for au in GRADED for kind in ("true", "pred")]
    if not {*needed, f"{EYES_CLOSED}_true", f"{EYES_CLOSED}_prob"} <= {*map(str, rows.columns)}:
        return None
    tables = [
        pd.DataFrame({au: pd.to_numeric(rows[f"{au}_intensity_{kind}"]).astype(float) for au in GRADED})
        for kind in ("true", "pred")
    ]
    closed = rows[f"{EYES_CLOSED}_true"].astype(float)
    return pspi(tables[0], closed.where(closed >= 0)), pspi(tables[1], rows[f"{EYES_CLOSED}_prob"].astype(float))

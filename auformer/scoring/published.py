"""What others report: F1 per AU and its mean, each row with where it was read.

Cells that nobody published are empty and stay so. `AUFormer` has none within a domain: its tables are in no source that
we could read.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from auformer.aus import ACTION_UNITS, SHARED_BP4D_DISFA
from auformer.data.splits import dataset_id

MARK = "as published"
FLOOR_METHOD = "always positive"


@dataclass(frozen=True)
class Published:
    """One row of a paper's table."""

    protocol: str  # `within` or `cross`
    train: str  # training data
    test: str  # test data
    method: str  # as its authors call it
    f1: dict[str, float]  # AU -> F1 in [0, 1]; only what was published
    mean: float  # mean F1 in [0, 1], over `num_aus` AUs
    num_aus: int  # AUs of the protocol in that paper
    source: str  # where it was read


@cache
def read_published() -> tuple[Published, ...]:
    """All rows of the packaged table, in its order."""
    text = resources.files("auformer").joinpath("assets", "published_f1.csv").read_text(encoding="utf-8")
    rows = []
    for line in csv.DictReader(text.splitlines()):
        f1 = {name: float(value) / 100 for name, value in line.items() if name in ACTION_UNITS and value}
        num_aus = len(SHARED_BP4D_DISFA) if line["protocol"] == "cross" else len(f1)
        mean = float(line["mean"]) / 100
        rows.append(
            Published(line["protocol"], line["train"], line["test"], line["method"], f1, mean, num_aus, line["source"])
        )
    return tuple(rows)


def published_rows(protocol: str, train: str, test: str) -> list[Published]:
    """Rows of a protocol on the same data, whatever the way of writing its name.

    >>> [row.method for row in published_rows("cross", "bp4d", "disfa")]
    ['AUFormer', 'FG-Net (extra data)', 'UDCT']
    """
    names = dataset_id(train), dataset_id(test)
    return [
        row
        for row in read_published()
        if row.protocol == protocol and (dataset_id(row.train), dataset_id(row.test)) == names
    ]

"""Random draws that belong to a row's key, not to its place in a table [ours].

A draw is a function of (seed, key of the row) or (seed, key of the row, AU): neither the order of the rows, nor which others are there,
nor the number of workers changes it. BLAKE2b and splitmix64 are the same on every machine and in every version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from auformer.data.schema import KEY


def row_hashes(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """One random number per row from its key.

    Args:
        frame: Rows with the key columns.
        seed: Another seed, other numbers.

    Returns:
        uint64, `(rows,)`, uniform.
    """
    salt = f"{seed}".encode()
    rows = zip(*(frame[name].tolist() for name in KEY), strict=True)
    digests = (hashlib.blake2b(repr(row).encode(), digest_size=8, key=salt).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def au_draws(hashes: np.ndarray, au_names: Sequence[str]) -> np.ndarray:
    """One uniform number per row and AU; an AU's numbers do not depend on which others are asked for.

    Args:
        hashes: From `row_hashes`, `(rows,)`.
        au_names: Action units.

    Returns:
        float64 in [0, 1), `(rows, N)`.
    """
    units = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in au_names]
    mixed = _splitmix64(hashes[:, None] ^ np.array(units, dtype=np.uint64)[None, :])
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every output bit depends on every input bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""What groups of runs are called, on paper and on disk, and the order of folds and training sizes."""

from __future__ import annotations

import re
from typing import Any


def group_title(protocol: str, name: str, data: str, test: str) -> str:
    """Protocol and data in words."""
    words = {"within": "Within", "cross": "Cross-domain", "efficiency": "Data efficiency", "micro": "Micro-expressions"}
    where = data if test == data else f"{data} → {test}" if test else f"{data.replace('+', ', ')}, one data set left out at a time"
    return f"{words.get(protocol, protocol)}: {where}" + (f" ({name})" if name != protocol else "")


def file_name(protocol: str, name: str, data: str, test: str, taken: set[str]) -> str:
    """A file name without letters that file systems or LaTeX mind."""
    parts = [protocol, *([name] if name != protocol else []), data, *([test] if test not in (data, "") else [])]
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(parts)).strip("-.")
    number = 2
    while stem.lower() in {other.lower() for other in taken}:
        stem, number = f"{stem.removesuffix(f'-{number - 1}')}-{number}", number + 1
    return stem


def natural(value: Any) -> tuple[Any, ...]:
    """Order in which sub2 stands before sub10.

    >>> sorted(["sub10", "sub2", "P1"], key=natural)
    ['P1', 'sub2', 'sub10']
    """
    parts = value if isinstance(value, tuple) else (value,)
    texts = [re.split(r"(\d+)", str(part)) for part in parts]
    return tuple([(int(piece), "") if piece.isdigit() else (-1, piece) for piece in text] for text in texts)


def subset_order(subset: int | float | None) -> tuple[int, float]:
    """Order of training sizes: numbers of frames, then fractions, then all.

    >>> sorted([None, 0.5, 1000, 100], key=subset_order)
    [100, 1000, 0.5, None]
    """
    return (2, 0.0) if subset is None else (int(isinstance(subset, float)), float(subset))

"""Data sets with action units that this package does not read, and why; `auformer prepare --list` and the README say so."""

from __future__ import annotations

NOT_READ: dict[str, str] = {
    "gft": "GFT (Sayette Group Formation Task): 172,800 frames of 96 people with occurrence and intensity. Its annotations are at "
    "osf.io/7wcyz, its videos come from the University of Pittsburgh. How the files lie on disk was found in no public repository, and a "
    "reader would have to guess: make a table of paths and labels, and use csv.",
    "smic": "SMIC: micro-expressions with emotions only, no action units are coded.",
}


def not_read_lines() -> list[str]:
    """A line per data set, for `auformer prepare --list`."""
    return [f"not read: {text}" for text in NOT_READ.values()]

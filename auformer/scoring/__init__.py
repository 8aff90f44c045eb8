"""Scores of a predictions file: numbers, intervals, tables, where they come from, and what others have published.

Names are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.scoring.scores import score

__all__ = ["score"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from auformer.scoring import scores

    return getattr(scores, name)

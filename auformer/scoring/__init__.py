"""Scores of a predictions file: numbers, intervals, tables, where they come from, and what others have published."""

from __future__ import annotations

from auformer.scoring.file import score

__all__ = ["score"]

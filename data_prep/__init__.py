"""Readers of licensed data sets: `prepare` makes aligned crops and a manifest of a raw release, `verify` checks one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .verify.manifest import verify

if TYPE_CHECKING:
    from .pipeline.prepare import Prepared, prepare

__all__ = ["Prepared", "prepare", "verify"]


def __getattr__(name: str) -> Any:
    """Load what decodes videos when it is asked for."""
    if name in ("Prepared", "prepare"):
        from .pipeline import prepare as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

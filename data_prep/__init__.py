"""Readers of licensed data sets: `prepare` makes aligned crops and a manifest of a raw release, `verify` checks one."""

from .pipeline.prepare import Prepared, prepare
from .verify.manifest import verify

__all__ = ["Prepared", "prepare", "verify"]

"""Readers of licensed data sets, one file per raw release: `prepare` writes aligned crops and a manifest, `verify` checks one."""

from .pipeline.prepare import Prepared, prepare
from .verify.manifest import verify

__all__ = ["Prepared", "prepare", "verify"]

"""The demo: faces rendered, AUFormer and a linear probe trained and compared, and a page about them."""

from __future__ import annotations

from auformer.demo.run import run_demo

__all__ = ["run_demo"]

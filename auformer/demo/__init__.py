"""The demo: faces rendered, AUFormer and a linear probe trained and compared, and a page about them.

Names are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.demo.run import run_demo

__all__ = ["run_demo"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from auformer.demo import run

    return getattr(run, name)

"""Predictions for the programs in which faces are coded and measured: annotation files, episodes, statistics.

Names are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auformer.lazy import lazy_names

if TYPE_CHECKING:
    from auformer.annotations.export import FORMATS, Exported, export_annotations
    from auformer.annotations.summary import cooccurrence, summarise
    from auformer.annotations.videos import Person, Video, collect, episode_table

__all__ = [
    "FORMATS", "Exported", "Person", "Video", "collect", "cooccurrence", "episode_table", "export_annotations",
    "summarise",
]  # fmt: skip
__getattr__, __dir__ = lazy_names(__name__, {
    "export": ["FORMATS", "Exported", "export_annotations"], "summary": ["cooccurrence", "summarise"],
    "videos": ["Person", "Video", "collect", "episode_table"],
})  # fmt: skip

"""Rendered faces whose action units are known.

Identities, muscles, light, two labs, clips, and data sets made of them.
"""

from __future__ import annotations

from auformer.synthetic.dense import CHANNELS
from auformer.synthetic.identity import Identity
from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.renderer import Face, Rendered, Renderer
from auformer.synthetic.sampling import LABS, facs_level, lab_table, sample_aus, sample_scene

__all__ = [
    "AU_NAMES", "CHANNELS", "LABS", "Face", "Identity", "Rendered", "Renderer", "facs_level", "lab_table",
    "sample_aus", "sample_scene",
]  # fmt: skip

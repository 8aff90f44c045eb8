"""One set of figures for every command: bars of F1, training curves, faces with their action units.

All figures are matplotlib ``Figure`` objects on an Agg canvas (no pyplot, no global state), in the colours of Okabe and Ito,
which colour-blind readers can tell apart; nothing is said by colour alone. AUs always stand in numerical order under one label.
"""

from __future__ import annotations

from auformer.plots.faces import blend_evidence, face_grid
from auformer.plots.photo import au_bars
from auformer.plots.scores import f1_bars, read_training_log, training_curves
from auformer.plots.style import THEMES, au_label, au_order, image_bytes, save_png

__all__ = [
    "THEMES",
    "au_bars",
    "au_label",
    "au_order",
    "blend_evidence",
    "f1_bars",
    "face_grid",
    "image_bytes",
    "read_training_log",
    "save_png",
    "training_curves",
]

"""One set of figures for every command: scores of methods, training curves, faces with their action units.

All figures are matplotlib ``Figure`` objects on an Agg canvas (no pyplot, no global state), in the colours of Okabe and Ito,
which colour-blind readers can tell apart; nothing is said by colour alone. AUs always stand in numerical order under one label.
"""

from __future__ import annotations

from auformer.plots.cross_matrix import cross_matrix
from auformer.plots.faces import blend_evidence, face_grid
from auformer.plots.photo import au_bars
from auformer.plots.reliability import reliability_diagram
from auformer.plots.scores import MEAN, f1_bars, read_training_log, training_curves
from auformer.plots.style import THEMES, au_label, au_order, copy_layout, image_bytes, save_png
from auformer.plots.training_size import training_size_curves

__all__ = [
    "MEAN",
    "THEMES",
    "au_bars",
    "au_label",
    "au_order",
    "blend_evidence",
    "copy_layout",
    "cross_matrix",
    "f1_bars",
    "face_grid",
    "image_bytes",
    "read_training_log",
    "reliability_diagram",
    "save_png",
    "training_curves",
    "training_size_curves",
]

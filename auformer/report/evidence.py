"""Where the experts looked: one face per AU under its evidence map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from auformer.aus import ACTION_UNITS
from auformer.report.faces import blend_evidence
from auformer.report.style import GUTTER, LINE, SMALL, THEMES, WIDTH, add_headline, au_order, new_figure, place_axes, place_text

COLUMNS = 4  # faces side by side [ours]


class Evidence(NamedTuple):
    """One AU on one face.

    Args:
        crop: the aligned face, uint8 RGB ``(S, S, 3)``.
        evidence: ``(h, w)`` map, 0 or more.
        note: one short line below it, such as probability and time.
    """

    crop: np.ndarray
    evidence: np.ndarray
    note: str


def evidence_grid(faces: Mapping[str, Evidence], *, title: str | None = None, footer: str | None = None, theme: str = "light") -> Figure:
    """Draw a face with its evidence map per AU, every map on a scale of its own.

    Args:
        faces: AU -> face and map.
        title: text above the figure.
        footer: small text below it; lines of at most 90 characters.
        theme: "light" or "dark".

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: without faces.
    """
    if not faces:
        raise ValueError("Expected `faces` to hold at least one action unit, but got none.")
    inks, names, side = THEMES[theme], au_order(faces), (WIDTH - GUTTER * (COLUMNS + 1)) / COLUMNS
    header, cell = 0.45 * bool(title) + 0.1, side + 0.58
    notes = LINE * (1 + footer.count("\n")) + 0.1 if footer else 0.0
    height = header + math.ceil(len(names) / COLUMNS) * cell + notes
    figure = new_figure(height, theme=theme, layout=None)
    for place, name in enumerate(names):
        left, top = GUTTER + place % COLUMNS * (side + GUTTER), header + place // COLUMNS * cell
        axes = place_axes(figure, left, top + 0.2, side, side)
        axes.imshow(blend_evidence(faces[name].crop, faces[name].evidence), interpolation="lanczos", aspect="auto")
        axes.axis("off")
        place_text(figure, left, top + 0.02, name, fontsize=SMALL, color=inks["ink"], weight="bold")
        words = f"{ACTION_UNITS[name].name}\n{faces[name].note}"
        place_text(figure, left, top + 0.22 + side, words, fontsize=SMALL - 1.5, color=inks["quiet"], linespacing=1.25)
    add_headline(figure, title, theme=theme)
    if footer:
        place_text(figure, GUTTER, height - notes, footer, fontsize=SMALL - 1, color=inks["quiet"], linespacing=1.4)
    return figure

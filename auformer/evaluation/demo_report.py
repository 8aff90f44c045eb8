"""Figures and page of `auformer demo`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from auformer.evaluation.demo import COMMITTED, METHODS, TITLES, Results, method_label, results_table
from auformer.evaluation.tables import Table, percent
from auformer.plots import au_label, au_order, f1_bars, face_grid, image_bytes, training_curves
from auformer.report import Section, build_report, code, figure, paragraph, responsible_use, table

Draw = Callable[[str], Figure]


class Gallery(NamedTuple):
    """Faces of the grid.

    Args:
        images: uint8 RGB `(K, S, S, 3)`.
        au_names: N names.
        truth: `(K, N)` labels.
        probs: `(K, N)` probabilities.
        maps: `(K, h, w)` evidence, one map per face.
        captions: K lines.
    """

    images: np.ndarray
    au_names: Sequence[str]
    truth: np.ndarray
    probs: np.ndarray
    maps: np.ndarray
    captions: Sequence[str]


def demo_figures(results: Results, logs: Mapping[str, pd.DataFrame], gallery: Gallery) -> dict[str, Draw]:
    """File name -> function that draws the figure in a theme.

    Args:
        results: As `demo_results` gives them.
        logs: label -> training log.
        gallery: Faces of the grid.
    """

    def bars(part: str) -> Draw:
        methods = [method for method in METHODS if method != "always_positive"]
        scores = {method_label(method): results[part][method]["f1"] for method in methods}
        floor, hatched = results[part]["always_positive"]["f1"], {method_label("full_finetuning")}
        return lambda theme: f1_bars(scores, floor=floor, hatched=hatched, theme=theme)

    return {
        "f1_lab_a.png": bars("lab_a"),
        "f1_lab_b.png": bars("lab_b"),
        "training.png": lambda theme: training_curves(logs, theme=theme),
        "faces.png": lambda theme: face_grid(
            gallery.images, gallery.au_names, gallery.truth, gallery.probs, maps=gallery.maps, captions=gallery.captions, theme=theme
        ),
    }


def demo_page(
    results: Results,
    committed: Mapping[str, object],
    figures: Mapping[str, Draw],
    *,
    notes: Sequence[str],
    lead: str,
    config: str,
    footer: str,
) -> str:
    """The page `report.html`.

    Args:
        results: As `demo_results` gives them.
        committed: As `read_committed` gives it.
        figures: As `demo_figures` gives them.
        notes: Lines below the first table.
        lead: What was done, in a sentence or two.
        config: Text of `config.yaml`.
        footer: Text at the end.
    """
    first = results_table(results, committed, notes=notes)

    def picture(name: str, alt: str, caption: str) -> str:
        kind = "webp" if name == "faces.png" else "png"
        light, dark = (image_bytes(figures[name](theme), kind) for theme in ("light", "dark"))
        return figure(light, dark, alt=alt, caption=caption)

    bars = f"Bars: F1 x 100 per action unit and their mean. Black or white marks: always positive. Hatched and {COMMITTED}: not trained in this run."
    curves = "Loss and mean F1 on faces of subjects that were held out of training; the epoch with the highest F1 is kept."
    faces = (
        "For each action unit one test face that shows it, drawn by chance. Beside it, where the expert of that action unit acted most, on a "
        "scale of its own. Below, the numbers of the action units that AUFormer found, missed and saw falsely, at a probability of 0.5."
    )
    sections = [
        Section("Result", [_html(first, "Means over action units, x 100"), responsible_use(rendered_only=True)], wide=True),
        Section("F1 per action unit, lab A", [picture("f1_lab_a.png", _alt(results, "lab_a"), bars)]),
        Section("F1 per action unit, lab B", [picture("f1_lab_b.png", _alt(results, "lab_b"), bars)]),
        Section("Training", [picture("training.png", "Curves of loss and validation F1 over the epochs of each training", curves)]),
        Section("Faces", [picture("faces.png", "Grid of rendered faces with evidence maps and the action units found on each", faces)]),
        Section("Numbers, lab A", [_per_au(results, "lab_a")]),
        Section("Numbers, lab B", [_per_au(results, "lab_b")]),
        Section("Settings", [paragraph("The content of config.yaml:"), code(config, "Settings of this run")]),
    ]
    return build_report("AUFormer on rendered faces", sections, lead=lead, footer=footer)


def _html(model: Table, caption: str) -> str:
    """A table of `evaluation.tables` on a page."""
    return table([name[:1].upper() + name[1:] for name in model.header], [*model.rows, *model.footer], caption=caption, notes=model.notes)


def _per_au(results: Results, part: str) -> str:
    """F1 per AU with AUs as rows, which a phone can show."""
    names = au_order(results[part]["auformer"]["f1"])
    rows = [[au_label(au), *(percent(results[part][method]["f1"][au]) for method in METHODS)] for au in names]
    rows.append(["Mean", *(percent(results[part][method]["mean_f1"]) for method in METHODS)])
    return table(["Action unit", *(method_label(method) for method in METHODS)], rows, caption=f"{TITLES[part]}: F1 x 100")


def _alt(results: Results, part: str) -> str:
    """Words for the bars: the means; the values are in the table."""
    means = ", ".join(f"{method_label(method)} {percent(results[part][method]['mean_f1'])}" for method in METHODS)
    return f"Bars of F1 per action unit, {TITLES[part]}. Means x 100: {means}. The values stand in the table below."

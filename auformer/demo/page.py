"""Figures and page of `auformer demo`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auformer.aus import SHARED_BP4D_DISFA
from auformer.data.manifest import predicted_aus
from auformer.demo.results import (
    COMMITTED,
    DATASETS,
    LABELS,
    METHODS,
    TITLES,
    Results,
    demo_results,
    lab_table,
    method_label,
    results_table,
)
from auformer.files import atomic_path, write_json, write_text
from auformer.report import html
from auformer.report.faces import face_grid
from auformer.report.scores import f1_bars, read_training_log, training_curves
from auformer.report.style import au_label, au_order, image_bytes, save_png
from auformer.report.table import Table
from auformer.scoring.tables import percent
from auformer.workspace import yaml_text

FAST_NOTE = (
    "The fast form: far fewer faces and epochs than the full demo, so these scores are lower than what the method "
    "reaches."
)
FILES = (
    "report.html", "table.md", "metrics.json", "predictions.csv", "predictions.json", "adapter.safetensors",
    "config.yaml", "f1_lab_a.png", "f1_lab_b.png", "training.png", "faces.png",
)  # fmt: skip
Draw = Callable[[str], Any]  # theme -> matplotlib figure


class Outcome(NamedTuple):
    """Predictions on the test faces, number of trained parameters, adapter file, training log, seconds of training."""

    predictions: pd.DataFrame
    trainable: int
    adapter: Path
    log: Path
    seconds: float


class Gallery(NamedTuple):
    """Faces of the grid."""

    images: np.ndarray  # uint8 RGB `(K, S, S, 3)`
    au_names: Sequence[str]  # N names
    truth: np.ndarray  # `(K, N)` labels
    probs: np.ndarray  # `(K, N)` probabilities
    maps: np.ndarray  # `(K, h, w)` evidence, one map per face
    captions: Sequence[str]  # K lines


def demo_figures(results: Results, logs: Mapping[str, pd.DataFrame], gallery: Gallery) -> dict[str, Draw]:
    """File name -> function that draws the figure in a theme; `logs` are training logs by label."""

    def bars(lab: str) -> Draw:
        methods = [method for method in METHODS if method != "always_positive"]
        scores = {method_label(method): results[lab][method]["f1"] for method in methods}
        floor, hatched = results[lab]["always_positive"]["f1"], {method_label("full_finetuning")}
        return lambda theme: f1_bars(scores, floor=floor, hatched=hatched, theme=theme)

    one = gallery
    grid: dict[str, Any] = {"maps": one.maps, "captions": one.captions}
    return {
        "f1_lab_a.png": bars("lab_a"),
        "f1_lab_b.png": bars("lab_b"),
        "training.png": lambda theme: training_curves(logs, theme=theme),
        "faces.png": lambda theme: face_grid(one.images, one.au_names, one.truth, one.probs, **grid, theme=theme),
    }


def write_demo(
    folder: Path,
    outcomes: Mapping[str, Outcome],
    committed: Mapping[str, Any],
    gallery: Gallery,
    config: Mapping[str, Any],
) -> str:
    """Write everything that a demo shows, the page last; returns the table for the terminal."""
    predictions = {method: outcome.predictions for method, outcome in outcomes.items()}
    results = demo_results(predictions, {method: outcome.trainable for method, outcome in outcomes.items()}, committed)
    logs = {LABELS[method]: read_training_log(outcome.log) for method, outcome in outcomes.items()}
    figures = demo_figures(results, logs, gallery)
    lead, notes = _lead(config), _notes(config, predictions["auformer"])
    write_json(folder / "metrics.json", results)
    with atomic_path(folder / "adapter.safetensors") as temporary:
        shutil.copyfile(outcomes["auformer"].adapter, temporary)
    first = results_table(results, committed, both_heads=config["methods"]["auformer"]["average_heads"], notes=notes)
    write_text(folder / "table.md", _markdown(first, results, lead))
    shown = {name: _write_figure(draw, folder / name) for name, draw in figures.items()}
    times = ", ".join(f"{LABELS[method]} {outcome.seconds:.0f} s" for method, outcome in outcomes.items())
    footer = f"auformer {config['package_version']}, seed {config['seed']}. Training took: {times}."
    page = demo_page(results, first, shown, lead=lead, config=yaml_text(config), footer=footer)
    write_text(folder / "report.html", page)
    return first.text()


def _lead(config: Mapping[str, Any]) -> str:
    """What was done, in plain sentences."""
    train, test = config["faces"]["train"], config["faces"]["test_a"]
    images, tested = train["faces"] * train["pictures_each"], test["faces"] * test["pictures_each"]
    fast = FAST_NOTE + " " if config["fast"] else ""
    return (
        f"{fast}Two AU detectors were trained on {images:,} rendered images of {train['faces']} faces of lab A, above "
        f"the same frozen vision transformer, and tested on {tested:,} images of {test['faces']} other faces of each "
        "of two labs."
    )


def _notes(config: Mapping[str, Any], predictions: pd.DataFrame) -> list[str]:
    """What stands below the first table."""
    shared = ", ".join(au for au in predicted_aus(predictions) if au in SHARED_BP4D_DISFA)
    heads = "the mean of both heads" if config["methods"]["auformer"]["average_heads"] else "the main head"
    notes = [
        f"Means over {len(config['au_names'])} action units, x 100, F1 at a probability of 0.5. A: the lab of the "
        f"training faces; B: a lab never trained on; B shared: over {shared} only. Trained: number of trained "
        f"parameters. AUFormer predicts by {heads}."
    ]
    return [*notes, *([FAST_NOTE] if config["fast"] else []), html.RENDERED_ONLY]


def _markdown(first: Table, results: Results, lead: str) -> str:
    """The content of `table.md`."""
    tables = [first, *(lab_table(results, lab) for lab in DATASETS)]
    blocks = ["# AUFormer on rendered faces", lead, *(table.markdown() for table in tables), *html.RESPONSIBLE_USE]
    return "\n\n".join(blocks) + "\n"


def _write_figure(draw: Draw, path: Path) -> tuple[bytes, bytes]:
    """Write a figure as a PNG file; returns what the page shows by day and by night: faces as WebP, far smaller so."""
    light, kind = draw("light"), "webp" if path.stem == "faces" else "png"
    save_png(light, path)
    return path.read_bytes() if kind == "png" else image_bytes(light, kind), image_bytes(draw("dark"), kind)


def demo_page(
    results: Results, first: Table, figures: Mapping[str, tuple[bytes, bytes]], *, lead: str, config: str, footer: str
) -> str:
    """The page `report.html`; `first` is the main table, `figures` are image files by day and by night."""

    def shown(name: str, alt: str, caption: str) -> list[str]:
        return [html.figure(*figures[name], alt=alt, caption=caption)]

    marks = f"Upright marks: always positive. Hatched and {COMMITTED}: not trained in this run."
    bars = f"F1 x 100 per action unit and their mean. {marks}"
    curves = (
        "Loss and mean F1 on faces of subjects that were held out of training; the epoch with the highest F1 is kept."
    )
    faces = (
        "For each action unit one test face that shows it, drawn by chance. Beside it, where the expert of that action "
        "unit acted most, on a scale of its own; that need not be where the face moves, because every patch of a "
        "transformer has seen the others. Below, the numbers of the action units that AUFormer found, missed and saw "
        "falsely, at a probability of 0.5."
    )
    grid = "Grid of rendered faces with evidence maps and the action units found on each"
    learnt = "Curves of loss and validation F1 over the epochs of each training"
    main = [_html(first, "Means over action units, x 100"), html.responsible_use(html.RENDERED_ONLY)]
    sections = [
        html.Section("Result", main, wide=True),
        html.Section("F1 per action unit, lab A", shown("f1_lab_a.png", _alt(results, "lab_a"), bars)),
        html.Section("F1 per action unit, lab B", shown("f1_lab_b.png", _alt(results, "lab_b"), bars)),
        html.Section("Training", shown("training.png", learnt, curves)),
        html.Section("Faces", shown("faces.png", grid, faces)),
        html.Section("Numbers, lab A", [_per_au(results, "lab_a")]),
        html.Section("Numbers, lab B", [_per_au(results, "lab_b")]),
        html.Section(
            "Settings", [html.paragraph("The content of config.yaml:"), html.code(config, "Settings of this run")]
        ),
    ]
    return html.build_report("AUFormer on rendered faces", sections, lead=lead, footer=footer)


def _html(model: Table, caption: str) -> str:
    """The table of `results_table` on a page, without the notes that stand elsewhere on it."""
    notes = [note for note in model.notes if note not in (FAST_NOTE, html.RENDERED_ONLY)]
    rows = [[*row[:-1], _compact(int(row[-1].replace(",", "")))] for row in model.rows]
    return html.table(Table([name[:1].upper() + name[1:] for name in model.header], rows, title=caption, notes=notes))


def _compact(number: int) -> str:
    """A number of parameters in the width of a phone.

    >>> _compact(2_815_572), _compact(362_952), _compact(2_316), _compact(0)
    ('2.82 M', '363 k', '2.3 k', '0')
    """
    if number >= 1_000_000:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.{0 if number >= 10_000 else 1}f} k" if number >= 1_000 else str(number)


def _per_au(results: Results, lab: str) -> str:
    """F1 per AU with AUs as rows, which a phone can show."""
    names = au_order(results[lab]["auformer"]["f1"])
    rows = [[au_label(au), *(percent(results[lab][method]["f1"][au]) for method in METHODS)] for au in names]
    rows.append(["Mean", *(percent(results[lab][method]["mean_f1"]) for method in METHODS)])
    header = ["Action unit", *(method_label(method) for method in METHODS)]
    return html.table(Table(header, rows, title=f"{TITLES[lab]}: F1 x 100"))


def _alt(results: Results, lab: str) -> str:
    """Words for the bars: the means; the values are in the table."""
    means = ", ".join(f"{method_label(method)} {percent(results[lab][method]['mean_f1'])}" for method in METHODS)
    return f"Bars of F1 per action unit, {TITLES[lab]}. Means x 100: {means}. The values stand in the table below."

"""Figures and page of `auformer demo`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auformer.aus import SHARED_BP4D_DISFA
from auformer.data.manifest import predicted_aus
from auformer.demo.folder import DemoFolder, config_text
from auformer.demo.results import (
    COMMITTED,
    LABELS,
    METHODS,
    TITLES,
    Results,
    demo_results,
    method_label,
    per_au_table,
    results_table,
)
from auformer.files import atomic_path, write_text
from auformer.report.faces import face_grid
from auformer.report.html import (
    RENDERED_ONLY,
    RESPONSIBLE_USE,
    Section,
    build_report,
    code,
    figure,
    paragraph,
    responsible_use,
    table,
)
from auformer.report.scores import f1_bars, read_training_log, training_curves
from auformer.report.style import au_label, au_order, image_bytes, save_png
from auformer.scoring.tables import Table, percent

FAST_NOTE = "The fast form: far fewer faces and epochs than the full demo, so these scores are lower than what the method reaches."
Draw = Callable[[str], Any]  # theme -> matplotlib figure


class Outcome(NamedTuple):
    """What training a method has come to.

    Args:
        predictions: Predictions on the test faces of both labs.
        trainable: Number of trained parameters.
        adapter: The adapter file.
        log: Its training log.
        seconds: How long it trained.
    """

    predictions: pd.DataFrame
    trainable: int
    adapter: Path
    log: Path
    seconds: float


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
            gallery.images,
            gallery.au_names,
            gallery.truth,
            gallery.probs,
            maps=gallery.maps,
            captions=gallery.captions,
            theme=theme,
        ),
    }


def write_demo(
    folder: DemoFolder,
    outcomes: Mapping[str, Outcome],
    committed: Mapping[str, Any],
    gallery: Gallery,
    config: Mapping[str, Any],
) -> str:
    """Write everything that a demo shows, the page last.

    Args:
        folder: Where to.
        outcomes: method -> what it has come to.
        committed: As `read_committed` gives it.
        gallery: Faces of the grid.
        config: Settings of the demo.

    Returns:
        The table for the terminal.
    """
    predictions = {method: outcome.predictions for method, outcome in outcomes.items()}
    results = demo_results(predictions, {method: outcome.trainable for method, outcome in outcomes.items()}, committed)
    logs = {LABELS[method]: read_training_log(outcome.log) for method, outcome in outcomes.items()}
    figures = demo_figures(results, logs, gallery)
    lead, notes = _lead(config), _notes(config, predictions["auformer"])
    write_text(folder.file("metrics.json"), json.dumps(results, indent=2, allow_nan=False) + "\n")
    with atomic_path(folder.file("adapter.safetensors")) as temporary:
        shutil.copyfile(outcomes["auformer"].adapter, temporary)
    first = results_table(results, committed, both_heads=config["methods"]["auformer"]["average_heads"], notes=notes)
    write_text(folder.file("table.md"), _markdown(first, results, lead))
    pictures = {name: _write_pictures(draw, folder.file(name)) for name, draw in figures.items()}
    times = ", ".join(f"{LABELS[method]} {outcome.seconds:.0f} s" for method, outcome in outcomes.items())
    footer = f"auformer {config['package_version']}, seed {config['seed']}. Training took: {times}."
    page = demo_page(results, first, pictures, lead=lead, config=config_text(config), footer=footer)
    write_text(folder.file("report.html"), page)
    return first.text()


def _lead(config: Mapping[str, Any]) -> str:
    """What was done, in plain sentences."""
    train, test = config["faces"]["train"], config["faces"]["test_a"]
    pictures, tested = train["faces"] * train["pictures_each"], test["faces"] * test["pictures_each"]
    fast = FAST_NOTE + " " if config["fast"] else ""
    return (
        f"{fast}Two detectors of action units were trained on {pictures:,} rendered pictures of {train['faces']} faces of lab A, above the "
        f"same frozen vision transformer, and tested on {tested:,} pictures of {test['faces']} other faces of each of two labs."
    )


def _notes(config: Mapping[str, Any], predictions: pd.DataFrame) -> list[str]:
    """What stands below the first table."""
    shared = ", ".join(au for au in predicted_aus(predictions) if au in SHARED_BP4D_DISFA)
    heads = "the mean of both heads" if config["methods"]["auformer"]["average_heads"] else "the main head"
    notes = [
        f"Means over {len(config['au_names'])} action units, x 100, F1 at a probability of 0.5. A: the lab of the training faces; B: a lab "
        f"never trained on; B shared: over {shared} only. Trained: number of trained parameters. AUFormer predicts by {heads}."
    ]
    return [*notes, *([FAST_NOTE] if config["fast"] else []), RENDERED_ONLY]


def _markdown(first: Table, results: Results, lead: str) -> str:
    """The content of `table.md`."""
    tables = [first, *(per_au_table(results, part) for part in ("lab_a", "lab_b", "lab_b_shared"))]
    return (
        "\n\n".join(["# AUFormer on rendered faces", lead, *(table.markdown() for table in tables), *RESPONSIBLE_USE])
        + "\n"
    )


def _write_pictures(draw: Draw, path: Path) -> tuple[bytes, bytes]:
    """Write a figure as a PNG file, and return what the page shows by day and by night: WebP where it is full of faces, far smaller so."""
    light, kind = draw("light"), "webp" if path.stem == "faces" else "png"
    save_png(light, path)
    return path.read_bytes() if kind == "png" else image_bytes(light, kind), image_bytes(draw("dark"), kind)


def demo_page(
    results: Results, first: Table, pictures: Mapping[str, tuple[bytes, bytes]], *, lead: str, config: str, footer: str
) -> str:
    """The page `report.html`.

    Args:
        results: As `demo_results` gives them.
        first: As `results_table` gives it.
        pictures: File name -> image file by day and by night.
        lead: What was done, in a sentence or two.
        config: Text of `config.yaml`.
        footer: Text at the end.
    """

    def picture(name: str, alt: str, caption: str) -> str:
        return figure(*pictures[name], alt=alt, caption=caption)

    bars = f"F1 x 100 per action unit and their mean. Upright marks: always positive. Hatched and {COMMITTED}: not trained in this run."
    curves = (
        "Loss and mean F1 on faces of subjects that were held out of training; the epoch with the highest F1 is kept."
    )
    faces = (
        "For each action unit one test face that shows it, drawn by chance. Beside it, where the expert of that action unit acted most, on "
        "a scale of its own; that need not be where the face moves, because every patch of a transformer has seen the others. Below, the "
        "numbers of the action units that AUFormer found, missed and saw falsely, at a probability of 0.5."
    )
    sections = [
        Section(
            "Result", [_html(first, "Means over action units, x 100"), responsible_use(rendered_only=True)], wide=True
        ),
        Section("F1 per action unit, lab A", [picture("f1_lab_a.png", _alt(results, "lab_a"), bars)]),
        Section("F1 per action unit, lab B", [picture("f1_lab_b.png", _alt(results, "lab_b"), bars)]),
        Section(
            "Training",
            [picture("training.png", "Curves of loss and validation F1 over the epochs of each training", curves)],
        ),
        Section(
            "Faces",
            [
                picture(
                    "faces.png", "Grid of rendered faces with evidence maps and the action units found on each", faces
                )
            ],
        ),
        Section("Numbers, lab A", [_per_au(results, "lab_a")]),
        Section("Numbers, lab B", [_per_au(results, "lab_b")]),
        Section("Settings", [paragraph("The content of config.yaml:"), code(config, "Settings of this run")]),
    ]
    return build_report("AUFormer on rendered faces", sections, lead=lead, footer=footer)


def _html(model: Table, caption: str) -> str:
    """The table of `results_table` on a page, without the notes that stand elsewhere on it."""
    notes = [note for note in model.notes if note not in (FAST_NOTE, RENDERED_ONLY)]
    rows = [[*row[:-1], _compact(int(row[-1].replace(",", "")))] for row in model.rows]
    return table([name[:1].upper() + name[1:] for name in model.header], rows, caption=caption, notes=notes)


def _compact(number: int) -> str:
    """A number of parameters in the width of a phone.

    >>> _compact(2_815_572), _compact(362_952), _compact(2_316), _compact(0)
    ('2.82 M', '363 k', '2.3 k', '0')
    """
    if number >= 1_000_000:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.{0 if number >= 10_000 else 1}f} k" if number >= 1_000 else str(number)


def _per_au(results: Results, part: str) -> str:
    """F1 per AU with AUs as rows, which a phone can show."""
    names = au_order(results[part]["auformer"]["f1"])
    rows = [[au_label(au), *(percent(results[part][method]["f1"][au]) for method in METHODS)] for au in names]
    rows.append(["Mean", *(percent(results[part][method]["mean_f1"]) for method in METHODS)])
    return table(
        ["Action unit", *(method_label(method) for method in METHODS)], rows, caption=f"{TITLES[part]}: F1 x 100"
    )


def _alt(results: Results, part: str) -> str:
    """Words for the bars: the means; the values are in the table."""
    means = ", ".join(f"{method_label(method)} {percent(results[part][method]['mean_f1'])}" for method in METHODS)
    return f"Bars of F1 per action unit, {TITLES[part]}. Means x 100: {means}. The values stand in the table below."

"""Everything that a benchmark shows: tables in four forms, figures, and one page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from auformer import __version__
from auformer.benchmark.cells import TEST_NOTE, size_text
from auformer.benchmark.fold_scores import GroupScorer, MethodScores, add_rank_draws
from auformer.benchmark.groups import Line, group_lines, subset_order
from auformer.benchmark.intensity import IntensityScorer
from auformer.benchmark.intensity_tables import intensity_tables
from auformer.benchmark.tables import Matrix, cross_matrix_of, group_tables, matrix_table, summary_table
from auformer.files import atomic_path, write_text
from auformer.metrics import add_bins
from auformer.report.html import RENDERED_ONLY, Section, build_report, figure, paragraph, responsible_use, table
from auformer.report.scores import MEAN, cross_matrix, f1_bars, reliability_diagram, training_size_curves
from auformer.report.style import copy_layout, image_bytes
from auformer.report.table import Table
from auformer.scoring.tables import agreement_cell

DRAWS = 1000  # [ours]: the ends of a 95 % interval then rest on 25 draws each
SHOWN = 6  # methods in one figure: as many as there are colours that everyone can tell apart
LONG = 60  # rows; longer tables stand in their files only [ours]
RENDERED = "synthetic_"  # how the data sets of the renderer are called
Images = Mapping[str, tuple[bytes, bytes]]


class Figure(NamedTuple):
    """One figure."""

    name: str  # stem of its file
    heading: str  # what it shows
    caption: str  # what its marks mean
    alt: str  # what it shows, for those who cannot see it
    draw: Callable[[str], Any]  # theme -> matplotlib figure


class Chapter(NamedTuple):
    """What the page says about one group, or about all of them; the main table and figure first."""

    heading: str
    tables: Sequence[Table]
    figures: Sequence[Figure]


def write_results(
    lines: Sequence[Line],
    out: str | Path,
    *,
    bootstraps: int = DRAWS,
    seed: int = 0,
    rank_predictions: Mapping[str, Path] | None = None,
) -> Path:
    """Write `tables/NAME.{txt,md,tex,csv}`, `figures/*.png` and `report.html`; each is replaced whole, the page last.

    The order of the lines of `runs.jsonl` does not matter. Intervals rest on `bootstraps` draws of subjects; those of
    AUROC and AP, which the lines alone do not give, need the predictions file of each line's key in `rank_predictions`.

    Returns:
        The page.

    Raises:
        ValueError: There are no lines, one is damaged, or a predictions file is not the one that a line was made from.
    """
    out = Path(out)
    scorers = [GroupScorer(group, draws=bootstraps, seed=seed) for group in group_lines(lines)]
    for scorer in scorers if rank_predictions is not None else ():
        add_rank_draws(scorer, rank_predictions or {})
    matrix = cross_matrix_of(scorers)
    tables = [summary_table(scorers), *([] if matrix is None else [matrix_table(matrix)])]
    chapters = [Chapter("All experiments", tables, [] if matrix is None else [matrix_figure(matrix)])]
    for scorer in scorers:
        graded = IntensityScorer(scorer)
        tables = [*group_tables(scorer), *intensity_tables(graded)]
        figures = [*group_figures(scorer), *([_intensity_figure(graded)] if graded.ranked else [])]
        chapters.append(Chapter(scorer.group.title, tables, figures))
    for one in (one for chapter in chapters for one in chapter.tables):
        one.write(out / "tables")
    images = {one.name: _write_figure(one, out / "figures") for chapter in chapters for one in chapter.figures}
    write_text(out / "report.html", report_page(lines, chapters, images))
    return out / "report.html"


def _write_figure(one: Figure, folder: Path) -> tuple[bytes, bytes]:
    """Write a figure as a PNG file; returns what the page shows by day and by night."""
    light, dark = one.draw("light"), one.draw("dark")
    image = image_bytes(light)
    copy_layout(light, dark)
    with atomic_path(folder / f"{one.name}.png") as temporary:
        temporary.write_bytes(image)
    return image, image_bytes(dark)


def group_figures(scorer: GroupScorer) -> list[Figure]:
    """The figures of a group: F1 over training size, or per AU; and reliability."""
    if scorer.group.protocol == "efficiency":
        return [_size_figure(scorer)]
    return [_bars_figure(scorer), _reliability_figure(scorer)]


def matrix_figure(matrix: Matrix) -> Figure:
    """Train × test."""
    values = {_plain(label): numbers for label, numbers in matrix.values.items()}
    note = TEST_NOTE if matrix.on_test else None
    text = f"Mean F1 x 100 over {', '.join(matrix.au_names)}. Rows: trained on; columns: tested on."
    return Figure(
        "cross-matrix",
        "Trained on one, tested on another",
        text,
        f"{text} The values stand in the table cross-matrix.",
        lambda theme: cross_matrix(values, matrix.train, matrix.test, footnote=note, theme=theme),
    )


def _bars_figure(scorer: GroupScorer) -> Figure:
    """F1 per AU of the best methods, with intervals and floor."""
    group, shown = scorer.group, scorer.ranked[:SHOWN]
    scores, ends = {}, {}
    for one in shown:
        label = _plain(one.method.label)
        scores[label] = dict(zip(group.au_names, one.f1.values.tolist(), strict=True))
        found = {**dict(zip(group.au_names, one.f1.intervals(), strict=True)), MEAN: one.f1.mean_interval()}
        ends[label] = {au: (value.low, value.high) for au, value in found.items() if value is not None and value.num}
    floor = dict(zip(group.au_names, scorer.fullest.scores["floor"].values.tolist(), strict=True))
    marks = "thin lines: 95 % intervals over subjects; upright marks: always positive."
    return Figure(
        group.name,
        f"{group.title}: F1 per action unit",
        f"F1 × 100 per action unit and their mean; {marks}{_left_out(scorer)}",
        f"Bars of F1 per action unit. {_means(shown)} The values stand in the table {group.name}.",
        lambda theme: f1_bars(scores, floor=floor, intervals=ends, footnote=_note(shown), theme=theme),
    )


def _intensity_figure(scorer: IntensityScorer) -> Figure:
    """ICC per AU of the best methods, with intervals."""
    group, shown = scorer.scorer.group, scorer.ranked[:SHOWN]
    scores, ends = {}, {}
    for one in shown:
        label = _plain(one.method.label)
        scores[label] = dict(zip(scorer.au_names, one.icc.values.tolist(), strict=True))
        found = {**dict(zip(scorer.au_names, one.icc.intervals(), strict=True)), MEAN: one.icc.mean_interval()}
        ends[label] = {au: (value.low, value.high) for au, value in found.items() if value is not None and value.num}
    note = TEST_NOTE if any(one.method.on_test for one in shown) else None
    means = ", ".join(f"{one.method.label} {agreement_cell(one.icc.mean.value)}" for one in shown)
    return Figure(
        f"{group.name}-intensity",
        f"{group.title}: ICC of intensities per action unit",
        "ICC(3,1) × 100 of coded and predicted intensities per action unit and their mean; thin lines: 95 % intervals "
        f"over subjects; below 0 there is no bar.{_left_out(scorer.scorer)}",
        f"Bars of ICC per action unit. Means: {means}. The values stand in the table {group.name}-intensity.",
        lambda theme: f1_bars(
            scores, intervals=ends, axis="ICC(3,1) x 100", undefined="codes do not differ", footnote=note, theme=theme
        ),
    )


def _reliability_figure(scorer: GroupScorer) -> Figure:
    """Reliability over all AUs of the best methods."""
    group, shown = scorer.group, scorer.ranked[:SHOWN]
    bins = {_plain(one.method.label): add_bins(list(one.bins)) for one in shown}
    errors = ", ".join(f"{one.method.label} {_text(one.scores['ece'].mean.value)}" for one in shown)
    errors = f"Expected calibration error × 100: {errors}."
    return Figure(
        f"{group.name}-reliability",
        f"{group.title}: reliability",
        f"All action units together, in ten bins; the larger a mark, the more rows. {errors}{_left_out(scorer)}",
        f"Rate of positives over predicted probability. {errors}",
        lambda theme: reliability_diagram(bins, footnote=_note(shown), theme=theme),
    )


def _size_figure(scorer: GroupScorer) -> Figure:
    """Mean F1 over the size of the training set."""
    group, ranked = scorer.group, scorer.ranked
    sizes = list(dict.fromkeys(map(size_text, sorted({one.method.subset for one in ranked}, key=subset_order))))
    labels = list(dict.fromkeys(one.method.label for one in ranked))[:SHOWN]
    curves: dict[str, dict[str, tuple[float, float, float]]] = {_plain(label): {} for label in labels}
    shown = [one for one in ranked if one.method.label in labels]
    for one in shown:
        found = one.f1.mean_interval()
        ends = (math.nan, math.nan) if found is None or not found.num else (found.low, found.high)
        curves[_plain(one.method.label)][size_text(one.method.subset)] = (one.f1.mean.value, *ends)
    floor = scorer.fullest.scores["floor"].mean.value
    options: dict[str, Any] = {"floor": None if math.isnan(floor) else floor, "footnote": _note(shown)}
    return Figure(
        group.name,
        f"{group.title}: F1 over training frames",
        "Mean F1 × 100 on the same test folds; upright lines: 95 % intervals over subjects. The sizes are evenly "
        "spaced.",
        f"Mean F1 over the number of training frames. {_means(shown)} The values stand in the table {group.name}.",
        lambda theme: training_size_curves(curves, sizes, **options, theme=theme),
    )


def _left_out(scorer: GroupScorer) -> str:
    """What a figure says of the methods that it has no room for."""
    number = len(scorer.ranked)
    return f" The best {SHOWN} of {number} methods are shown." if number > SHOWN else ""


def _note(shown: Sequence[MethodScores]) -> str | None:
    """Footnote of a figure."""
    return TEST_NOTE if any(one.method.on_test for one in shown) else None


def _means(shown: Sequence[MethodScores]) -> str:
    """Means of the methods in words."""
    sizes = len({one.method.subset for one in shown}) > 1
    texts = [
        f"{one.method.label}{f' ({size_text(one.method.subset)} frames)' if sizes else ''} {_text(one.f1.mean.value)}"
        for one in shown
    ]
    return f"Means × 100: {', '.join(texts)}."


def _text(value: float) -> str:
    return "nan" if math.isnan(value) else f"{100 * value:.1f}"


def _plain(label: str) -> str:
    """A name in which matplotlib finds no mathematics."""
    return label.replace("$", r"\$")


def report_page(lines: Sequence[Line], chapters: Sequence[Chapter], images: Images) -> str:
    """The page `report.html`: what is over all groups, then each group; `images` hold each figure by day and night."""
    people = (subject for line in lines for au in line["aus"] for subject in line["counts"][au])
    rendered = all(subject.startswith(RENDERED) for subject in people)
    sections = [Section(chapter.heading, _blocks(chapter, images), wide=True) for chapter in chapters]
    sections[0] = sections[0]._replace(
        blocks=[*sections[0].blocks, responsible_use(RENDERED_ONLY if rendered else None)]
    )
    sections.append(Section("Where the numbers come from", [paragraph(text) for text in provenance(lines)], wide=True))
    seeds = ", ".join(map(str, sorted({line["seed"] for line in lines})))
    data = ", ".join(sorted({name for line in lines for name in (line["data"], line["test"])}))
    lead = f"{len(lines)} runs on {data}; seeds {seeds}."
    return build_report("Benchmark of AU detectors", sections, lead=lead, footer=f"auformer {__version__}.")


def _blocks(chapter: Chapter, images: Images) -> list[str]:
    """Tables and figures in turn; a note that several tables have stands below the first."""
    said: set[str] = set()
    blocks = []
    for one, drawn in itertools.zip_longest(chapter.tables, chapter.figures):
        if one is not None:
            blocks.append(table_block(one, said))
        if drawn is not None:
            blocks.append(figure(*images[drawn.name], alt=drawn.alt, caption=f"{drawn.heading}. {drawn.caption}"))
    return blocks


def table_block(one: Table, said: set[str]) -> str:
    """A table on a page; a long one as a sentence that says where it is.

    `said` are notes that the page has already; those of this table are added.
    """
    if len(one.rows) > LONG:
        return paragraph(f"{one.title}: {len(one.rows)} rows, in tables/{one.name}.csv, .md, .tex and .txt.")
    extra = one.text_columns - 1  # the first column alone names a row: further columns of text are joined to it
    header, *rows = [[", ".join(row[: extra + 1]), *row[extra + 1 :]] for row in (one.header, *one.rows)]
    notes = [note.replace(" (* in plain text)", "") for note in one.notes if note not in said]
    said.update(one.notes)
    return table(replace(one, header=header, rows=rows, notes=notes, bold={(i, k - extra) for i, k in one.bold}))


def provenance(lines: Sequence[Line]) -> list[str]:
    """Commits, machines, epochs and time of the runs, in sentences."""

    def named(key: str) -> str:
        return "; ".join(sorted({str(line[key]) for line in lines if line.get(key)})) or "unknown"

    chosen = {"validation": "on subjects held out of training", "test": "on the test split", "last": "the last one"}
    how: dict[str, set[str]] = {}
    for line in lines:
        how.setdefault(chosen.get(str(line["select"]), str(line["select"])), set()).add(str(line["method"]))
    texts = "; ".join(f"{text} ({', '.join(sorted(names))})" for text, names in sorted(how.items()))
    # what was taken over took no time
    hours = sum(line.get("seconds") or 0 for line in lines if not line.get("trained_by")) / 3600
    return [
        f"Code: commit {named('commit')}. Machine: {named('machine')}. Time of all runs together: {hours:.1f} h.",
        f"Choice of the epoch: {texts}.",
        "All tables and figures are made from runs.jsonl alone; each of its lines holds the configuration of its run.",
    ]

"""Everything that a benchmark shows, from the lines of its finished runs: tables in four forms, figures, one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from auformer.benchmark.detail_tables import au_table, difference_table, scores_table
from auformer.benchmark.figures import Figure, group_figures, matrix_figure
from auformer.benchmark.fold_scores import GroupScorer, MethodScores
from auformer.benchmark.forms import BenchmarkTable, write_table
from auformer.benchmark.group_tables import main_table
from auformer.benchmark.groups import Line, group_lines
from auformer.benchmark.page import Part, report_page
from auformer.benchmark.rank_bootstrap import add_rank_draws
from auformer.benchmark.suite_tables import Scored, cross_matrix_of, matrix_table, summary_table
from auformer.files import atomic_path, write_text
from auformer.report.style import copy_layout, image_bytes

DRAWS = 1000  # [ours]: the ends of a 95 % interval then rest on 25 draws each


def write_results(
    lines: Sequence[Line],
    out: str | Path,
    *,
    bootstraps: int = DRAWS,
    seed: int = 0,
    rank_predictions: Mapping[str, Path] | None = None,
) -> Path:
    """Write `tables/NAME.{txt,md,tex,csv}`, `figures/*.png` and `report.html`; each file is replaced whole, the page last.

    Args:
        lines: Lines of `runs.jsonl`; their order does not matter.
        out: Folder of the benchmark.
        bootstraps: Draws of subjects that the intervals rest on.
        seed: Of the draws.
        rank_predictions: Key of a line -> its predictions file, for intervals of AUROC and AP, which the lines alone do not give; None
            leaves them out.

    Returns:
        The page.

    Raises:
        ValueError: There are no lines, one is damaged, or a predictions file is not the one that a line was made from.
    """
    out = Path(out)
    groups = []
    for group in group_lines(lines):
        scorer = GroupScorer(group, draws=bootstraps, seed=seed)
        scored = [scorer.score(method) for method in group.methods]
        if rank_predictions is not None:
            add_rank_draws(scorer, scored, rank_predictions)
        groups.append((scorer, scored))
    parts = [_whole(groups)]
    parts += [
        Part(scorer.group.title, group_tables(scorer, scored, draws=bootstraps), group_figures(scorer, scored)) for scorer, scored in groups
    ]
    for part in parts:
        for one in part.tables:
            write_table(one, out / "tables")
    pictures = {one.name: _write_pictures(one, out / "figures") for part in parts for one in part.figures}
    page = report_page(lines, parts, pictures)
    write_text(out / "report.html", page)
    return out / "report.html"


def group_tables(scorer: GroupScorer, scored: Sequence[MethodScores], *, draws: int) -> list[BenchmarkTable]:
    """All tables of a group, the main one first.

    Args:
        scorer: Scorer of the group.
        scored: Its methods.
        draws: Bootstrap draws that the intervals were made with.
    """
    made = [main_table(scorer, scored, draws=draws), scores_table(scorer, scored, draws=draws)]
    differences = difference_table(scorer, scored, draws=draws)
    return [*made, *([differences] if differences is not None else []), au_table(scorer, scored, draws=draws)]


def _whole(groups: Scored) -> Part:
    """Tables and figure over all groups."""
    matrix = cross_matrix_of(groups)
    if matrix is None:
        return Part("All experiments", [summary_table(groups)], [])
    return Part("All experiments", [summary_table(groups), matrix_table(matrix)], [matrix_figure(matrix)])


def _write_pictures(one: Figure, folder: Path) -> tuple[bytes, bytes]:
    """Write a figure as a PNG file; returns what the page shows by day and by night."""
    light, dark = one.draw("light"), one.draw("dark")
    picture = image_bytes(light)
    copy_layout(light, dark)
    with atomic_path(folder / f"{one.name}.png") as temporary:
        temporary.write_bytes(picture)
    return picture, image_bytes(dark)

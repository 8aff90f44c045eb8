"""The page of the ablations, from the lines of the finished runs: rivals, parts, losses under label noise, sizes, costs.

    python -m experiments.ablations.ablation_report runs/ablations --rates      the best learning rate of each method, for ablations.yaml
    python -m experiments.ablations.ablation_report experiments/results/runs.jsonl --out experiments/results/ablations.md

Whatever has been run is shown, the rest is "not run". Beside the page lie `method_costs.json` of method_costs.py, the figures, and
`ablations_verdict.md`: what holds and what does not, written by hand, which the page begins with.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auformer.benchmark.suite import read_suite
from auformer.files import write_text
from auformer.report.style import save_png
from experiments.ablations.lines import Line, find_lines
from experiments.ablations.sections import Section, Sections
from experiments.ablations.tables import CELLS, costs_table, rates_table, rates_text, sources_table, validation_scores

HERE = Path(__file__).resolve().parent
COSTS, VERDICT = "method_costs.json", "ablations_verdict.md"
HEAD = f"""# Does AUFormer earn its parts?

Rendered faces, where the truth is known: trained on lab A, tested on other subjects of it (`unseen`) and on another lab (`lab_b`).
{CELLS}

    auformer benchmark suite experiments/ablations.yaml --jobs 2
    python -m experiments.ablations.method_costs
    python -m experiments.ablations.ablation_report runs/ablations"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", type=Path, help="runs.jsonl, or the folder that it is in")
    parser.add_argument(
        "--suite", type=Path, default=HERE / "ablations.yaml", help="what was planned (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "ablations.md", help="the page (default: %(default)s)"
    )
    parser.add_argument("--rates", action="store_true", help="print the best learning rate of each method, no page")
    return parser.parse_args(argv)


def section_text(section: Section, stem: str) -> str:
    """A section in Markdown.

    Args:
        section: The section.
        stem: Name of the page without its end; figures are called `STEM_NAME.png`.
    """
    blocks = [f"## {section.heading}", *(table.markdown() for table in section.tables)]
    if section.figure is not None:
        blocks.append(f"![{section.alt}]({stem}_{section.name}.png)")
    return "\n\n".join(blocks if len(blocks) > 1 else [*blocks, "Not run."])


def write_page(lines: Sequence[Line], suite: Path, out: Path) -> None:
    """Write the page and its figures, from the lines and the files beside it.

    Args:
        lines: Of finished runs.
        suite: YAML file of what was planned.
        out: The page.
    """
    sections = Sections(lines, read_suite(suite))
    shown = sections.all()
    costs, verdict = (_read(out.parent / name) for name in (COSTS, VERDICT))
    wanted = [want.method for want in sections.wants if want.kind == "rates"]
    scores = validation_scores(lines)
    tuned = [rates_table(scores, lines, wanted)] if scores else []
    priced = [] if costs is None else [costs_table(json.loads(costs))]
    shown += [Section("Learning rates", tuned), Section("Costs", priced)]
    if lines:
        shown.append(Section("Where the numbers are from", [sources_table(lines)]))
    blocks = [HEAD, "## What holds, what does not", (verdict or "The verdict is not written yet.").strip()]
    blocks += [section_text(section, out.stem) for section in shown]
    hints = sections.seeds()
    blocks += ["### More seeds wanted", "\n".join(f"- {hint}" for hint in hints)] if hints else []
    out.parent.mkdir(parents=True, exist_ok=True)
    for section in shown:
        if section.figure is not None:
            save_png(section.figure, out.parent / f"{out.stem}_{section.name}.png")
    write_text(out, "\n\n".join(blocks) + "\n")


def _read(path: Path) -> Any:
    """Content of a text file; None where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(argv: list[str] | None = None) -> None:
    """Write the page, or print the rates."""
    args = parse_arguments(argv)
    lines = find_lines(args.runs)
    if args.rates:
        print(rates_text(validation_scores(lines)))
    else:
        write_page(lines, args.suite, args.out)


if __name__ == "__main__":
    main()

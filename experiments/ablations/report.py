"""The page of the ablations, from the lines of the finished runs: baselines, parts, losses, sizes, costs.

    python -m experiments.ablations.report runs/ablations --rates    the best learning rate of each method
    python -m experiments.ablations.report experiments/results/runs.jsonl

Whatever has been run is shown, the rest is "not run". Beside the page lie `method_costs.json` of method_costs.py, the
figures, and `ablations_verdict.md`: what holds and what does not, written by hand, which the page begins with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from auformer.benchmark.suite import Suite, read_suite
from auformer.files import read_json, write_text
from auformer.report.style import save_png
from auformer.scoring.tables import Table
from experiments.ablations import lines as line_tools
from experiments.ablations import tables
from experiments.ablations.figures import Spot, noise_figure, parameters_figure
from experiments.ablations.lines import REFERENCE, Line, backbone_of, chosen, find_lines, in_order, label_noise
from experiments.harness import ROOT, new_parser

SUITE = ROOT / "experiments" / "suites" / "ablations.yaml"
HEAD = f"""# Does AUFormer earn its parts?

Rendered faces, where the truth is known: trained on lab A, tested on other subjects of it (`unseen`) and on another
lab (`lab_b`).
{tables.CELLS}

    auformer benchmark suite experiments/suites/ablations.yaml --jobs 2
    python -m experiments.ablations.method_costs
    python -m experiments.ablations.report runs/ablations"""


class Section(NamedTuple):
    """A section of the page: its tables, and where there is something to draw a figure, its name and what it shows."""

    heading: str
    tables: Sequence[Table] = ()
    figure: Any = None
    name: str = ""
    alt: str = ""

    def markdown(self, stem: str) -> str:
        """The section in Markdown; its figure is the file `STEM_NAME.png`."""
        blocks = [f"## {self.heading}", *(table.markdown() for table in self.tables)]
        if self.figure is not None:
            blocks.append(f"![{self.alt}]({stem}_{self.name}.png)")
        return "\n\n".join(blocks if len(blocks) > 1 else [*blocks, "Not run."])


class Sections:
    """All sections, from the lines of finished runs and what the suite had planned."""

    def __init__(self, lines: Sequence[Line], suite: Suite) -> None:
        self.lines, self.wants, self.tests_of = lines, line_tools.planned(suite), line_tools.planned_tests(suite)
        self.sets = {name: line_tools.differs(suite, name) for name in suite.methods}
        first = [want.backbone for want in self.wants]
        self.backbones = in_order([*first, *map(backbone_of, lines)], first)
        self.tests = in_order(test for backbone in self.backbones for test in self._tests("baselines", backbone))

    def all(self) -> list[Section]:
        """The sections in their order."""
        return [
            self.baselines(), self.action_units(), self.by_itself("Trained three times as long", "longer"),
            self.by_itself("Trained on ten times as many images", "larger"),
            self.by_itself("Clips of low intensity", "clips"), self.against("Parts of AUFormer", "parts"),
            self.against("Losses", "losses"), self.noise(), self.sizes(),
        ]  # fmt: skip

    def methods(self, kind: str, backbone: str) -> list[str]:
        """Methods that were planned."""
        return [want.method for want in self.wants if want.kind == kind and want.backbone == backbone]

    def under(self, kind: str) -> list[str]:
        """Backbones that something was planned or run on."""
        return [one for one in self.backbones if self.methods(kind, one) or chosen(self.lines, (kind,), backbone=one)]

    def baselines(self) -> Section:
        """F1 on every test set by method, a table per backbone, and F1 over trained parameters."""
        panels = {}
        for test in self.tests:
            found = {one: spots(self._lines("baselines", one, test)) for one in self.under("baselines")}
            if known := {backbone: some for backbone, some in found.items() if some}:
                panels[test] = known
        section = self.by_itself("Baselines", "baselines", self.tests)
        if not panels:
            return section
        alt = "Mean F1 over trained parameters; the values stand in the tables above."
        figure = parameters_figure(panels, reference=REFERENCE)
        return section._replace(figure=figure, name="parameters", alt=alt)

    def action_units(self) -> Section:
        """F1 per action unit of the baselines."""
        made = []
        for backbone in self.under("baselines"):
            for test in self.tests:
                if lines := self._lines("baselines", backbone, test):
                    title = f"Backbone {backbone}, {test}, F1 × 100, mean over seeds"
                    made.append(tables.aus_table(lines, self.methods("baselines", backbone), title=title))
        return Section("Baselines, per action unit", made)

    def by_itself(self, heading: str, kind: str, tests: Sequence[str] = ()) -> Section:
        """F1 of the baselines in a setting with its own AUFormer, a table per backbone."""
        made = []
        for one in self.under(kind):
            lines, title = self._lines(kind, one), f"Backbone {one}"
            shown = tests or self._tests(kind, one)
            made.append(tables.comparison_table(lines, self.methods(kind, one), shown, title=title))
        return Section(heading, made)

    def against(self, heading: str, kind: str) -> Section:
        """Variants of AUFormer under clean labels, with AUFormer itself in the first row."""
        made = []
        for one in self.under(kind):
            lines, wanted = self._with_reference(kind, one), [REFERENCE, *self.methods(kind, one)]
            made.append(
                tables.comparison_table(lines, wanted, self._tests(kind, one), title=f"Backbone {one}", sets=self.sets)
            )
        return Section(heading, made)

    def noise(self) -> Section:
        """Losses under flipped training labels."""
        made, figure = [], None
        for backbone in self.under("noise"):
            flipped = self._lines("noise", backbone)
            wanted = in_order([*self.methods("noise", backbone), *(str(line["method"]) for line in flipped)])
            lines = [*(line for line in self._with_reference("losses", backbone) if not label_noise(line)), *flipped]
            for test in self._tests("noise", backbone):
                some = chosen(lines, test=test)
                made += tables.noise_tables(some, wanted, title=f"Backbone {backbone}, {test}")
                found = curves(some, wanted)
                figure = noise_figure(found) if figure is None and found else figure
        alt = "Mean F1 over flipped labels; the values stand in the table."
        return Section("Flipped training labels", made, figure, "noise", alt)

    def sizes(self) -> Section:
        """F1 over the number of training frames."""
        made = []
        for one in self.under("sizes"):
            made += tables.sizes_tables(self._lines("sizes", one), self.methods("sizes", one), title=f"Backbone {one}")
        return Section("Training sizes", made)

    def _lines(self, kind: str, backbone: str, test: str | None = None) -> list[Line]:
        return chosen(self.lines, (kind,), backbone=backbone, test=test)

    def _tests(self, kind: str, backbone: str) -> list[str]:
        """Test sets of a kind: those of the suite, then others that there are lines of."""
        return in_order([*self.tests_of.get(kind, []), *(str(line["test"]) for line in self._lines(kind, backbone))])

    def _with_reference(self, kind: str, backbone: str) -> list[Line]:
        """Lines of a kind, and AUFormer of the baselines."""
        reference = [line for line in self._lines("baselines", backbone) if line["method"] == REFERENCE]
        return [*reference, *self._lines(kind, backbone)]


def spots(lines: Sequence[Line]) -> dict[str, Spot]:
    """Method -> trained parameters, mean F1 and its deviation, for lines of one backbone and test set."""
    return {one.label: (one.trained, one.mean, one.spread) for one in tables.compare(lines) if not math.isnan(one.mean)}


def curves(lines: Sequence[Line], wanted: Sequence[str]) -> dict[str, list[tuple[float, float, float]]]:
    """Loss -> (share of flipped labels, mean F1, its deviation); only of losses that were run with flipped labels."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in wanted}
    for level in sorted(set(map(label_noise, lines))):
        for name, one in tables.noise_level(lines, wanted, level).items():
            found[name].append((level, one.mean, one.spread))
    return {name: some for name, some in found.items() if any(level for level, _, _ in some)}


def write_page(lines: Sequence[Line], suite: Path, out: Path) -> None:
    """Write the page `ablations.md` and its figures into a folder, from the lines and the files that are there."""
    sections = Sections(lines, read_suite(suite))
    shown = sections.all()
    costs, verdict = read_json(out / "method_costs.json"), out / "ablations_verdict.md"
    scores = tables.validation_scores(lines)
    wanted = [want.method for want in sections.wants if want.kind == "rates"]
    shown.append(Section("Learning rates", [tables.rates_table(scores, lines, wanted)] if scores else []))
    shown.append(Section("Costs", [] if costs is None else [tables.costs_table(costs)]))
    if lines:
        shown.append(Section("Where the numbers are from", [tables.sources_table(lines)]))
    told = verdict.read_text(encoding="utf-8") if verdict.is_file() else "The verdict is not written yet."
    blocks = [HEAD, "## What holds, what does not", told.strip()]
    blocks += [section.markdown("ablations") for section in shown]
    out.mkdir(parents=True, exist_ok=True)
    for section in shown:
        if section.figure is not None:
            save_png(section.figure, out / f"ablations_{section.name}.png")
    write_text(out / "ablations.md", "\n\n".join(blocks) + "\n")


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("runs", type=Path, help="runs.jsonl, or the folder that it is in")
    parser.add_argument("--suite", type=Path, default=SUITE, help="what was planned (default: %(default)s)")
    parser.add_argument("--rates", action="store_true", help="print the best learning rate of each method, no page")
    args = parser.parse_args(argv)
    lines = find_lines(args.runs)
    if args.rates:
        print(tables.rates_text(tables.validation_scores(lines)))
    else:
        write_page(lines, args.suite, args.out)


if __name__ == "__main__":
    main()

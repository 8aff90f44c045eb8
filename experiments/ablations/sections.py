"""The sections of the ablation page: which lines and which planned methods belong in each table and figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from auformer.benchmark.suite import Suite
from auformer.scoring.tables import Table
from experiments.ablations.figures import Point, noise_figure, parameters_figure
from experiments.ablations.lines import (
    REFERENCE,
    Line,
    backbone_of,
    chosen,
    differs,
    in_order,
    label_noise,
    planned,
    planned_tests,
)
from experiments.ablations.scores import compare
from experiments.ablations.tables import (
    aus_table,
    chosen_test,
    more_seeds,
    noise_level,
    noise_tables,
    sizes_tables,
    tests_table,
)


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        heading: What it shows.
        tables: Its tables; none where nothing was planned or run.
        figure: Its figure; None where there is nothing to draw.
        name: End of the figure's file name.
        alt: What the figure shows, for those who cannot see it.
    """

    heading: str
    tables: Sequence[Table]
    figure: Any = None
    name: str = ""
    alt: str = ""


class Sections:
    """All sections, from the lines of finished runs and what the suite had planned.

    Args:
        lines: Of finished runs.
        suite: What was planned.
    """

    def __init__(self, lines: Sequence[Line], suite: Suite) -> None:
        self.lines, self.wants, self.tests_of = lines, planned(suite), planned_tests(suite)
        self.sets = {name: differs(suite, name) for name in suite.methods}
        first = [want.backbone for want in self.wants]
        self.backbones = in_order([*first, *map(backbone_of, lines)], first)
        self.tests = in_order(test for backbone in self.backbones for test in self._tests("rivals", backbone))

    def all(self) -> list[Section]:
        """The sections in their order."""
        return [
            self.rivals(), self.action_units(), self.by_itself("Trained three times as long", "longer"),
            self.by_itself("Trained on ten times as many images", "larger"), self.by_itself("Clips of low intensity", "clips"),
            self.against("Parts of AUFormer", "parts"), self.against("Losses", "losses"), self.noise(), self.sizes(),
        ]  # fmt: skip

    def methods(self, kind: str, backbone: str) -> list[str]:
        """Methods that were planned."""
        return [want.method for want in self.wants if want.kind == kind and want.backbone == backbone]

    def under(self, kind: str) -> list[str]:
        """Backbones that something was planned or run on."""
        return [one for one in self.backbones if self.methods(kind, one) or chosen(self.lines, (kind,), backbone=one)]

    def rivals(self) -> Section:
        """F1 on every test set by method, a table per backbone, and F1 over trained parameters."""
        tables, panels = [], {}
        for test in self.tests:
            found = {
                one: points(chosen(self.lines, ("rivals",), backbone=one, test=test)) for one in self.under("rivals")
            }
            panels[test] = {backbone: some for backbone, some in found.items() if some}
        for one in self.under("rivals"):
            lines = chosen(self.lines, ("rivals",), backbone=one)
            tables.append(tests_table(lines, self.methods("rivals", one), self.tests, title=f"Backbone {one}", sets={}))
        panels = {test: found for test, found in panels.items() if found}
        figure = parameters_figure(panels, reference=REFERENCE) if panels else None
        return Section(
            "Rivals",
            tables,
            figure,
            "parameters",
            "Mean F1 over trained parameters; the values stand in the tables above.",
        )

    def action_units(self) -> Section:
        """F1 per action unit of the rivals."""
        tables = []
        for backbone in self.under("rivals"):
            for test in self.tests:
                lines = chosen(self.lines, ("rivals",), backbone=backbone, test=test)
                if lines:
                    title = f"Backbone {backbone}, {test}, F1 × 100, mean over seeds"
                    tables.append(aus_table(lines, self.methods("rivals", backbone), title=title))
        return Section("Rivals, per action unit", tables)

    def by_itself(self, heading: str, kind: str) -> Section:
        """F1 of the rivals in another setting, with its own AUFormer."""
        tables = []
        for backbone in self.under(kind):
            lines = chosen(self.lines, (kind,), backbone=backbone)
            tests = self._tests(kind, backbone)
            tables.append(
                tests_table(lines, self.methods(kind, backbone), tests, title=f"Backbone {backbone}", sets={})
            )
        return Section(heading, tables)

    def against(self, heading: str, kind: str) -> Section:
        """Variants of AUFormer under clean labels, with AUFormer itself in the first row."""
        tables = []
        for backbone in self.under(kind):
            lines = self._with_reference(kind, backbone)
            tests = self._tests(kind, backbone)
            wanted = [REFERENCE, *self.methods(kind, backbone)]
            tables.append(tests_table(lines, wanted, tests, title=f"Backbone {backbone}", sets=self.sets))
        return Section(heading, tables)

    def noise(self) -> Section:
        """Losses under flipped training labels."""
        tables, figure = [], None
        for backbone in self.under("noise"):
            flipped = chosen(self.lines, ("noise",), backbone=backbone)
            wanted = in_order([*self.methods("noise", backbone), *(str(line["method"]) for line in flipped)])
            lines = [*(line for line in self._with_reference("losses", backbone) if not label_noise(line)), *flipped]
            for test in self._tests("noise", backbone):
                some = chosen_test(lines, test)
                tables += noise_tables(some, wanted, title=f"Backbone {backbone}, {test}")
                found = curves(some, wanted)
                figure = noise_figure(found) if figure is None and found else figure
        return Section(
            "Flipped training labels",
            tables,
            figure,
            "noise",
            "Mean F1 over flipped labels; the values stand in the table.",
        )

    def sizes(self) -> Section:
        """F1 over the number of training frames."""
        tables = []
        for backbone in self.under("sizes"):
            lines = chosen(self.lines, ("sizes",), backbone=backbone)
            tables += sizes_tables(lines, self.methods("sizes", backbone), title=f"Backbone {backbone}")
        return Section("Training sizes", tables)

    def seeds(self) -> list[str]:
        """Which methods should get more seeds."""
        texts = []
        for backbone in self.backbones:
            for test in self.tests:
                found = more_seeds(chosen(self.lines, ("rivals", "parts", "losses"), backbone=backbone, test=test))
                texts += [f"{backbone}, {test}, {text}" for text in found]
        return texts

    def _tests(self, kind: str, backbone: str) -> list[str]:
        """Test sets of a kind: those of the suite, then others that there are lines of."""
        found = (str(line["test"]) for line in chosen(self.lines, (kind,), backbone=backbone))
        return in_order([*self.tests_of.get(kind, []), *found])

    def _with_reference(self, kind: str, backbone: str) -> list[Line]:
        """Lines of a kind, and AUFormer of the rivals."""
        reference = [line for line in chosen(self.lines, ("rivals",), backbone=backbone) if line["method"] == REFERENCE]
        return [*reference, *chosen(self.lines, (kind,), backbone=backbone)]


def points(lines: Sequence[Line]) -> dict[str, Point]:
    """Method -> trained parameters, mean F1 and its deviation, for lines of one backbone and test set."""
    return {one.label: (one.trained, one.mean, one.spread) for one in compare(lines) if not math.isnan(one.mean)}


def curves(lines: Sequence[Line], wanted: Sequence[str]) -> dict[str, list[tuple[float, float, float]]]:
    """Loss -> (share of flipped labels, mean F1, its deviation); only of losses that were run with flipped labels."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in wanted}
    for level in sorted(set(map(label_noise, lines))):
        for name, one in noise_level(lines, wanted, level).items():
            found[name].append((level, one.mean, one.spread))
    return {name: some for name, some in found.items() if any(level for level, _, _ in some)}

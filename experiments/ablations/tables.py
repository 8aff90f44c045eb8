"""The tables of the ablation page, from lines of finished runs: learning rates, comparisons, noise, sizes, costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from auformer.benchmark.cells import size_text
from auformer.benchmark.fold_scores import GroupScorer, MethodScores, not_comparable
from auformer.benchmark.groups import Method, group_lines, subset_order
from auformer.scoring.bootstrap import Difference, difference
from auformer.scoring.tables import Table, au_columns_table, percent
from experiments.ablations.lines import REFERENCE, Line, chosen, in_order, label_noise, setting

Scores = dict[str, dict[float, float]]
"""Method -> learning rate -> mean F1 on validation subjects, in [0, 1]."""


def validation_scores(lines: Iterable[Line]) -> Scores:
    """Scores of the runs of the grid, entries `rates-...`: of the epoch that was chosen by them.

    Raises:
        ValueError: A run of the grid was not scored on validation subjects.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for line in chosen(lines, ("rates",)):
        if line.get("select") != "validation" or line.get("validation_score") is None:
            raise ValueError(
                f"Expected the run of {line['method']} in {line['name']} to hold `validation_score`, the F1 on "
                "validation subjects, but it does not: its entry has to keep the best epoch by them (`select: best`)"
            )
        found.setdefault(str(line["method"]), {}).setdefault(float(setting(line, "lr")), []).append(
            float(line["validation_score"])
        )
    return {
        method: {rate: sum(some) / len(some) for rate, some in sorted(rates.items())} for method, rates in found.items()
    }


def best_rate(rates: Mapping[float, float]) -> float:
    """The rate with the highest score; of equals the smallest.

    >>> best_rate({0.003: 0.7, 0.001: 0.7, 0.01: 0.6})
    0.001
    """
    return min(rates, key=lambda rate: (-rates[rate], rate))


def at_edge(rates: Mapping[float, float]) -> bool:
    """Whether the best rate is the smallest or the largest of the grid, so that a better one may lie outside.

    >>> at_edge({0.001: 0.7, 0.003: 0.8, 0.01: 0.6}), at_edge({0.001: 0.9, 0.003: 0.8})
    (False, True)
    """
    return best_rate(rates) in (min(rates), max(rates))


def rates_text(scores: Scores) -> str:
    """A line per method as the suite takes it, its score behind it, and what to do at the edge of the grid."""
    rows = []
    for method, rates in scores.items():
        best = best_rate(rates)
        others = ", ".join(f"{rate:.0e} {percent(score)}" for rate, score in rates.items() if rate != best)
        edge = "  EDGE OF THE GRID: try a rate beyond it" if at_edge(rates) else ""
        rows.append(
            f"{method}: {{model.lr: {best:.1e}}}  # F1 on validation subjects {percent(rates[best])} ({others}){edge}"
        )
    return "\n".join(rows) or "no runs of entries rates-..."


def rates_table(scores: Scores, lines: Sequence[Line], wanted: Sequence[str]) -> Table:
    """F1 on validation subjects by method and rate, and the rate that the runs of the baselines were made with."""
    grid = sorted({rate for rates in scores.values() for rate in rates})
    used: dict[str, list[str]] = {}
    for line in chosen(lines, ("baselines",)):
        used.setdefault(str(line["method"]), []).append(f"{float(setting(line, 'lr')):.0e}")
    rows = []
    for method in in_order([*scores, *wanted], wanted):
        rates = scores.get(method, {})
        best = best_rate(rates) if rates else math.nan
        cells = [percent(rates.get(rate)).replace("nan", "") + ("*" if rate == best else "") for rate in grid]
        rows.append([method, *cells, ", ".join(dict.fromkeys(used.get(method, ()))) or "not run"])
    edge = [method for method, rates in scores.items() if at_edge(rates)]
    notes = ["F1 × 100 on validation subjects after the grid's few epochs; * best of the row."]
    notes += [f"Best at an edge of the grid, so a better rate may lie outside: {', '.join(edge)}."] if edge else []
    return Table(["method", *(f"{rate:.0e}" for rate in grid), "trained with"], rows, notes=notes)


DRAWS = 1000  # as the tables of the benchmark (auformer.benchmark.report)


class Compared(NamedTuple):
    """A method of a comparison: its scores over all seeds and folds, and trained parameters.

    `apart` is its main score less AUFormer's, on the seeds and folds that both have; None without such.
    """

    method: str
    scores: MethodScores
    apart: Difference | None
    trained: int

    @property
    def label(self) -> str:
        """The name, with the configuration where two have one name."""
        return self.scores.method.label

    @property
    def seeds(self) -> list[int]:
        """Its seeds."""
        return self.scores.method.seeds

    @property
    def mean(self) -> float:
        """Mean over seeds and AUs of the main score, in [0, 1]."""
        return self.scores.f1.mean.value

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds' means; nan with fewer than two."""
        known = [value for value in self.scores.seed_means if not math.isnan(value)]
        return float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def compare(lines: Sequence[Line], *, draws: int = DRAWS) -> list[Compared]:
    """Score what was trained on the same data and tested on the same rows: a method each, and a training size each.

    Of two configurations under one name, the label of each says which it is.

    Raises:
        ValueError: The lines are of several data sets.
    """
    if not lines:
        return []
    groups = group_lines([{**line, "name": "ablations"} for line in lines])  # lines of all entries meet in one group
    if len(groups) != 1:
        raise ValueError(
            f"Expected lines of one data set and test, but got {', '.join(group.title for group in groups)}"
        )
    group = groups[0]
    scorer = GroupScorer(group, draws=draws)
    references = {method.subset: method for method in reversed(group.methods) if _name(method) == REFERENCE}
    found = []
    for method in group.methods:
        reference = references.get(method.subset)
        apart = None if reference is None or reference is method else _apart(scorer, method, reference)
        trained = next(iter(method.runs.values()))["trainable_parameters"]
        found.append(Compared(_name(method), scorer.score(method), apart, trained))
    return found


def _name(method: Method) -> str:
    return str(next(iter(method.runs.values()))["method"])


def _apart(scorer: GroupScorer, method: Method, reference: Method) -> Difference | None:
    """A method less the reference, on the runs that both have."""
    both = sorted(method.runs.keys() & reference.runs.keys())
    if not both:
        return None
    one, other = (
        scorer.score(dataclasses.replace(each, runs={place: each.runs[place] for place in both}))
        for each in (method, reference)
    )
    if not_comparable(one, other):
        return None
    nothing = np.empty((0, len(scorer.group.au_names)))
    draws = [nothing if each.f1.draws is None else each.f1.draws for each in (one, other)]
    return difference((one.f1.values, other.f1.values), (draws[0], draws[1]))


NOT_RUN = "not run"
APART = "less AUFormer [95 %]"
CELLS = (
    "F1 × 100, mean over AUs; ± standard deviation over seeds where there are several. 'Less AUFormer': difference of "
    "the means over the seeds that both have, with its 95 % interval over subjects drawn again, the same ones for both "
    "(paired bootstrap). F1 is at threshold 0.5; AP: average precision × 100, mean over AUs, for which no threshold "
    "matters."
)


def f1_cell(found: Compared | None) -> str:
    """Mean F1, how many AUs it rests on unless on all, and its spread over seeds."""
    if found is None:
        return NOT_RUN
    spread = "" if math.isnan(found.spread) else f" ± {100 * found.spread:.1f}"
    return percent(found.mean, found.scores.f1.mean.num, len(found.scores.f1.values)) + spread


def score_cell(found: Compared | None, name: str) -> str:
    """Mean over AUs of a score that `MethodScores` names; empty where the runs do not have it."""
    if found is None:
        return NOT_RUN
    score = found.scores.scores.get(name)
    if score is None or math.isnan(score.mean.value):
        return ""
    return percent(score.mean.value, score.mean.num, len(score.values))


def apart_cell(found: Compared | None) -> str:
    """How far a method is from AUFormer, with its interval; empty where there is nothing to compare."""
    if found is None:
        return NOT_RUN
    apart = found.apart
    if apart is None or math.isnan(apart.value):
        return ""
    low, high = apart.interval.low, apart.interval.high
    return f"{100 * apart.value:+.1f}" + (f" [{100 * low:+.1f}, {100 * high:+.1f}]" if apart.interval.num else "")


def rows_of(found: Sequence[Compared], wanted: Iterable[str]) -> list[tuple[str, Compared | None]]:
    """A row per method: the wanted ones in order, with None where there is nothing, then others that are there."""
    by_name: dict[str, list[Compared]] = {}
    for one in found:
        by_name.setdefault(one.method, []).append(one)
    rows: list[tuple[str, Compared | None]] = []
    for name in dict.fromkeys([*wanted, *by_name]):
        rows += [(one.label, one) for one in by_name.get(name, ())] or [(name, None)]
    return rows


def comparison_table(
    lines: Sequence[Line],
    wanted: Sequence[str],
    tests: Sequence[str],
    *,
    title: str,
    sets: Mapping[str, str] | None = None,
) -> Table:
    """A row per method: what it sets, where any does, trained parameters, seeds; F1, less AUFormer, AP by test."""
    sets = sets or {}
    by_test = {test: dict(rows_of(compare(chosen(lines, test=test)), wanted)) for test in tests}
    labels = in_order([label for rows in by_test.values() for label in rows], wanted)
    says = any(sets.get(name) for name in labels)
    rows = []
    for label in labels:
        found = [by_test[test].get(label) for test in tests]
        known = [one for one in found if one is not None]
        row = [label, *([sets.get(known[0].method if known else label, "")] if says else [])]
        row += [f"{known[0].trained:,}", str(max(len(one.seeds) for one in known))] if known else ["", ""]
        for one in found:
            row += [f1_cell(one), apart_cell(one), score_cell(one, "ap")]
        rows.append(row)
    columns = [text for test in tests for text in (f"F1 {test}", APART, f"AP {test}")]
    header = ["method", *(["sets"] if says else []), "trained", "seeds", *columns]
    return Table(header, rows, title=title, text_columns=1 + says)


def aus_table(lines: Sequence[Line], wanted: Sequence[str], *, title: str) -> Table:
    """F1 per AU of lines of one backbone and test set, mean over seeds, a row per method that was run."""
    found = [(label, one) for label, one in rows_of(compare(lines), wanted) if one is not None]
    au_names = sorted({str(au) for line in lines for au in line["aus"]}, key=lambda au: int(au[2:]))
    f1 = {label: dict(zip(au_names, one.scores.f1.values.tolist(), strict=True)) for label, one in found}
    return au_columns_table("method", f1, au_names, title=title)


def noise_tables(lines: Sequence[Line], wanted: Sequence[str], *, title: str) -> list[Table]:
    """Each loss over the share of flipped training labels: F1, less AUFormer's, and without the threshold 0.5.

    The lines are of one backbone and test set, clean ones among them.
    """
    levels = sorted({0.0, *map(label_noise, lines)})
    found = {level: noise_level(lines, wanted, level) for level in levels}
    header = ["loss", *(f"{100 * level:g} % flipped" for level in levels)]
    first = [[name, *(f1_cell(found[level].get(name)) for level in levels)] for name in wanted]
    second = [[name, *(apart_cell(found[level].get(name)) for level in levels)] for name in wanted if name != REFERENCE]
    tables = [Table(header, first, title=f"{title}: F1"), Table(header, second, title=f"{title}: {APART}")]
    for name, text in (("f1_tuned", "F1 with thresholds chosen on validation subjects"), ("ap", "average precision")):
        rows = [[method, *(score_cell(found[level].get(method), name) for level in levels)] for method in wanted]
        tables.append(Table(header, rows, title=f"{title}: {text}"))
    return tables


def noise_level(lines: Sequence[Line], wanted: Sequence[str], level: float) -> dict[str, Compared]:
    some = [line for line in lines if label_noise(line) == level and line["method"] in wanted]
    return {one.method: one for one in compare(some)}


def sizes_tables(lines: Sequence[Line], wanted: Sequence[str], *, title: str) -> list[Table]:
    """F1 over the number of training frames, and how far each method is from AUFormer at the same number."""
    found = compare(lines)
    sizes = sorted({one.scores.method.subset for one in found}, key=subset_order)
    by = {(one.method, one.scores.method.subset): one for one in found}
    names = in_order([*wanted, *(one.method for one in found)])
    header = ["method", *(f"{size_text(size)} frames" for size in sizes)]
    first = [[name, *(f1_cell(by.get((name, size))) for size in sizes)] for name in names]
    second = [[name, *(apart_cell(by.get((name, size))) for size in sizes)] for name in names if name != REFERENCE]
    return (
        [Table(header, first, title=f"{title}: F1"), Table(header, second, title=f"{title}: {APART}")] if sizes else []
    )


def costs_table(costs: Mapping[str, Any]) -> Table:
    """Costs of the methods, as `experiments.ablations.method_costs` measured them."""
    about = costs["settings"]
    rows = []
    for name, one in costs["methods"].items():
        kept = f"{one['kept_bytes'] / 2**20:.0f}"
        rows.append([name, f"{one['trained']:,}", f"{one['forward']:.2f}", f"{one['training']:.2f}", kept])
    notes = [
        f"Ratios of times measured in turn in one process, medians over {about['rounds']} rounds: a prediction to that "
        "of the frozen ViT, a training step to that of full fine-tuning (its own row is to itself, and shows how sure "
        "the others are). Kept: what autograd keeps between forward and backward. "
        f"{about['backbone']}, {about['image_size']} px, {about['aus']}, batch {about['batch']}, {about['precision']}, "
        f"{about['threads']} thread(s); {about['machine']}, torch {about['torch']}, commit {about['commit']}, "
        f"{about['date']}."
    ]
    notes += [f"{name}: {reason}" for name, reason in costs["left_out"].items()]
    return Table(["method", "trained", "prediction / ViT", "training / full", "kept MiB"], rows, notes=notes)


def sources_table(lines: Sequence[Line]) -> Table:
    """A row per entry of the suite: its runs, seeds, machines, commits and hours of training."""
    rows = []
    for name in dict.fromkeys(str(line["name"]) for line in lines):
        some = [line for line in lines if line["name"] == name]
        own = [line for line in some if not line.get("trained_by")]  # the others took over a training
        hours = sum(float(line["seconds"]) for line in own) / 3600
        seeds = ", ".join(map(str, sorted({line["seed"] for line in some})))
        places = [", ".join(dict.fromkeys(str(line[key]) for line in some)) for key in ("machine", "commit")]
        rows.append([name, *places, seeds, str(len(some)), str(len(own)), f"{hours:.1f}"])
    return Table(["entry", "machine", "commits", "seeds", "runs", "trainings", "process-hours"], rows, text_columns=4)

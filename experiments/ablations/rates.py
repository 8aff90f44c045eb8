"""The learning rate of each method: the best of the grid by F1 on validation subjects, which are training subjects held out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from auformer.scoring.tables import Table, percent
from experiments.ablations.lines import Line, chosen, in_order, setting

Scores = dict[str, dict[float, float]]
"""Method -> learning rate -> mean F1 on validation subjects, in [0, 1]."""


def validation_scores(lines: Iterable[Line]) -> Scores:
    """Scores of the runs of the grid: of the epoch that was chosen by them.

    Args:
        lines: All lines; those of entries `rates-...` count.

    Raises:
        ValueError: A run of the grid was not scored on validation subjects.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for line in chosen(lines, ("rates",)):
        if line.get("select") != "validation" or line.get("validation_score") is None:
            raise ValueError(
                f"Expected the run of {line['method']} in {line['name']} to hold `validation_score`, the F1 on validation subjects, but it "
                "does not: its entry has to keep the best epoch by validation subjects (`select: best`)"
            )
        found.setdefault(str(line["method"]), {}).setdefault(float(setting(line, "lr")), []).append(float(line["validation_score"]))
    return {method: {rate: sum(some) / len(some) for rate, some in sorted(rates.items())} for method, rates in found.items()}


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
    """For a terminal: a line per method as the suite takes it, its score behind it, and what to do at the edge of the grid."""
    rows = []
    for method, rates in scores.items():
        best = best_rate(rates)
        others = ", ".join(f"{rate:.0e} {percent(score)}" for rate, score in rates.items() if rate != best)
        edge = "  EDGE OF THE GRID: try a rate beyond it" if at_edge(rates) else ""
        rows.append(f"{method}: {{model.lr: {best:.1e}}}  # F1 on validation subjects {percent(rates[best])} ({others}){edge}")
    return "\n".join(rows) or "no runs of entries rates-..."


def rates_table(scores: Scores, lines: Sequence[Line], wanted: Sequence[str]) -> Table:
    """F1 on validation subjects by method and rate, and the rate that the other runs were made with.

    Args:
        scores: As `validation_scores` gives them.
        lines: All lines: those of the rivals say which rate they had.
        wanted: Methods that should be there.
    """
    grid = sorted({rate for rates in scores.values() for rate in rates})
    used: dict[str, list[str]] = {}
    for line in chosen(lines, ("rivals",)):
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

"""The tables of intensities of one group of runs."""

from __future__ import annotations

import itertools
import math

import numpy as np

from auformer.aus import ACTION_UNITS
from auformer.benchmark.cells import INTERVAL, TEST_NOTE, marked, size_text
from auformer.benchmark.fold_scores import AUScore, not_comparable
from auformer.benchmark.intensity import IntensityScorer, IntensityScores
from auformer.report.table import Table, best_cells
from auformer.scoring.bootstrap import Interval, difference
from auformer.scoring.intensity import ERRORS
from auformer.scoring.scores import optional
from auformer.scoring.tables import INTENSITY_NOTE, agreement_cell, interval_text

NAMES = {
    "icc": "ICC", "icc_folds": "ICC, folds", "ccc": "CCC", "pcc": "PCC", "mae": "MAE", "mse": "MSE",
}  # fmt: skip
"""Headers of the scores, in the order of the columns."""

POOLED_NOTE = (
    "Of the rows of all folds together, as the field reports intensities; 'ICC, folds': mean over folds of the ICC in "
    "each. Then the mean over AUs, (k/n) behind it where it rests on k of n."
)
UNREAD_NOTE = (
    "No published values stand beside ours: none could be read with its table and page, and nothing is filled in from "
    "memory."
)


def intensity_tables(scorer: IntensityScorer) -> list[Table]:
    """All tables of a group's intensities, the main one first; none where no method has any."""
    if not scorer.ranked:
        return []
    made = [main_table(scorer), scores_table(scorer), difference_table(scorer), au_table(scorer)]
    return [table for table in made if table is not None]


def main_table(scorer: IntensityScorer) -> Table:
    """ICC per AU and their mean, a row per method."""
    sizes = _sizes(scorer)
    rows, values = [], []
    for one in scorer.ranked:
        dagger, score = one.method.on_test, one.icc
        cells = [marked(agreement_cell(value), dagger) for value in score.values]
        spread = _spread(one)
        rows.append([*_name(one, sizes), *cells, _mean(score, dagger), _ends(score.mean_interval(), dagger), spread])
        values.append([None if dagger else optional(value) for value in (*score.values, score.mean.value)])
    best = best_cells(values, [one.method.subset for one in scorer.ranked])
    aus = scorer.au_names
    header = ["method", *["frames"] * sizes, *aus, f"mean of {len(aus)}", INTERVAL, "seeds"]
    drawn = "" if scorer.scorer.weights is None else f" {INTERVAL}: {scorer.scorer.draws:,} draws of subjects."
    rule = f"{POOLED_NOTE}{drawn} Seeds: how many, ± standard deviation of their means. Bold (* in plain text): best."
    return Table(
        header, rows, title=f"{scorer.scorer.group.title}, intensity, ICC(3,1)",
        notes=[INTENSITY_NOTE, rule, UNREAD_NOTE, *_notes(scorer)], bold={(i, 1 + sizes + k) for i, k in best},
        name=f"{scorer.scorer.group.name}-intensity",
    )  # fmt: skip


def scores_table(scorer: IntensityScorer) -> Table:
    """A row per method: the mean of every score, and those of PSPI."""
    sizes, pain = _sizes(scorer), any(one.pain for one in scorer.ranked)
    rows, values = [], []
    for one in scorer.ranked:
        dagger = one.method.on_test
        means = [one.scores[name] for name in NAMES]
        means += [one.pain[name] for name in ("icc", "mae")] if one.pain else []
        cells = [_mean(score, dagger) for score in means]
        cells += [""] * (2 if pain and not one.pain else 0)
        rows.append([*_name(one, sizes), *cells, str(len(one.method.runs))])
        competing = [None if dagger else optional(score.mean.value) for score in means]
        values.append(competing + [None] * (len(cells) - len(means)))
    columns = [*NAMES, *(["pain_icc", "pain_mae"] if pain else [])]
    lowest = [k for k, name in enumerate(columns) if name in (*ERRORS, "pain_mae")]
    best = best_cells(values, [one.method.subset for one in scorer.ranked], lowest=lowest)
    headers = [*NAMES.values(), *(["PSPI: ICC", "PSPI: MAE"] if pain else [])]
    notes = [INTENSITY_NOTE, POOLED_NOTE]
    notes += ["PSPI: pain of 0 to 16 from AU4, 6, 7, 9, 10 and 43 (Prkachin and Solomon 2008)."] if pain else []
    return Table(
        ["method", *["frames"] * sizes, *headers, "runs"], rows,
        title=f"{scorer.scorer.group.title}, intensity, all scores", notes=[*notes, *_notes(scorer)],
        bold={(i, 1 + sizes + k) for i, k in best}, name=f"{scorer.scorer.group.name}-intensity-scores",
    )  # fmt: skip


def au_table(scorer: IntensityScorer) -> Table:
    """A row per AU and method: every score, the interval of ICC, coded rows."""
    num_folds = len(scorer.scorer.group.folds)
    rows, values, blocks = [], [], []
    for (i, au), one in itertools.product(enumerate(scorer.au_names), scorer.ranked):
        dagger = one.method.on_test
        size = f", {size_text(one.method.subset)}" if _sizes(scorer) else ""
        cells = []
        for name in NAMES:
            score = one.scores[name]
            num = num_folds if score.num_folds is None else int(score.num_folds[i])
            cells.append(marked(agreement_cell(score.values[i], num, num_folds), dagger))
            cells += [_ends(score.intervals()[i], dagger)] if name == "icc" else []
        label = f"{au} {ACTION_UNITS[au].name}"
        rows.append([label, f"{one.method.label}{size}", *cells, f"{int(one.rows[i]):,}"])
        values.append([None if dagger else optional(one.scores[name].values[i]) for name in NAMES])
        blocks.append((au, one.method.subset))
    header = ["AU", "method", "ICC", f"ICC {INTERVAL}", *list(NAMES.values())[1:], "coded rows"]
    lowest = [k for k, name in enumerate(NAMES) if name in ERRORS]
    bold = {(i, 2 + k + (k > 0)) for i, k in best_cells(values, blocks, lowest=lowest)}
    return Table(
        header, rows, title=f"{scorer.scorer.group.title}, intensity of every AU",
        notes=[INTENSITY_NOTE, POOLED_NOTE, *_notes(scorer)], text_columns=2, bold=bold,
        name=f"{scorer.scorer.group.name}-intensity-aus",
    )  # fmt: skip


def difference_table(scorer: IntensityScorer) -> Table | None:
    """A row per pair of methods: how much better the first is in ICC; None with one method only."""
    whole = {scores.method.label: scores for scores in scorer.scorer.ranked}
    none, rows = np.empty((0, len(scorer.au_names))), []
    for first, second in itertools.combinations(scorer.ranked, 2):
        if first.method.subset != second.method.subset:
            continue
        if not_comparable(whole[first.method.label], whole[second.method.label]):
            continue  # which the table of differences in F1 says
        one, other = (none if scores.icc.draws is None else scores.icc.draws for scores in (first, second))
        found = difference((first.icc.values, second.icc.values), (one, other))
        dagger = first.method.on_test or second.method.on_test
        value = "nan" if math.isnan(found.value) else marked(f"{found.value:+.3f}", dagger)
        p = "" if math.isnan(found.p) else marked(f"{found.p:.3f}", dagger)
        names = [first.method.label, *_name(second, _sizes(scorer))]
        rows.append([*names, value, _ends(found.interval, dagger), p, str(found.num_aus)])
    if not rows:
        return None
    notes = [
        "Mean ICC of the first method less that of the second, over the AUs that both are scored on; p: two-sided, how "
        "often draws of subjects contradict the sign of the difference; not corrected for the number of pairs."
    ]
    header = ["method", "less", *["frames"] * _sizes(scorer), "difference", INTERVAL, "p", "AUs"]
    return Table(
        header, rows, title=f"{scorer.scorer.group.title}, intensity, differences in ICC",
        notes=[*notes, *_dagger(scorer)], text_columns=2, name=f"{scorer.scorer.group.name}-intensity-differences",
    )  # fmt: skip


def _sizes(scorer: IntensityScorer) -> bool:
    return scorer.scorer.group.protocol == "efficiency"


def _name(one: IntensityScores, sizes: bool) -> list[str]:
    return [one.method.label, *([size_text(one.method.subset)] if sizes else [])]


def _mean(score: AUScore, dagger: bool) -> str:
    return marked(agreement_cell(score.mean.value, score.mean.num, len(score.values)), dagger)


def _ends(found: Interval | None, dagger: bool) -> str:
    return "" if found is None or not found.num else marked(interval_text([found.low, found.high]), dagger)


def _spread(one: IntensityScores) -> str:
    known = [value for value in one.seed_means if not math.isnan(value)]
    return f"{len(one.seed_means)}" + (f" ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else "")


def _dagger(scorer: IntensityScorer) -> list[str]:
    return [TEST_NOTE] if any(one.method.on_test for one in scorer.ranked) else []


def _notes(scorer: IntensityScorer) -> list[str]:
    """What is undefined and why, and which methods have no intensities."""
    fullest = max(scorer.ranked, key=lambda one: one.rows.sum())
    reasons: dict[str, list[str]] = {}
    for au, reason in zip(scorer.au_names, fullest.reasons, strict=True):
        if reason:
            reasons.setdefault(reason, []).append(au)
    notes = [f"{reason[0].upper()}{reason[1:]}: {', '.join(aus)}." for reason, aus in reasons.items()]
    notes += [f"Without intensities: {', '.join(scorer.without)}."] if scorer.without else []
    return [*_dagger(scorer), *notes]

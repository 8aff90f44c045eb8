"""How a score is written in a cell, and the notes that every table of the benchmark may need."""

from __future__ import annotations

import math

import numpy as np

from auformer.benchmark.fold_scores import AUScore, GroupScorer, MethodScores
from auformer.benchmark.groups import DAGGER, Method
from auformer.scoring.bootstrap import Interval
from auformer.scoring.tables import percent

NAMES = {
    "f1_folds": "F1, folds", "f1_pooled": "F1, pooled", "f1_tuned": "F1, tuned thresholds", "macro_f1": "macro-F1",
    "accuracy": "accuracy", "auroc": "AUROC", "ap": "AP", "ece": "ECE",
}  # fmt: skip
"""Headers of the scores, in the order of the columns."""

INTERVAL = "95 % interval"
TEST_NOTE = (
    f"{DAGGER} The epoch was chosen on the test split itself, so these numbers are too high; they are never bold."
)


def size_text(subset: int | float | None) -> str:
    """Size of a training set: frames, a share, or all.

    >>> size_text(1000), size_text(0.5), size_text(1.0), size_text(None)
    ('1,000', '50 %', 'all', 'all')
    """
    if subset is None or (isinstance(subset, float) and subset == 1.0):
        return "all"
    return f"{100 * subset:g} %" if isinstance(subset, float) else f"{subset:,}"


def au_cells(score: AUScore, num_folds: int, *, dagger: bool = False) -> list[str]:
    """A score per AU, with how many of the folds it rests on unless on all."""
    folds = [num_folds] * len(score.values) if score.num_folds is None else score.num_folds.tolist()
    return [marked(percent(value, num, num_folds), dagger) for value, num in zip(score.values, folds, strict=True)]


def mean_cell(score: AUScore, *, dagger: bool = False) -> str:
    """A mean over AUs, with how many it rests on unless on all."""
    return marked(percent(score.mean.value, score.mean.num, len(score.values)), dagger)


def interval_cell(found: Interval | None, *, dagger: bool = False) -> str:
    """An interval, empty where there is none.

    >>> interval_cell(Interval(0.5, 0.612, 1000)), interval_cell(None)
    ('[50.0, 61.2]', '')
    """
    if found is None or not found.num:
        return ""
    return marked(f"[{100 * found.low:.1f}, {100 * found.high:.1f}]", dagger)


def seeds_cell(scores: MethodScores) -> str:
    """How many seeds, and the standard deviation of their means."""
    known = [value for value in scores.seed_means if not math.isnan(value)]
    spread = f" ± {100 * np.std(known, ddof=1):.1f}" if len(known) > 1 else ""
    return marked(f"{len(scores.seed_means)}{spread}", scores.method.on_test and bool(spread))


def trained_cell(method: Method) -> str:
    """Number of trained parameters of a method; empty where its lines do not say."""
    known = [line.get("trainable_parameters") for line in method.runs.values()]
    numbers = {int(number) for number in known if number is not None}
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)})) if numbers else ""


def marked(cell: str, dagger: bool) -> str:
    """A cell with a dagger where its number was selected on test; what says nothing needs none."""
    return cell + DAGGER if dagger and cell not in ("", "nan") else cell


def shared_notes(scorer: GroupScorer) -> list[str]:
    """What stands below each table of a group."""
    group = scorer.group
    notes = [TEST_NOTE] if any(method.on_test for method in group.methods) else []
    notes += _coverage(scorer) + _few_draws(scorer)
    warnings = [(method.label, method.warnings()) for method in group.methods]
    everyone = set.intersection(*(set(texts) for _, texts in warnings))
    notes += [f"Warning: {text}" for text in sorted(everyone)]
    for label, texts in warnings:
        notes += [f"Warning, {label}: {text}" for text in texts if text not in everyone]
    missing = group.missing()
    if missing:
        notes.append(f"Runs that are missing, by their folds: {'; '.join(missing)}. Means are over the others.")
    if group.others:
        notes.append(f"{group.others} other runs of the same fold, seed, configuration and data are left out.")
    return list(dict.fromkeys(notes))


def _coverage(scorer: GroupScorer) -> list[str]:
    """AUs without positives, unknown labels, rows without a face, all by name and number."""
    group, whole = scorer.group, scorer.fullest
    positives, annotated = whole.positives(), whole.annotated()
    aus = list(enumerate(group.au_names))
    texts = {
        "Without annotated rows, in no mean": [au for i, au in aus if not annotated[i]],
        "Without positives, so without F1, AUROC and AP": [au for i, au in aus if annotated[i] and not positives[i]],
    }
    if len(group.folds) > 1 and not all(part.shape[0] == 1 for part in whole.truth.values()):
        for fold, part in whole.truth.items():
            known, present = part.sum((0, 1)), part[:, 0].sum(0)
            texts[f"Not scored in fold {fold}"] = [au for i, au in aus if annotated[i] and not known[i]]
            empty = [au for i, au in aus if positives[i] and known[i] and not present[i]]
            texts[f"Without positives in fold {fold}"] = empty
    notes = [f"{text}: {', '.join(names)}." for text, names in texts.items() if names]
    unknown = [f"{au} {int(whole.unknown[i]):,}" for i, au in aus if whole.unknown[i]]
    if unknown:
        notes.append(f"Rows in which an AU is not annotated, not scored there: {', '.join(unknown)}.")
    left_out = ", ".join(f"{status} {num:,}" for status, num in whole.unscored.items())
    rows = f"{whole.rows:,} {'clips' if group.protocol == 'micro' else 'rows'} scored"
    return [*notes, f"{rows}{f'; left out: {left_out}' if left_out else ''}."]


def _few_draws(scorer: GroupScorer) -> list[str]:
    """AUs whose intervals rest on fewer draws than asked for, because the others drew no subject with a positive."""
    if scorer.weights is None:
        return ["One subject only: there is nothing to draw from, so no intervals."]
    fewest: dict[str, int] = {}
    for scores in scorer.ranked:
        for au, found in zip(scorer.group.au_names, scores.f1.intervals(), strict=True):
            if found is not None and found.num < scorer.draws:
                fewest[au] = min(found.num, fewest.get(au, scorer.draws))
    texts = ", ".join(f"{au} {num:,}" for au, num in fewest.items())
    few = f"Intervals that rest on fewer than {scorer.draws:,} draws, for want of subjects with positives: {texts}."
    return [few] if texts else []

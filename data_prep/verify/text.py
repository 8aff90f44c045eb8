"""The report of `auformer verify` for people: counts, published counts side by side, then what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auformer.data.splits import FOLD_VIEWS, dataset_id
from auformer.report.table import Table

from .faults import VIEW_TITLES


def report_lines(report: dict[str, Any]) -> list[str]:
    """Lines of a report as `verify` gives it; the last one says whether something is wrong."""
    lines = [f"{report['manifest']}"]
    if "rows" in report:
        lines += _counts(report)
        for published in report["published"]:
            lines += ["", *_published(published)]
    for title, key in (("Notes", "notes"), ("Wrong", "problems")):
        if report[key]:
            shown = [f"  {entry['kind']} ({entry['where']}): {entry['text']}" for entry in report[key]]
            lines += ["", f"{title}:", *shown]
    number = len(report["problems"])
    verdict = f"{number} {'thing is' if number == 1 else 'things are'} wrong" if number else "nothing wrong was found"
    return [*lines, "", f"{report['manifest']}: {verdict}"]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return Table(header, rows).text().splitlines()


def _counts(report: dict[str, Any]) -> list[str]:
    status = ", ".join(f"{name} {count:,}" for name, count in report["status"].items())
    datasets = ", ".join(f"{name} {count:,}" for name, count in report["datasets"].items())
    lines = [f"rows: {report['rows']:,} ({datasets}); status: {status}"]
    images = report["images"]
    if images is None:
        lines.append("images: not checked")
    else:
        sizes = ", ".join(f"{size} px" for size in images["sizes"]) or "none readable"
        lines.append(
            f"images: {images['checked']:,} checked ({sizes}), {len(images['missing']):,} missing, "
            f"{len(images['unreadable']):,} unreadable, {len(images['duplicates']):,} groups of equal ones"
        )
    rows = []
    for au, counts in report["aus"].items():
        positives, negatives, unknown = (counts[name] for name in ("positives", "negatives", "unknown"))
        rate = f"{positives / (positives + negatives):.1%}" if positives + negatives else "-"
        rows.append([au, f"{positives:,}", f"{negatives:,}", f"{unknown:,}", rate])
    lines += ["", *_table(["AU", "positives", "negatives", "unknown", "active"], rows)]
    return [*lines, *_folds(report["folds"]), *_subjects(report["subjects"])]


def _folds(folds: list[dict[str, Any]]) -> list[str]:
    if not folds:
        return []
    aus = list(folds[0]["positives"])
    rows = []
    for fold in folds:
        counts = [fold["subjects"], fold["rows"], fold["ok"], *(fold["positives"][au] for au in aus)]
        rows.append([f"{fold['dataset']} {fold['fold']}", *(f"{count:,}" for count in counts)])
    return ["", *_table(["fold", "subjects", "rows", "ok", *aus], rows), *_views(folds)]


def _views(folds: list[dict[str, Any]]) -> list[str]:
    lines = []
    for dataset in sorted({fold["dataset"] for fold in folds}):
        names = {fold["fold"] for fold in folds if fold["dataset"] == dataset}
        for view, datasets in FOLD_VIEWS.items():
            numbers = {fold: number for number, fold in datasets.get(dataset_id(dataset), {}).items() if fold in names}
            if numbers:
                shown = ", ".join(f"{fold} is fold {numbers[fold]}" for fold in sorted(numbers))
                lines.append(f"{dataset} as {VIEW_TITLES[view]} counts: {shown}")
    return lines


def _subjects(subjects: list[dict[str, Any]]) -> list[str]:
    aus = list(subjects[0]["positives"])
    rows = []
    for one in subjects:
        counts = [one["rows"], one["ok"], *(one["positives"][au] for au in aus)]
        rows.append([f"{one['dataset']} {one['subject']}", *(f"{count:,}" for count in counts)])
    return ["", *_table(["subject", "rows", "ok", *aus], rows)]


def _published(published: dict[str, Any]) -> list[str]:
    lines = [f"Published counts of {published['title']}{': ' + published['source'] if published['source'] else ''}"]
    if published["parts"]:
        rows = [row for fold in published["parts"] for row in _published_fold(fold)]
        lines += _table(["fold", "frames", *published["parts"][0]["positives"]], rows)
    for total in published["totals"]:
        unit = "frames" if total["clips"] is None else "clips"
        mine, theirs = published[unit], total[unit]
        difference = "equal" if mine == theirs else f"{mine - theirs:+,}"
        lines.append(f"{total['source']}: {theirs:,} {unit} ({total['about']}); here {mine:,}, {difference}")
    return lines


def _published_fold(fold: dict[str, Any]) -> list[list[str]]:
    """Lines of one fold: here, published, difference; of a fold that is not whole only the published counts."""
    here = [fold["frames"], *fold["positives"].values()]
    there = [fold["published_frames"], *fold["published_positives"].values()]
    published = [f"{fold['name']} published", *(f"{count:,}" for count in there)]
    if not fold["complete"]:
        lacking = f"{fold['name']} not whole ({fold['subjects']} of {fold['expected']} subjects)"
        return [published, [lacking, *["-"] * len(there)]]
    difference = [f"{mine - theirs:+,}" if mine != theirs else "=" for mine, theirs in zip(here, there, strict=True)]
    mine = [f"{fold['name']} here", *(f"{count:,}" for count in here)]
    return [mine, published, [f"{fold['name']} difference", *difference]]
